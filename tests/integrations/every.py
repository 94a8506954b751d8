"""The same request through every integration: (method, path, headers) in, (status, headers, body) out."""

import asyncio
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import bottle
import django
import falcon.asgi
import httpx
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.test.utils import override_settings
from django.urls import path as django_path
from fastapi import FastAPI
from flask import Flask
from hypercorn.middleware import DispatcherMiddleware as HypercornDispatcher
from litestar import Litestar
from litestar import asgi as litestar_asgi
from litestar import get as litestar_get
from quart import Quart
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from werkzeug.middleware.dispatcher import DispatcherMiddleware

import pyvars
from pyvars import Registry, asgi, wsgi

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of WebOb
    from pyramid.config import Configurator
    from pyramid.response import Response as PyramidResponse
    from pyramid.wsgi import wsgiapp2

OWN = "the application's own"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


Send = Callable[..., Answer]

settings.configure(
    ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="test", MIDDLEWARE=[], LOGGING_CONFIG=None, DEBUG=False
)
django.setup()
urlpatterns = [django_path("hello", lambda request: HttpResponse(OWN, content_type="text/plain"))]


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse(OWN)


async def fast_hello() -> PlainTextResponse:
    return PlainTextResponse(OWN)


def starlette_app() -> Starlette:
    return Starlette(routes=[Route("/hello", hello)])


def starlette_middleware(registry: Registry) -> Any:
    app = starlette_app()
    app.add_middleware(asgi.VarsMiddleware, registry=registry)
    return app


def starlette_mount(registry: Registry) -> Any:
    return Starlette(routes=[Route("/hello", hello), Mount("/debug", asgi.DebugApp(registry))])


def fastapi_middleware(registry: Registry) -> Any:
    app = FastAPI()
    app.add_api_route("/hello", fast_hello)
    app.add_middleware(asgi.VarsMiddleware, registry=registry)
    return app


def fastapi_mount(registry: Registry) -> Any:
    app = FastAPI()
    app.add_api_route("/hello", fast_hello)
    app.mount("/debug", asgi.DebugApp(registry))
    return app


def django_asgi(registry: Registry) -> Any:
    return asgi.VarsMiddleware(get_asgi_application(), registry=registry)


def by_settings(make: Callable[[], Any], **options: Any) -> Any:
    """A handler of Django with the middleware in its settings."""
    with override_settings(MIDDLEWARE=["pyvars.django.VarsMiddleware"], PYVARS=options):
        return make()


def django_settings_asgi(registry: Registry) -> Any:
    return by_settings(get_asgi_application, registry=registry)


@litestar_get("/hello", media_type="text/plain", sync_to_thread=False)
def litestar_hello() -> str:
    return OWN


def litestar_middleware(registry: Registry) -> Any:
    return asgi.VarsMiddleware(Litestar([litestar_hello], logging_config=None), registry=registry)  # type: ignore[arg-type]


def litestar_mount(registry: Registry) -> Any:
    mounted: Any = litestar_asgi("/debug", is_mount=True, copy_scope=True)(asgi.DebugApp(registry))
    return Litestar([litestar_hello, mounted], logging_config=None)


def quart_app() -> Quart:
    app = Quart(__name__)

    async def hello() -> tuple[str, dict[str, str]]:
        return OWN, {"Content-Type": "text/plain"}

    app.add_url_rule("/hello", view_func=hello)
    return app


def quart_middleware(registry: Registry) -> Any:
    app = quart_app()
    app.asgi_app = asgi.VarsMiddleware(app.asgi_app, registry=registry)  # type: ignore[method-assign]
    return app


def quart_mount(registry: Registry) -> Any:
    return HypercornDispatcher({"/debug": asgi.DebugApp(registry), "": quart_app()})


class FalconHello:
    def on_get(self, request: Any, response: Any) -> None:
        response.text = OWN


class AsyncFalconHello:
    async def on_get(self, request: Any, response: Any) -> None:
        response.text = OWN


def falcon_asgi(registry: Registry) -> Any:
    app = falcon.asgi.App()
    app.add_route("/hello", AsyncFalconHello())
    return asgi.VarsMiddleware(app, registry=registry)


def bare_asgi(registry: Registry) -> Any:
    return asgi.VarsMiddleware(starlette_app(), registry=registry)


def flask_app() -> Flask:
    app = Flask(__name__)
    app.add_url_rule("/hello", view_func=lambda: (OWN, {"Content-Type": "text/plain"}), endpoint="hello")
    return app


