"""Requests that end without a response while the client waits, as a WSGI and as an ASGI application."""

import asyncio
import json
import sys
import time
from contextlib import suppress

from pyvars import default_registry
from pyvars import wsgi as integration
from pyvars.access import anyone
from pyvars.asgi import Traffic, VarsMiddleware


def _wsgi(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/exit":
        sys.exit(3)
    elif path == "/hang":
        time.sleep(60)
    elif path == "/gevent":
        import gevent

        with gevent.Timeout(0.01):
            gevent.sleep(60)
    elif path == "/eventlet":
        import eventlet

        with eventlet.Timeout(0.01):
            eventlet.sleep(60)
    elif path == "/write":
        write = start_response(headers=[("Content-Type", "text/plain")], status="200 OK", exc_info=None)
        while True:
            write(b"x" * 1000)
            time.sleep(0.01)
    counted = json.dumps(default_registry["http"].snapshot()).encode()
    start_response(status="200 OK", headers=[("Content-Length", str(len(counted)))], exc_info=None)
    return [counted]


async def _asgi(scope, receive, send):
    if scope["path"] == "/outer":
        await asyncio.sleep(60)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def asgi(scope, receive, send):
    """A timeout in an outer middleware, which cancels the application."""
    if scope["type"] == "http" and scope["path"] == "/outer":
        with suppress(TimeoutError):
            await asyncio.wait_for(_counted(scope, receive, send), 0.05)
        return
    await _counted(scope, receive, send)


_counted = VarsMiddleware(_asgi, access=anyone())
wsgi = integration.VarsMiddleware(_wsgi, access=anyone(), count=Traffic(exclude=("/counted",)))
