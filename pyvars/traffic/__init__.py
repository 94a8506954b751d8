"""HTTP requests of the program, counted in the variable `http`.

`VarsMiddleware` and `CountRequests` of `pyvars.asgi` and `pyvars.wsgi` count the requests that they pass on. Requests
that pyvars answers itself are not counted. A request that passes several of these middlewares is counted once, by the
outermost.

requests               requests that have ended
errors                 requests with a status of 500 or more, and requests whose response was not completed although
                       the client was still connected: the application raised, timed out, exited, or was cancelled
in_flight              requests that have begun and not ended, without streams and WebSockets: a gauge
bytes_out              bytes of the bodies of responses; HEAD has none. For a file that the server itself reads,
                       WSGI counts the Content-Length, and ASGI counts nothing
by_method              requests by method; a method that HTTP does not define is counted under `__other__`
by_status              requests by class of the status, `1xx` to `5xx`; under `499` the requests whose client is known
                       to have disconnected before the response began: these are not errors
by_route               requests by template, such as `/items/{id}`; `unmatched` are those that no route matched.
                       After 1000 templates the others are counted under `__other__`
seconds                a Histogram of the time from the call of the application to the last part of the body; streams
                       are not in it, nor, in ASGI, background tasks that run after the response
seconds_by_route       the same by template
first_byte_seconds     a Histogram of the time from the call to the first part of the body; streams are in it
streams                event streams (text/event-stream), and responses that take over 10 s: `open`, a gauge, and
                       `seconds`, a Histogram of how long the ended ones lasted
websockets             `open` and `seconds` likewise, and in ASGI the counts `messages_in` and `messages_out`. In WSGI
                       a WebSocket is a request with `Upgrade: websocket`. A WebSocket that the application does not
                       accept is counted as a request

`count=Traffic(exclude=..., bounds=...)` says which requests are not counted, and sets the upper bounds of the buckets
of the Histograms.

pyvars knows the templates of Starlette and FastAPI (with the prefixes of Mounts and routers), Litestar, Quart, Flask,
Bottle, Falcon, Pyramid and Django. An application with a router of its own can set `scope["pyvars.route"]` or
`environ["pyvars.route"]`. If another middleware passes a copy of the scope or environ on to the application, pyvars
cannot see the route, and counts all requests under `unmatched`.

The modules; none of them does I/O or imports a framework:

http_variable    the variable
options          Traffic: what the user asks of the counting
in_flight        the requests in flight of this process, and the oldest of them
recorder         counts one request in the variable
once             finds out whether a request is already counted, or is not to be counted
routes           the template of the route that a request took
frameworks       hooks into frameworks that tell the template in no other way
asgi, websocket  follow one request, one WebSocket, through an ASGI application until it is recorded
wsgi             the same through a WSGI application
"""
