"""access: which requests may see the variables."""
