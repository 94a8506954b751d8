"""A service with four worker processes. Each of them answers with a page that has the numbers of all.

pip install gunicorn
gunicorn --workers 4 examples.workers:application
uvicorn --workers 4 examples.workers:app
curl localhost:8000/                            (as often as you like)
curl localhost:8000/debug/vars
curl localhost:8000/debug/workers
curl 'localhost:8000/debug/vars?worker=all&name=orders'
"""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from pyvars import Int, Map, publish, wsgi
from pyvars.asgi import DebugApp

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

orders = publish("orders", Int(), help="Orders accepted by all workers, also those that have ended")
in_flight = publish("orders_in_flight", Int(gauge=True), help="Orders being accepted now")
by_state = publish("orders_by_state", Map())
connections = publish("connections", lambda: 5, combine="sum")  # each worker has a pool of connections


def order() -> str:
    """Accept an order. Returns a line with the pid of the worker that accepted it."""
    in_flight.add()
    orders.add()
    by_state.add("accepted")
    in_flight.add(-1)
    return f"accepted by worker {os.getpid()}\n"


async def accept(request: Request) -> PlainTextResponse:
    return PlainTextResponse(order())


app = Starlette(routes=[Route("/", accept), Mount("/debug", DebugApp())])

_debug = wsgi.DebugApp()


def application(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path.startswith("/debug/"):
        return _debug({**environ, "SCRIPT_NAME": "/debug", "PATH_INFO": path.removeprefix("/debug")}, start_response)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [order().encode()]
