"""site: responses to requests of any kind."""
