"""The smallest applications of Starlette and of Flask: bare, or behind a middleware.

`python -m tests.benchmarks.hello wrapped` serves the one of Starlette.
"""

import asyncio
import os
import socket
import sys

import flask
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from pyvars import wsgi
from pyvars.asgi import CountRequests, VarsMiddleware

BODY = "Hello, world!"


async def hello(request):
    return PlainTextResponse(BODY)


class EmptyMiddleware:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        await self.app(scope, receive, send)


MIDDLEWARE = {
    "bare": [],
    "empty": [Middleware(EmptyMiddleware)],
    "wrapped": [Middleware(VarsMiddleware)],
    "serving": [Middleware(VarsMiddleware, count=False)],
    "counting": [Middleware(CountRequests)],
}
PEERS = ("prometheus-fastapi-instrumentator", "starlette_exporter")


def application(kind):
    app = Starlette(routes=[Route("/", hello)], middleware=MIDDLEWARE.get(kind, []))
    if kind == "prometheus-fastapi-instrumentator":
        from prometheus_fastapi_instrumentator import Instrumentator

        Instrumentator().instrument(app)
    elif kind == "starlette_exporter":
        from starlette_exporter import PrometheusMiddleware

        app.add_middleware(PrometheusMiddleware)
    return app


class EmptyWSGIMiddleware:
    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        return self.app(environ, start_response)


WSGI_MIDDLEWARE = {
    "empty": EmptyWSGIMiddleware,
    "wrapped": wsgi.VarsMiddleware,
    "serving": lambda app: wsgi.VarsMiddleware(app, count=False),
    "counting": wsgi.CountRequests,
}


def wsgi_application(kind):
    app = flask.Flask(__name__)
    app.add_url_rule("/", "hello", lambda: BODY)
    if kind in WSGI_MIDDLEWARE:
        app.wsgi_app = WSGI_MIDDLEWARE[kind](app.wsgi_app)
    return app


async def main(*kinds):
    """Serve each on a free port, print the ports, and end when standard input ends."""
    if hasattr(os, "sched_setaffinity"):  # the client, on the other CPU, is not to take turns with it
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in kinds]
    for listener in listeners:
        # asyncio would set it on sockets that it opens itself; without, head and body of an answer wait for each other.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print(*(listener.getsockname()[1] for listener in listeners), flush=True)
    configs = [uvicorn.Config(application(kind), log_level="warning", access_log=False) for kind in kinds]
    servers = map(uvicorn.Server, configs)
    await asyncio.gather(*(server.serve([listener]) for server, listener in zip(servers, listeners, strict=True)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
