"""workers: the processes of one program share their numbers."""
