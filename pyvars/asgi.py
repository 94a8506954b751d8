"""The ASGI integration: serves the variables, and counts requests. It translates a scope to a Request."""

from functools import lru_cache
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

import pyvars
from pyvars.access import Access
from pyvars.access.request import MAX_QUERY_BYTES, Request, deadline, server_in
from pyvars.core.log import warn
from pyvars.core.registry import Registry
from pyvars.runtime.event_loop import register_loop
from pyvars.site.default import checked_path, debug
from pyvars.site.event_loop import answer
from pyvars.site.gate import Site
from pyvars.site.http import Response, dated, text
from pyvars.traffic.asgi import ASGIApp, ASGIRequest, Message, Receive, Scope, Send, follow
from pyvars.traffic.frameworks import install_route_hook, warn_of_litestar
from pyvars.traffic.http_variable import recorder_of
from pyvars.traffic.once import detach, discard, outer_request, stand_in
from pyvars.traffic.options import Traffic, exclusions, required_traffic, traffic
from pyvars.traffic.recorder import KEY, FollowedRequest
from pyvars.traffic.routes import path_in
from pyvars.traffic.websocket import ASGIWebSocket
from pyvars.workers import REQUESTS

if TYPE_CHECKING:
    from typing import Self

__all__ = ("ASGIApp", "CountRequests", "DebugApp", "SiteApp", "Traffic", "VarsMiddleware")

_count = REQUESTS.add  # looked up once, not for each request


class SiteApp:
    """An ASGI application that serves a site (views and their access rule) below its mount point. Thread-safe."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def __deepcopy__(self, memo: object) -> "Self":
        return self  # Litestar deep-copies the applications that its Router mounts; the variables cannot be copied

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection: answer a request, close a WebSocket, or confirm startup and shutdown."""
        register_loop()
        discard(scope)
        if scope["type"] == "http":
            _count()
            await reply(await respond(self._site, scope), send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        elif scope["type"] == "lifespan":
            await _lifespan(receive, send)


class DebugApp(SiteApp):
    """An application that answers `/vars`, `/history`, `/workers`, `/api/stats`, `/metrics` and `/`.

    `/` is a page with charts for browsers, and an index of the paths for other clients.

        app = Starlette(routes=[Mount("/debug", DebugApp())])

    It serves the variables of `registry`, by default those of the default registry. `access` decides which requests may
    see the variables. The default, `pyvars.access.default()`, allows requests of programs on this machine, and, if the
    environment has PYVARS_TOKEN, requests that send that token. With `history=False` pyvars keeps no history of the
    variables. Thread-safe; may be made before the server forks its workers.

    Raises:
        TypeError: `registry` is not a Registry, or `history` is not a bool.
        ConfigurationError: `access` is not an access rule, or PYVARS_TOKEN is not a valid token.
    """

    def __init__(self, registry: Registry | None = None, *, access: Access | None = None, history: bool = True) -> None:
        super().__init__(debug(registry, access, prefix="", history=history))


class Middleware:
    """Serves a site, or counts the requests that it passes on to the application, or both."""

    __slots__ = ("_count_request", "_exclusions", "_left_out", "_prefix", "_recorder", "_site", "app")

    app: ASGIApp
    """The application to which all other requests are passed on."""
    _site: Site
    """The attribute exists only if `_prefix` is not None."""

    def __init__(self, app: ASGIApp, site: Site | None, registry: Registry | None, options: Traffic | None) -> None:
        warn_of_litestar(type(self).__name__)
        self.app = app
        self._prefix = None
        if site is not None:
            self._site, self._prefix = site, site.prefix
            self._count_request = self._count_first
        self._recorder = self._exclusions = None
        self._left_out = frozenset[str]()
        if options is not None:
            self._recorder = recorder_of(registry or pyvars.default_registry, options, required=site is None)
        if options is not None and self._recorder is not None:
            self._exclusions = exclusions(options)
            if self._exclusions is not None:
                self._left_out = self._exclusions.whole
            install_route_hook(app)

    def _count_first(self) -> None:
        """Count the first request, and begin the history. Later requests are only counted."""
        self._count_request = _count
        self._site.begin()
        _count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request if it is for the site; otherwise pass it on to the application, and count it."""
        path = scope.get("path")
        if path is None:  # a lifespan scope, the only kind that has no path
            register_loop()
            await self.app(scope, receive, send)
            return
        prefix, kind = self._prefix, scope["type"]
        if prefix is not None and kind == "http":
            self._count_request()
            if prefix in path:
                register_loop()
                response = await respond(self._site, scope)
                if response.ours:
                    discard(scope)
                    await reply(response, send)
                    return
        recorder = self._recorder
        if recorder is None:
            await self.app(scope, receive, send)
            return
        if kind != "http" and kind != "websocket":
            await self.app(scope, receive, send)
            return
        outer: FollowedRequest | None = None
        if KEY in scope or self._exclusions is not None or "wsgi_environ" in scope:  # false for most: saves a call
            instead = stand_in(recorder, self._exclusions, scope, path_in(scope))
            if instead is not None:
                try:
                    await self.app(scope, receive, send)
                finally:
                    detach(scope, instead)
                return
            outer = outer_request(scope)
        follow_as = ASGIRequest if kind == "http" else ASGIWebSocket
        app, request = self.app, follow(follow_as, recorder, scope, receive, send, self._left_out, outer)
        try:
            await app(scope, request.receive, request.send)
        except BaseException as error:
            request.finish(error)
            raise
        else:
            if not request.recorded:
                request.finish(None)
        finally:
            if outer is None:
                scope.pop(KEY, None)
            else:
                detach(scope, request)


class VarsMiddleware(Middleware):
    """A middleware that answers requests below `/debug` as `DebugApp` does, and passes on and counts all others.

        app.add_middleware(VarsMiddleware)      # Starlette, FastAPI
        app = VarsMiddleware(app)               # any ASGI application

    `path` replaces `/debug`. The middleware serves the variables of `registry`, by default those of the default
    registry. `access` decides which requests may see the variables. The default, `pyvars.access.default()`, allows
    requests of programs on this machine, and, if the environment has PYVARS_TOKEN, requests that send that token. A
    refused request gets 401 if the access rule takes a credential; otherwise it is passed on to the application.

    The middleware counts the requests that it passes on in the variable `http` of the registry (see `pyvars.traffic`).
    With `count=Traffic(...)` it leaves some of them out; with `count=False` it counts none. If the program publishes a
    variable of its own as `http`, it counts none, and logs that. With `history=False` pyvars keeps no history of the
    variables. Thread-safe; may be made before the server forks its workers.

    Raises:
        TypeError: `registry` is not a Registry, `path` is not a str, `history` is not a bool, or `count` is neither a
            bool nor a Traffic.
        ConfigurationError: `path` is not a path such as `/debug`; `access` is not an access rule; PYVARS_TOKEN is not a
            valid token; or another middleware counts in the same registry with other bounds.

    Warns:
        PyvarsWarning: Litestar makes this middleware, and calls it only for requests to its own routes.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        registry: Registry | None = None,
        access: Access | None = None,
        count: Traffic | bool = True,
        path: str = "/debug",
        history: bool = True,
    ) -> None:
        options, prefix = traffic(count), checked_path(path)
        super().__init__(app, debug(registry, access, prefix=prefix, history=history), registry, options)


