"""collect: a registry is read and rendered as a page."""
