"""traffic: what the middlewares count."""