class CountRequests(Middleware):
    """A middleware that counts requests in the variable `http` of a registry, and serves nothing.

    It counts requests, errors, requests in flight, bytes of bodies, and requests by method, by class of status and by
    template of the route, and measures how many seconds they take. `help("pyvars.traffic")` describes each figure.

    If a request passes several middlewares of one registry, only the outermost counts it. Requests that pyvars answers
    are not counted; `count=Traffic(...)` leaves out further ones. All middlewares of one registry count in the same
    `http`. Thread-safe.

    Raises:
        TypeError: `registry` is not a Registry, or `count` is neither True nor a Traffic.
        DuplicateNameError: another variable is published as `http`.
        ConfigurationError: another middleware counts in the registry with other bounds.
    """

    def __init__(
        self, app: ASGIApp, *, registry: Registry | None = None, count: Traffic | Literal[True] = True
    ) -> None:
        super().__init__(app, None, registry, required_traffic(count))


async def respond(site: Site, scope: Scope) -> Response:
    """Returns the response of the site to the request in the scope."""
    return await answer(site, _request(scope))


async def reply(response: Response, send: Send) -> None:
    """Send the response to the server."""
    headers = [_encoded(header) for header in response.headers]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


def contained(app: ASGIApp) -> ASGIApp:
    """Returns an application that answers 500 if `app` raises. The server's own response would lack pyvars' headers."""

    async def answered(scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await app(scope, receive, noted)
        except Exception as error:
            if begun:
                raise
            warn("a request for the variables failed", exc_info=error)
            await reply(dated(text(500, "internal server error")), send)

    return answered


@lru_cache(maxsize=256)  # most headers are on every response
def _encoded(header: tuple[str, str]) -> tuple[bytes, bytes]:
    name, value = header
    return name.lower().encode("latin-1"), value.encode("latin-1")


def _request(scope: Scope) -> Request:
    path, root = scope["path"], scope.get("root_path", "")
    # As in Starlette: root_path counts only if the path begins with it.
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :]
    else:
        root = ""
    sent = scope.get("raw_path")
    # Litestar's test client puts the query in raw_path, too.
    raw_path = None if sent is None else sent.decode("latin-1").partition("?")[0]
    if not root and raw_path is not None and raw_path != path:
        root, path = _cut(unquote(raw_path), path)
    return Request(
        method=scope["method"],
        path=path,
        root=root,
        raw_path=raw_path,
        query=scope.get("query_string", b"")[: MAX_QUERY_BYTES + 1].decode("latin-1"),
        headers=tuple(
            [(name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")) for name, value in scope["headers"]]
        ),
        peer=_peer(scope),
        http_version=scope.get("http_version", ""),
        deadline=deadline(),
        scheme=scope.get("scheme", ""),
        server=server_in(scope.get("wsgi_environ", {})),  # a2wsgi puts the environ of its WSGI server there
    )


def _cut(whole: str, path: str) -> tuple[str, str]:
    """Returns the mount point and the path below it, if a framework cut off the mount point but did not set root_path.

    Litestar does this, and appends a slash to the path. If the client spelled the mount point in another way (`//`,
    `/..`), the mount point is empty here: the gate then compares the path with `raw_path`, and finds no view.
    """
    below = path if whole.endswith(path) else path.removesuffix("/")
    root = whole.removesuffix(below)
    first, *parts = root.split("/")
    if first or not whole.endswith(below) or not {"", ".", ".."}.isdisjoint(parts):
        return "", path
    return root, below


def _peer(scope: Scope) -> str | None:
    client, server = scope.get("client"), scope.get("server")
    if client is not None:
        return str(client[0]) or None  # empty means unknown in a scope, but a unix socket in a Request
    if server is not None and server[1] is None:  # (path, None): the server listens on a unix socket
        return ""
    return None


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
