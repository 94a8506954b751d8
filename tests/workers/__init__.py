"""workers: processes that are one program."""