def flask_middleware(registry: Registry) -> Any:
    app = flask_app()
    app.wsgi_app = wsgi.VarsMiddleware(app.wsgi_app, registry=registry)  # type: ignore[method-assign]
    return app


def flask_mount(registry: Registry) -> Any:
    app = flask_app()
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/debug": wsgi.DebugApp(registry)})  # type: ignore[method-assign]
    return app


def django_wsgi(registry: Registry) -> Any:
    return wsgi.VarsMiddleware(get_wsgi_application(), registry=registry)


def django_settings_wsgi(registry: Registry) -> Any:
    return by_settings(get_wsgi_application, registry=registry)


def falcon_wsgi(registry: Registry) -> Any:
    app = falcon.App()
    app.add_route("/hello", FalconHello())
    return wsgi.VarsMiddleware(app, registry=registry)


def bottle_app() -> bottle.Bottle:
    app = bottle.Bottle()
    app.route("/hello", callback=lambda: OWN)
    return app


def bottle_middleware(registry: Registry) -> Any:
    return wsgi.VarsMiddleware(bottle_app(), registry=registry)


def bottle_mount(registry: Registry) -> Any:
    app = bottle_app()
    app.mount("/debug", wsgi.DebugApp(registry))
    return app


def pyramid(mounted: Any = None) -> Any:
    config = Configurator()
    config.add_route("hello", "/hello")
    config.add_view(lambda request: PyramidResponse(OWN), route_name="hello")
    if mounted is not None:
        config.add_route("debug", "/debug*subpath")
        config.add_view(wsgiapp2(mounted), route_name="debug")
    return config.make_wsgi_app()


def pyramid_middleware(registry: Registry) -> Any:
    return wsgi.VarsMiddleware(pyramid(), registry=registry)


def pyramid_mount(registry: Registry) -> Any:
    return pyramid(wsgi.DebugApp(registry))


def bare_wsgi(registry: Registry) -> Any:
    return wsgi.VarsMiddleware(flask_app(), registry=registry)


ASGI = (
    bare_asgi,
    starlette_middleware,
    starlette_mount,
    fastapi_middleware,
    fastapi_mount,
    django_asgi,
    django_settings_asgi,
    litestar_middleware,
    litestar_mount,
    quart_middleware,
    quart_mount,
    falcon_asgi,
)
WSGI = (
    bare_wsgi,
    flask_middleware,
    flask_mount,
    django_wsgi,
    django_settings_wsgi,
    falcon_wsgi,
    bottle_middleware,
    bottle_mount,
    pyramid_middleware,
    pyramid_mount,
)
SIDE_PORT = "side_port"
ALL = (*(make.__name__ for make in (*ASGI, *WSGI)), SIDE_PORT)
MOUNTED = (*(name for name in ALL if name.endswith("_mount")), SIDE_PORT)
"""Integrations that answer all paths below /debug, and have their own 404 there."""


@contextmanager
def integration(name: str, registry: Registry) -> Iterator[Send]:
    """Send requests through the integration called `name`, from a peer on loopback unless `peer` says otherwise."""
    with ExitStack() as stack:
        if name == SIDE_PORT:
            url, client = stack.enter_context(serve(registry)).url, stack.enter_context(httpx.Client())
            yield lambda method, path, headers=(), peer="127.0.0.1": _answer(
                client.request(method, f"{url}{path}", headers=[("accept-encoding", "identity"), *headers])
            )
            return
        make = next(make for make in (*ASGI, *WSGI) if make.__name__ == name)
        send = _asgi if make in ASGI else _wsgi
        app = make(registry)
        yield lambda method, path, headers=(), peer="127.0.0.1": send(app, method, path, headers, peer)


def serve(registry: Registry) -> Any:
    return pyvars.serve(0, registry=registry)


def _asgi(app: Any, method: str, path: str, headers: Any, peer: str) -> Answer:
    async def send() -> Answer:
        transport = httpx.ASGITransport(app, client=(peer, 1234))
        async with httpx.AsyncClient(transport=transport) as client:
            return _answer(await client.request(method, f"http://localhost{path}", headers=list(headers)))

    return asyncio.run(send())


def _wsgi(app: Any, method: str, path: str, headers: Any, peer: str) -> Answer:
    def told(environ: Any, start_response: Any) -> Any:
        environ["RAW_URI"] = path  # as gunicorn and werkzeug do
        return app(environ, start_response)

    with httpx.Client(transport=httpx.WSGITransport(told, remote_addr=peer)) as client:
        return _answer(client.request(method, f"http://localhost{path}", headers=list(headers)))


def _answer(response: httpx.Response) -> Answer:
    return Answer(response.status_code, dict(response.headers), response.content)
