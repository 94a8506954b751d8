"""health: checks, and the hardware under them."""
