"""core: variables, registries, and cells in C and in Python."""
