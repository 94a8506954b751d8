"""The same request through every integration: (method, path, headers) in, (status, headers, body) out."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import django
import httpx
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path as django_path
from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from werkzeug.middleware.dispatcher import DispatcherMiddleware

import pyvars
from pyvars import Registry, asgi, wsgi

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


def bare_wsgi(registry: Registry) -> Any:
    return wsgi.VarsMiddleware(flask_app(), registry=registry)


ASGI = (
    bare_asgi,
    starlette_middleware,
    starlette_mount,
    fastapi_middleware,
    fastapi_mount,
    django_asgi,
)
WSGI = (bare_wsgi, flask_middleware, flask_mount, django_wsgi)
SIDE_PORT = "side_port"
ALL = (*(make.__name__ for make in (*ASGI, *WSGI)), SIDE_PORT)
MOUNTED = ("starlette_mount", "fastapi_mount", "flask_mount", SIDE_PORT)
"""Integrations that own all of /debug, and have one 404 there."""


@contextmanager
def integration(name: str, registry: Registry) -> Iterator[Send]:
    """Send requests through the integration called `name`, from a peer on loopback unless `peer` says otherwise."""
    with ExitStack() as stack:
        if name == SIDE_PORT:
            client = stack.enter_context(httpx.Client(base_url=stack.enter_context(serve(registry)).url))
            yield lambda method, path, headers=(), peer="127.0.0.1": _answer(
                client.request(method, path, headers=[("accept-encoding", "identity"), *headers])
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
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return _answer(await client.request(method, path, headers=list(headers)))

    return asyncio.run(send())


def _wsgi(app: Any, method: str, path: str, headers: Any, peer: str) -> Answer:
    transport = httpx.WSGITransport(app, remote_addr=peer)
    with httpx.Client(transport=transport, base_url="http://localhost") as client:
        return _answer(client.request(method, path, headers=list(headers)))


def _answer(response: httpx.Response) -> Answer:
    return Answer(response.status_code, dict(response.headers), response.content)
