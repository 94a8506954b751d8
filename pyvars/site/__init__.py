"""From Request to Response without I/O. Every request, whatever carried it, passes the gate in `site.py`."""
