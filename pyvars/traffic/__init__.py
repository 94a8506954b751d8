"""HTTP requests of the program, counted in the variable `http`.

`VarsMiddleware` and `CountRequests` of `pyvars.asgi` and `pyvars.wsgi` count the requests that they pass on. Requests
that pyvars answers itself are not counted. A request that passes several middlewares counts once, in the outermost.

requests               requests that have ended
errors                 those with a status of 500 or more, and those that ended without a whole response while the
                       client was there: the application raised, timed out, exited, or was cancelled
in_flight              requests that have begun and not ended, without streams and WebSockets: a gauge
bytes_out              bytes of the bodies of responses; HEAD has none. Of a file that the server itself reads it is
                       what Content-Length says (WSGI), or nothing (ASGI)
by_method              requests by method; a method that HTTP does not define is counted under `__other__`
by_status              requests by class of the status, `1xx` to `5xx`; `499` are those whose client is known to
                       have disconnected before the response began, which are not errors
by_route               requests by template, such as `/items/{id}`; `unmatched` are those that no route matched.
                       After 1000 templates the others are counted under `__other__`
seconds                a Histogram of the time from the call of the application to the last part of the body, without
                       streams. In ASGI, background tasks that run after the response are not part of it
seconds_by_route       the same by template
first_byte_seconds     a Histogram of the time from the call to the first part of the body, also of streams
streams                `open`, a gauge, and `seconds`, a Histogram of how long those lived that have ended: event
                       streams (text/event-stream), and responses that take over 10 s
websockets             `open` and `seconds`, and in ASGI `messages_in` and `messages_out`. In WSGI it is a request
                       with `Upgrade: websocket`. One that the application does not accept counts as a request

`count=Traffic(exclude=..., bounds=...)` says which requests are not counted, and where the buckets of the Histograms
end.

Templates are those of Starlette and FastAPI, with the Mounts and prefixes before them, and of Litestar, Quart, Flask,
Bottle, Falcon, Pyramid and Django. An application that routes by itself can set `scope["pyvars.route"]` or
`environ["pyvars.route"]`. If another middleware hands a copy of the scope or environ on to the application, its routes
are not seen: all requests are `unmatched`.

For the reader of the code; none of it does I/O or imports a framework:

http_variable    the variable
options          Traffic: what the user asks of the counting
in_flight        the requests in flight of this process, and the oldest of them
recorder         counts one request in the variable
once             finds out whether a request is counted already, or must not be
routes           the template of the route that a request took
frameworks       hooks into frameworks that tell the template in no other way
asgi, websocket  follow one request, one WebSocket, through an ASGI application until it is recorded
wsgi             the same through a WSGI application
"""
