"""core: variables, what holds them, and their cells in C and in Python."""
