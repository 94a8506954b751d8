"""runtime: the variables that are built in."""
