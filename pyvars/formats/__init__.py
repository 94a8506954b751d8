"""Encoders: the bytes of a response from data, one file for each format. `forms` has the table of values and forms."""
