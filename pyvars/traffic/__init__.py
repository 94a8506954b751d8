"""HTTP requests of the program, counted in the variable `http`. No I/O, and no import of a framework.

http_variable    the variable
recorder         counts one request in it
routes           the template of the route that a request took, such as /items/{id}
asgi, wsgi       follow one request through an application until it is recorded
"""
