"""Hooks for frameworks that keep the route of a request in objects that a middleware in front of them cannot see.

A hook puts the template of the route in scope or environ. This module imports no framework: if the program has not
imported one, it has no application of it either.
"""

import sys
from collections.abc import Callable
from functools import cache
from types import FrameType
from typing import Any, Final

from pyvars.errors import warn_caller
from pyvars.traffic.routes import ROUTE_KEY

__all__ = ("install_route_hook", "warn_of_litestar")


def install_route_hook(app: object) -> None:
    """If `app` is an application of such a framework, make it put the template of each route in scope or environ."""
    app = getattr(app, "__self__", app)  # Quart's asgi_app
    for (module, name), install in _HOOKS.items():
        kind = getattr(sys.modules.get(module), name, None)
        if isinstance(kind, type) and isinstance(app, kind):
            install(app)


def warn_of_litestar(name: str) -> None:
    """Warn if Litestar is making the middleware of this name for one of its routes."""
    if _is_made_by_litestar():
        _warn_of_litestar(name)


def _is_made_by_litestar() -> bool:
    """Whether this call comes from Litestar, which makes the middleware for one of its routes."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_globals.get("__name__") != "litestar._asgi.routing_trie.mapping":
        frame = frame.f_back
    return frame is not None


@cache  # Litestar makes one middleware for each of its routes
def _warn_of_litestar(name: str) -> None:
    warn_caller(
        f"Litestar calls the middlewares that it is given only for its own routes, so {name} cannot answer there, and"
        f" counts no other request; write app = {name}(Litestar(...))",
        through=frozenset(("pyvars", "litestar")),
    )


def _hook_django(handler: Any) -> None:
    if "resolve_request" in vars(handler):
        return
    resolve = handler.resolve_request

    def resolve_request(request: Any) -> Any:
        match = resolve(request)
        # `scope` of Django's ASGIRequest, `META` of its WSGIRequest: the environ itself
        getattr(request, "scope", request.META)[ROUTE_KEY] = f"/{match.route}"
        return match

    handler.resolve_request = resolve_request


def _hook_quart(app: Any) -> None:
    quart: Any = sys.modules["quart"]
    quart.request_started.connect(_note_request_of_quart, app, weak=False)
    quart.websocket_started.connect(_note_websocket_of_quart, app, weak=False)


async def _note_request_of_quart(app: object, **_: object) -> None:
    _note_rule(sys.modules["quart"].request)


async def _note_websocket_of_quart(app: object, **_: object) -> None:
    _note_rule(sys.modules["quart"].websocket)


def _note_rule(request: Any) -> None:
    if request.url_rule is not None:
        request.scope[ROUTE_KEY] = request.url_rule.rule


class _FalconComponent:
    """A middleware of Falcon. Falcon calls one of its methods once it has found the route."""

    def process_resource(self, request: Any, response: object, resource: object, params: object) -> None:
        request.env[ROUTE_KEY] = request.uri_template

    async def process_resource_async(self, request: Any, response: object, resource: object, params: object) -> None:
        request.scope[ROUTE_KEY] = request.uri_template

    async def process_resource_ws(self, request: Any, websocket: object, resource: object, params: object) -> None:
        request.scope[ROUTE_KEY] = request.uri_template


def _hook_falcon(app: Any) -> None:
    app.add_middleware(_FalconComponent())


def _hook_pyramid(router: Any) -> None:
    router.registry.registerHandler(_note_route_of_pyramid, (sys.modules["pyramid.interfaces"].IBeforeTraversal,))


def _note_route_of_pyramid(event: Any) -> None:
    route = event.request.matched_route
    if route is not None:
        event.request.environ[ROUTE_KEY] = "/" + route.pattern.removeprefix("/")


_HOOKS: Final[dict[tuple[str, str], Callable[[Any], None]]] = {
    ("django.core.handlers.base", "BaseHandler"): _hook_django,
    ("falcon.app", "App"): _hook_falcon,
    ("pyramid.router", "Router"): _hook_pyramid,
    ("quart", "Quart"): _hook_quart,
}
"""By module and name of the class of an application: the function that installs the hook."""
