"""Encoders: the bytes of a response from data, one file for each format."""
