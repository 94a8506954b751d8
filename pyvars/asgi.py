"""The ASGI integration: translates a scope to a Request, and a Response back to messages."""

from functools import lru_cache
from typing import Literal

import pyvars
from pyvars.access import Access
from pyvars.access.request import MAX_QUERY_BYTES, Request, deadline, server_in
from pyvars.core.log import warn
from pyvars.core.registry import Registry
from pyvars.runtime.event_loop import register_loop
from pyvars.site.default import debug, variables
from pyvars.site.event_loop import answer
from pyvars.site.gate import Site
from pyvars.site.http import Response, dated, text
from pyvars.traffic.asgi import ASGIApp, ASGIRequest, Message, Receive, Scope, Send, follow
from pyvars.traffic.http_variable import recorder_of
from pyvars.traffic.once import detach, discard, outer_request, stand_in
from pyvars.traffic.options import Traffic, exclusions, traffic
from pyvars.traffic.recorder import KEY, FollowedRequest
from pyvars.traffic.routes import install_route_hook, path_in
from pyvars.traffic.websocket import ASGIWebSocket
from pyvars.workers import REQUESTS

__all__ = ("ASGIApp", "CountRequests", "DebugApp", "SiteApp", "Traffic", "VarsMiddleware")

_count_request = REQUESTS.add  # looked up once, not for each request


class SiteApp:
    """An ASGI application that serves a site below its mount point. Thread-safe."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection. It does nothing at startup and shutdown, and closes WebSockets."""
        register_loop()
        discard(scope)
        if scope["type"] == "http":
            _count_request()
            await reply(await respond(self._site, scope), send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        elif scope["type"] == "lifespan":
            await _lifespan(receive, send)


class DebugApp(SiteApp):
    """An application that answers `/vars`, `/workers`, `/api/stats`, `/metrics` and an index below its mount point.

        app = Starlette(routes=[Mount("/debug", DebugApp())])

    It serves the default registry, or only `registry`. `access` decides which requests may see the variables; the
    default is `pyvars.access.default()`: requests of programs on this machine, and with PYVARS_TOKEN if that is set.
    Thread-safe.
    """

    def __init__(self, registry: Registry | None = None, *, access: Access | None = None) -> None:
        super().__init__(debug(registry, access, prefix=""))


class Middleware:
    """Serves a site, or counts the requests to the application, or both."""

    __slots__ = ("_exclusions", "_left_out", "_recorder", "_site", "app")

    app: ASGIApp
    """The application that all other requests are passed on to."""

    def __init__(self, app: ASGIApp, site: Site | None, registry: Registry | None, options: Traffic | None) -> None:
        self.app = app
        self._site = site
        self._recorder = self._exclusions = None
        self._left_out = frozenset[str]()
        if options is not None:
            self._recorder = recorder_of(registry or pyvars.default_registry, options, required=site is None)
        if options is not None and self._recorder is not None:
            self._exclusions = exclusions(options)
            if self._exclusions is not None:
                self._left_out = self._exclusions.whole
            install_route_hook(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on: that costs one look into the scope, and the counting."""
        path = scope.get("path")
        if path is None:  # lifespan, the only kind of scope without
            register_loop()
            await self.app(scope, receive, send)
            return
        if self._site is not None:
            _count_request()
            if "/debug/" in path and scope["type"] == "http":
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
        kind = scope["type"]
        if kind != "http" and kind != "websocket":
            await self.app(scope, receive, send)
            return
        outer: FollowedRequest | None = None
        if KEY in scope or self._exclusions is not None or "wsgi_environ" in scope:  # most requests take no call
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
    """A middleware that answers `/debug/vars` and `/debug/workers`, passes everything else on, and counts that.

        app.add_middleware(VarsMiddleware)      # Starlette, FastAPI
        app = VarsMiddleware(app)               # any ASGI application

    It serves the default registry, or only `registry`. `access` decides which requests may see the variables; the
    default is `pyvars.access.default()`: requests of programs on this machine, and with PYVARS_TOKEN if that is set.
    A refused request goes to the application as if there were no middleware; but if the access rule takes a credential,
    the response is 401.

    The requests that go to the application are counted in the registry as `http` (see `CountRequests`), those that the
    middleware answers are not; `count=Traffic(...)` says what is left out, with `count=False` nothing is counted. If
    the program publishes a variable of its own as `http`, nothing is counted either, and the log says so. Thread-safe.

    Raises:
        ConfigurationError: it counts, and another middleware counts in the registry with other bounds.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        registry: Registry | None = None,
        access: Access | None = None,
        count: Traffic | bool = True,
    ) -> None:
        options = traffic(count)
        super().__init__(app, variables(registry, access), registry, options)


class CountRequests(Middleware):
    """A middleware that counts requests in a registry, as `http`, and serves nothing.

    It counts requests, errors (a status of 5xx, or the application raised), requests in flight, bytes of bodies, and
    requests by method, by class of status and by template of the route; and how long requests took, in all and by
    route, and until the first byte. What is meant to stay open is apart from that: event streams, and what was open
    for over 10 s, in `streams`; WebSockets, which are no requests once they are accepted, in `websockets`.

    A request that passes several middlewares of one registry counts once, in the outermost; one that pyvars answers
    counts nowhere. `count=Traffic(...)` says what else is left out. Middlewares of one registry count in the same
    `http`. Thread-safe.

    Raises:
        DuplicateNameError: another variable is published as `http`.
        ConfigurationError: another middleware counts in the registry with other bounds.
    """

    def __init__(
        self, app: ASGIApp, *, registry: Registry | None = None, count: Traffic | Literal[True] = True
    ) -> None:
        super().__init__(app, None, registry, traffic(count))


async def respond(site: Site, scope: Scope) -> Response:
    """Returns the response of the site."""
    return await answer(site, _request(scope))


async def reply(response: Response, send: Send) -> None:
    """Send the response."""
    headers = [_encoded(header) for header in response.headers]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


def contained(app: ASGIApp) -> ASGIApp:
    """The application, with a response 500 of pyvars where it raises: that of a server lacks our headers."""

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
    # As Starlette reads them: the path begins with root_path, or root_path does not concern it.
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :]
    else:
        root = ""
    raw_path = scope.get("raw_path")
    return Request(
        method=scope["method"],
        path=path,
        root=root,
        raw_path=None if raw_path is None else raw_path.decode("latin-1"),
        query=scope.get("query_string", b"")[: MAX_QUERY_BYTES + 1].decode("latin-1"),
        headers=tuple(
            [(name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")) for name, value in scope["headers"]]
        ),
        peer=_peer(scope),
        http_version=scope.get("http_version", ""),
        deadline=deadline(),
        scheme=scope.get("scheme", ""),
        server=server_in(scope.get("wsgi_environ", {})),  # a2wsgi hands it over
    )


def _peer(scope: Scope) -> str | None:
    client, server = scope.get("client"), scope.get("server")
    if client is not None:
        return str(client[0]) or None  # empty means a unix socket, but here a server that does not know
    if server is not None and server[1] is None:  # (path, None): the server listens on a unix socket
        return ""
    return None


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
