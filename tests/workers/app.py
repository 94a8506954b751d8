"""A service that counts its requests, as an ASGI, a WSGI and a Celery application."""

import os

import pyvars
from pyvars import wsgi as integration
from pyvars.access import anyone
from pyvars.asgi import VarsMiddleware

orders = pyvars.publish("orders", pyvars.Int())
at_import = pyvars.publish("at_import", pyvars.Int())
by_state = pyvars.publish("by_state", pyvars.Map())
revenue = pyvars.publish("revenue", pyvars.Float())
workers = pyvars.publish("workers", pyvars.Int(gauge=True))
at_import.add()


def count() -> bytes:
    orders.add()
    by_state.add("paid")
    revenue.add(0.25)
    workers.set(1)
    return str(os.getpid()).encode()


async def _asgi(scope, receive, send) -> None:
    if scope["type"] == "lifespan":
        for word in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{word}.complete"})
        return
    body = count()
    headers = [(b"content-length", str(len(body)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _wsgi(environ, start_response) -> list[bytes]:
    body = count()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


# uWSGI reports HTTP versions in its own way; access is tested elsewhere.
asgi = VarsMiddleware(_asgi, access=anyone())
wsgi = integration.VarsMiddleware(_wsgi, access=anyone())
application = wsgi
