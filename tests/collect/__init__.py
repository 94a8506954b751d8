"""collect: how a registry becomes a page."""
