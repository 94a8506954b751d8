"""A WSGI service that counts its requests in `orders`."""

from typing import Any

import pyvars
from pyvars import wsgi
from pyvars.access import anyone

orders = pyvars.publish("orders", pyvars.Int(), help="Orders accepted")


def _wsgi(environ: Any, start_response: Any) -> list[bytes]:
    orders.add()
    start_response("200 OK", [("Content-Length", "0")])
    return [b""]


application = wsgi.VarsMiddleware(_wsgi, access=anyone())
