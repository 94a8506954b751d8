"""The ASGI integration: translates a scope to a Request, and a Response back to messages."""

from contextlib import suppress
from functools import lru_cache
from importlib import import_module

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

import pyvars
from pyvars.access import Access
from pyvars.access.request import MAX_QUERY_BYTES, Request, deadline, server_in
from pyvars.collect.functions import Round
from pyvars.core.log import warn
from pyvars.core.registry import Registry
from pyvars.runtime.event_loop import register_loop, running_loop
from pyvars.site.default import debug, variables
from pyvars.site.gate import Admitted, Site
from pyvars.site.http import Response, dated, text
from pyvars.traffic.asgi import ASGIApp, Message, Receive, Scope, Send, follow_request
from pyvars.traffic.http_variable import recorder_of
from pyvars.traffic.routes import install_route_hook
from pyvars.workers import REQUESTS

# anyio, which comes with Starlette, would import this at its first use: during a request no file may be left to open.
# Nor when an integration is made: uWSGI loses the signals that come between that and the first request.
with suppress(ImportError):  # another release may have it elsewhere
    import_module("anyio._backends._asyncio")

__all__ = ("ASGIApp", "CountRequests", "DebugApp", "SiteApp", "VarsMiddleware")

MAX_THREADS = 4
"""Threads for pages with functions: two render, two wait for a slot. Further requests wait on the event loop."""

_count_request = REQUESTS.add  # looked up once, not for each request
_limiters: RunVar[CapacityLimiter] = RunVar("pyvars_limiter")


class SiteApp:
    """An ASGI application that serves a site below its mount point. Thread-safe."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection. It does nothing at startup and shutdown, and closes WebSockets."""
        register_loop()
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

    __slots__ = ("_recorder", "_site", "app")

    app: ASGIApp
    """The application that all other requests are passed on to."""

    def __init__(self, app: ASGIApp, site: Site | None, counted: Registry | None) -> None:
        self.app = app
        self._site = site
        self._recorder = None if counted is None else recorder_of(counted, required=site is None)
        if self._recorder is not None:
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
                    await reply(response, send)
                    return
        recorder = self._recorder
        if recorder is None or scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        app, request = self.app, follow_request(recorder, scope, receive, send)
        try:
            await app(scope, request.receive, request.send)
        except BaseException as error:
            request.finish(error)
            raise
        if not request.recorded:
            request.finish(None)


class VarsMiddleware(Middleware):
    """A middleware that answers `/debug/vars` and `/debug/workers`, passes everything else on, and counts that.

        app.add_middleware(VarsMiddleware)      # Starlette, FastAPI
        app = VarsMiddleware(app)               # any ASGI application

    It serves the default registry, or only `registry`. `access` decides which requests may see the variables; the
    default is `pyvars.access.default()`: requests of programs on this machine, and with PYVARS_TOKEN if that is set.
    A refused request goes to the application as if there were no middleware; but if the access rule takes a credential,
    the response is 401.

    The requests that go to the application are counted in the registry as `http` (see `CountRequests`), those that the
    middleware answers are not; with `count=False` nothing is counted. If the program publishes a variable of its own as
    `http`, nothing is counted either, and the log says so. Thread-safe.
    """

    def __init__(
        self, app: ASGIApp, *, registry: Registry | None = None, access: Access | None = None, count: bool = True
    ) -> None:
        super().__init__(app, variables(registry, access), (registry or pyvars.default_registry) if count else None)


class CountRequests(Middleware):
    """A middleware that counts requests in a registry, as `http`, and serves nothing.

    It counts requests, errors (a status of 5xx, or the application raised), requests in flight, bytes of bodies, and
    requests by method, by class of status and by template of the route; and how long requests took, in all and by
    route. WebSockets are not counted. Middlewares of one registry count in the same `http`. Thread-safe.

    Raises:
        DuplicateNameError: another variable is published as `http`.
    """

    def __init__(self, app: ASGIApp, *, registry: Registry | None = None) -> None:
        super().__init__(app, None, registry or pyvars.default_registry)


async def respond(site: Site, scope: Scope) -> Response:
    """Returns the response of the site. A view that may wait runs in a thread, not on the event loop."""
    admitted = site.admit(_request(scope))
    if not isinstance(admitted, Admitted):
        return admitted
    functions = admitted.begin()
    if not admitted.may_block() and (functions is None or await _are_waited_for(functions)):
        return admitted.respond()
    with suppress(Exception):  # no thread can be started
        return await to_thread.run_sync(admitted.respond, limiter=_limiter())
    return admitted.respond()  # no function can be either, so that it waits for little


async def _are_waited_for(functions: Round) -> bool:
    """Wait on the event loop until the page waits no longer for its functions. False if it is none of asyncio."""
    try:
        loop = running_loop()
    except RuntimeError:
        return False
    from asyncio import Event

    woken, back = Event(), Event()

    def wake() -> None:
        with suppress(RuntimeError):  # the loop was closed a moment ago
            loop.call_soon_threadsafe(set_both)

    def set_both() -> None:
        back.set()
        woken.set()

    functions.when_back(wake)
    while not back.is_set() and (seconds := functions.seconds()) is not None:
        timer = loop.call_later(seconds, woken.set)
        await woken.wait()
        timer.cancel()
        woken.clear()
    return True


def _limiter() -> CapacityLimiter:
    """Returns the thread limit of the running event loop.

    It is not the limit of the service: the page must answer when all threads of the service are busy.
    """
    try:
        return _limiters.get()
    except LookupError:
        limiter = CapacityLimiter(MAX_THREADS)
        _limiters.set(limiter)
        return limiter


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
