"""HTTP requests of the program, counted in the variable `http`. No I/O, and no import of a framework.

http_variable    the variable
options          Traffic: what the user asks of the counting
in_flight        the requests in flight of this process, and the oldest of them
recorder         counts one request in the variable
once             finds out whether a request is counted already, or must not be
routes           the template of the route that a request took, such as /items/{id}
frameworks       hooks into frameworks that tell it nobody
asgi, websocket  follow one request, one WebSocket, through an ASGI application until it is recorded
wsgi             the same through a WSGI application
"""
