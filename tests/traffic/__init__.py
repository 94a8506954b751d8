"""traffic: the variable `http`, in which the middlewares count."""
