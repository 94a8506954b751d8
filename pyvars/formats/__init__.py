"""Bytes from data: one format a file."""
