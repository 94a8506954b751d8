"""A small shop with counters: a Starlette service on port 8000, and the same service for WSGI on port 8001.

python -m examples.shop                          (make run starts a busier one: examples/busy_shop.py)
curl -X POST localhost:8000/orders -d amount=9.90
curl localhost:8000/debug/vars
curl localhost:8000/debug/vars/http              (the counts of these requests)
"""

import json
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, make_server

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from pyvars import Float, Int, Map, String, publish, wsgi
from pyvars.asgi import VarsMiddleware

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

version = publish("shop_version", String("1.4"))
orders = publish("orders", Int(), help="Orders accepted")
revenue = publish("revenue_eur", Float(), help="Revenue of the orders accepted", unit="eur")
by_state = publish("orders_by_state", Map(), help="What became of the orders")
open_orders = publish("orders_open", Int(gauge=True), help="Orders not yet shipped")
stock = {"apple": 40, "pear": 12}


@publish("stock", help="Pieces on the shelf")
def pieces() -> dict[str, int]:
    return stock.copy()


def order(amount: float) -> dict[str, object]:
    """Accept an order, or refuse it."""
    if amount <= 0:
        by_state.add("refused")
        return {"state": "refused"}
    orders.add()
    revenue.add(amount)
    open_orders.add()
    by_state.add("accepted")
    return {"state": "accepted", "number": orders.value}


def amount_in(body: bytes) -> float:
    """Returns the amount in a form, or 0 if there is none."""
    try:
        return float(parse_qs(body.decode())["amount"][0])
    except (KeyError, ValueError):
        return 0.0


def ship() -> dict[str, object]:
    """Ship the oldest open order, if there is one."""
    if open_orders.value > 0:
        open_orders.add(-1)
        by_state.add("shipped")
    return {"open": open_orders.value}


# The service as an ASGI application.


async def post_order(request: Request) -> JSONResponse:
    return JSONResponse(order(amount_in(await request.body())))


async def post_shipment(request: Request) -> JSONResponse:
    return JSONResponse(ship())


app = Starlette(
    routes=[
        Route("/orders", post_order, methods=["POST"]),
        Route("/shipments", post_shipment, methods=["POST"]),
    ]
)
app.add_middleware(VarsMiddleware)


# The same service as a WSGI application.


def twin(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    answers = {
        ("POST", "/orders"): lambda: order(amount_in(body)),
        ("POST", "/shipments"): ship,
    }
    answer = answers.get((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
    start_response("404 Not Found" if answer is None else "200 OK", [("Content-Type", "application/json")])
    return [json.dumps("not found" if answer is None else answer()).encode()]


wsgi_app = wsgi.VarsMiddleware(twin)


class QuietHandler(WSGIRequestHandler):
    """The reference server of the standard library, without a log line for each request."""

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def main(port: int = 8000) -> None:
    """Serve the ASGI application on the port, and the WSGI application on the next one. Port 0 takes free ports."""
    try:
        listener = socket.create_server(("127.0.0.1", port))
        server = make_server("127.0.0.1", port and port + 1, wsgi_app, handler_class=QuietHandler)
    except OSError as error:
        sys.exit(f"the shop cannot open on port {port}: {error}; python -m examples.shop 8100 takes another one")
    port = listener.getsockname()[1]
    with server as twin_server:
        Thread(target=twin_server.serve_forever, daemon=True).start()
        print(
            f"The shop is open on http://127.0.0.1:{port}, its WSGI twin on http://127.0.0.1:{twin_server.server_port}\n"
            f"  curl -X POST localhost:{port}/orders -d amount=9.90\n"
            f"  curl localhost:{port}/debug/vars\n"
            f"  curl localhost:{port}/debug/vars/orders\n"
            f"  curl 'localhost:{port}/debug/vars?name=orders'\n"
            f"  curl localhost:{port}/debug/vars/http\n"
            f"  curl localhost:{twin_server.server_port}/debug/vars\n"
            f"  .venv/bin/pyvars get --human localhost:{port} orders memstats.HeapAlloc\n"
            "Ctrl-C closes it.",
            flush=True,
        )
        with suppress(KeyboardInterrupt):
            uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
        twin_server.shutdown()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
