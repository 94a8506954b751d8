"""cli: the command pyvars."""
