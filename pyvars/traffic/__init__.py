"""The variable `http`: the HTTP requests that the program answers.

`VarsMiddleware` and `CountRequests` of `pyvars.asgi` and `pyvars.wsgi` count the requests that they pass on to the
application. Requests that pyvars answers itself are not counted. If a request passes several of these middlewares of
one registry, only the outermost counts it. The keys of `http`:

requests               requests that have ended
errors                 requests with a status of 500 or more, and requests whose response was not completed although
                       the client was still connected: the application raised, timed out, exited, or was cancelled
in_flight              a gauge: requests that have begun but not ended, except streams and WebSockets
bytes_out              bytes of the bodies of responses; HEAD has none. For a file that the server itself reads,
                       WSGI counts the Content-Length, and ASGI counts nothing
by_method              requests by method; a method that HTTP does not define is counted under `__other__`
by_status              requests by class of the status, `1xx` to `5xx`; any other status is counted under `__other__`.
                       A request is counted under `499` if its client is known to have disconnected before the
                       response began; such requests are not errors
by_route               requests by template, such as `/items/{id}`; a request that no route matched is counted under
                       `unmatched`. After 1000 templates, further ones are counted under `__other__`
seconds                a Histogram of the seconds from the call of the application to the last part of the body. Streams
                       are not in it, nor, in ASGI, the time of background tasks that run after the response
seconds_by_route       the Histogram `seconds` of each template
first_byte_seconds     a Histogram of the seconds from the call of the application to the first part of the body,
                       also of streams
streams                event streams (text/event-stream), and other responses that take over 10 s: `open` is a gauge,
                       and `seconds` a Histogram of the seconds that the ended streams took
websockets             of WebSockets a gauge `open` and a Histogram `seconds`, and in ASGI the counts `messages_in` and
                       `messages_out`. In WSGI a WebSocket is a request with `Upgrade: websocket`. A WebSocket that the
                       application does not accept is counted as a request

In `count=Traffic(exclude=..., bounds=...)`, `exclude` names the requests that are not counted, and `bounds` sets the
upper bounds of the buckets of the Histograms. Times are measured with time.perf_counter.

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
