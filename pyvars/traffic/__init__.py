"""HTTP requests of the program, counted in the variable `http`. No I/O, and no import of a framework.

http_variable    the variable: what is published
recorder         what one finished request does to its counters
routes           the template of the route that a request took, such as /items/{id}
asgi, wsgi       one request, followed through an application until it is recorded
"""
