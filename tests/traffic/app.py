"""A service with an endless response, an upload and an error, as an ASGI and as a WSGI application."""

import asyncio
import time

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from pyvars import wsgi as integration
from pyvars.access import anyone
from pyvars.asgi import VarsMiddleware

PART = b"x" * 1000


async def item(request):
    return PlainTextResponse("an item")


async def endless(request):
    async def parts():
        while True:
            yield PART
            await asyncio.sleep(0.01)

    return StreamingResponse(parts())


async def upload(request):
    return PlainTextResponse(str(len(await request.body())))


async def raises(request):
    raise ValueError


_asgi = Starlette(
    routes=[
        Route("/items/{id}", item),
        Route("/endless", endless),
        Route("/raises", raises),
        Route("/upload", upload, methods=["POST"]),
    ]
)


def _wsgi(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/raises":
        raise ValueError
    environ["pyvars.route"] = "/items/{id}" if path.startswith("/items/") else path if path == "/endless" else None
    start_response("404 Not Found" if path == "/none" else "200 OK", [])
    return _endless() if path == "/endless" else [b"an item"]


def _endless():
    while True:
        yield PART
        time.sleep(0.01)


asgi = VarsMiddleware(_asgi, access=anyone())
wsgi = integration.VarsMiddleware(_wsgi, access=anyone())
