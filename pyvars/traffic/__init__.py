"""The variable `http`: the HTTP requests that the program answers.

`VarsMiddleware` and `CountRequests` of `pyvars.asgi` and `pyvars.wsgi` count the requests that they pass on to the
application. Requests that pyvars answers itself are not counted. If a request passes several of these middlewares of
one registry, the outermost counts it, once. Keys of `http`:

requests               requests that have ended
errors                 requests with a status of 500 or more, and requests whose response was not completed although
                       the client was still connected: the application raised, timed out, exited, or was cancelled
in_flight              requests that have begun and not ended, without streams and WebSockets: a gauge
bytes_out              bytes of the bodies of responses; HEAD has none. For a file that the server itself reads,
                       WSGI counts the Content-Length, and ASGI counts nothing
by_method              requests by method; a method that HTTP does not define is counted under `__other__`
by_status              requests by class of the status, `1xx` to `5xx`; any other status is counted under `__other__`.
                       Under `499` are the requests whose client is known to have disconnected before the response
                       began; these are not errors
by_route               requests by template, such as `/items/{id}`; `unmatched` are those that no route matched.
                       If there are over 1000 templates, the later ones are counted under `__other__`
seconds                a Histogram of the seconds from the call of the application to the last part of the body, without
                       streams; in ASGI also without background tasks that run after the response
seconds_by_route       the same by template
first_byte_seconds     a Histogram of the seconds from the call to the first part of the body, with streams
streams                event streams (text/event-stream), and responses that take over 10 s: `open`, a gauge, and
                       `seconds`, a Histogram of how long they lasted, once they have ended
websockets             `open` and `seconds` of WebSockets, and in ASGI the counts `messages_in` and `messages_out`. In
                       WSGI a WebSocket is a request with `Upgrade: websocket`. A WebSocket that the application does
                       not accept is counted as a request

`count=Traffic(exclude=..., bounds=...)` names the requests that are not counted, and sets the upper bounds of the
buckets of the Histograms. Times are measured with time.perf_counter.

pyvars knows the templates of Starlette and FastAPI (with the prefixes of Mounts and routers), Litestar, Quart, Flask,
Bottle, Falcon, Pyramid and Django. An application with a router of its own can set `scope["pyvars.route"]` or
`environ["pyvars.route"]`. If another middleware passes a copy of the scope or environ on to the application, pyvars
cannot see the route, and counts all requests under `unmatched`.

The modules; none of them does I/O or imports a framework:

http_variable    the variable
options          Traffic: which requests are not counted, and the bounds of the Histograms
in_flight        the requests in flight of this process, and the age of the oldest
recorder         counts requests in the variable
once             ensures that each request is counted at most once in each registry
routes           the template of the route that a request took
frameworks       hooks for frameworks that do not put the route in scope or environ
asgi, websocket  follow one request, or one WebSocket, through an ASGI application until it is recorded
wsgi             follows one request through a WSGI application until it is recorded
"""
