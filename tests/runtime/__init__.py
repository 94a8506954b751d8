"""runtime: the built-in variables."""
