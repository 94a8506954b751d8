"""Templates of routes of frameworks that do not report them, and that the hooks do not change these frameworks."""

import io
import sys
import warnings
from typing import Any

import falcon.asgi
import pytest
from quart import Blueprint, Quart, websocket

from pyvars import Registry, asgi, wsgi
from pyvars.asgi import Traffic
from tests.traffic.test_asgi import ask
from tests.traffic.test_wsgi import Server, routes

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of WebOb
    from pyramid.config import Configurator
    from pyramid.response import Response

EMPTY = {"type": "http.request", "body": b"", "more_body": False}


def quart() -> Quart:
    app, shop = Quart(__name__), Blueprint("shop", __name__, url_prefix="/shop")

    @shop.route("/items/<int:number>")
    async def item(number: int) -> str:
        return "x"

    @app.route("/raises")
    async def raises() -> str:
        raise LookupError

    @app.websocket("/live/<name>")
    async def live(name: str) -> None:
        await websocket.accept()

    app.register_blueprint(shop)
    return app


def status_of(app: Any, path: str) -> int:
    status: int = ask(app, path, messages=[EMPTY])[0]["status"]
    return status


@pytest.mark.parametrize("wrap", [False, True], ids=["asgi_app", "wrapped"])
def test_of_quart(registry: Registry, wrap: bool) -> None:
    bare = quart()
    app: Any = asgi.VarsMiddleware(bare, registry=registry)  # type: ignore[arg-type]
    if not wrap:
        app, registry = quart(), Registry()
        app.asgi_app = asgi.VarsMiddleware(app.asgi_app, registry=registry)
    asgi.CountRequests(bare, registry=registry)  # type: ignore[arg-type] # twice is as once
    statuses = [status_of(app, path) for path in ("/shop/items/3", "/shop/items/x", "/raises", "/none")]
    assert statuses == [200, 404, 500, 404]
    assert routes(registry) == {"/shop/items/<int:number>": 1, "/raises": 1, "unmatched": 2}


def websockets(app: Any, *paths: str) -> None:
    for path in paths:
        connect = {"type": "websocket.connect"}
        ask(app, path, messages=[connect], type="websocket", scheme="ws", subprotocols=[])


def test_of_websockets_of_quart(registry: Registry) -> None:
    app: Any = asgi.CountRequests(quart(), registry=registry, count=Traffic(exclude=("/live/<name>",)))  # type: ignore[arg-type]
    websockets(app, "/live/ann", "/none")
    assert routes(registry) == {"unmatched": 1}


class Item:
    def on_get(self, request: Any, response: Any, number: int) -> None:
        response.text = "x"

    def on_post(self, request: Any, response: Any, number: int) -> None:
        raise LookupError


class AsyncItem:
    async def on_get(self, request: Any, response: Any, number: int) -> None:
        response.text = "x"

    async def on_websocket(self, request: Any, websocket: Any, number: int) -> None:
        await websocket.accept()
        await websocket.close()


def test_of_falcon(registry: Registry) -> None:
    bare = falcon.App()
    bare.add_route("/items/{number:int}", Item())
    app = wsgi.VarsMiddleware(bare, registry=registry)
    for path in ("/items/3", "/items/x"):
        Server(app).ask(path)
    Server(app).ask("/items/3", REQUEST_METHOD="POST", **{"wsgi.errors": io.StringIO()})
    assert routes(registry) == {"/items/{number:int}": 2, "unmatched": 1}


def test_of_falcon_under_asgi(registry: Registry) -> None:
    bare = falcon.asgi.App()
    bare.add_route("/items/{number:int}", AsyncItem())
    app = asgi.VarsMiddleware(bare, registry=registry)
    assert [status_of(app, path) for path in ("/items/3", "/items/x")] == [200, 404]
    assert routes(registry) == {"/items/{number:int}": 1, "unmatched": 1}


def test_of_websockets_of_falcon(registry: Registry) -> None:
    bare = falcon.asgi.App()
    bare.add_route("/items/{number:int}", AsyncItem())
    app = asgi.CountRequests(bare, registry=registry, count=Traffic(exclude=("/items/{number:int}",)))
    websockets(app, "/items/3", "/none")
    assert routes(registry) == {"unmatched": 1}


def pyramid() -> Any:
    config = Configurator()
    config.add_route("item", "items/{number}")
    config.add_route("bare", "/bare/*rest")
    for name in ("item", "bare"):
        config.add_view(lambda request: Response("x"), route_name=name)
    return config.make_wsgi_app()


def test_of_pyramid(registry: Registry) -> None:
    app = wsgi.VarsMiddleware(pyramid(), registry=registry)
    for path in ("/items/3", "/bare/x/y", "/none"):
        Server(app).ask(path)
    assert routes(registry) == {"/items/{number}": 1, "/bare/*rest": 1, "unmatched": 1}


def test_a_module_of_the_program_that_has_the_name_of_a_framework(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "quart", object())  # type: ignore[arg-type]
    Server(wsgi.VarsMiddleware(pyramid(), registry=registry)).ask("/items/3")
    assert routes(registry) == {"/items/{number}": 1}
