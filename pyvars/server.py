"""The side port: the variables on an address of their own, from a thread beside the program."""

import atexit
import socket
from threading import Thread
from types import TracebackType
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware

from pyvars.access import Access, is_loopback
from pyvars.asgi import ASGIApp, Receive, Scope, Send, reply, respond
from pyvars.errors import ConfigurationError
from pyvars.registry import Registry
from pyvars.runtime.event_loop import watch
from pyvars.site.default import debug
from pyvars.site.site import Site

if TYPE_CHECKING:
    from typing import Self

__all__ = ("Server", "serve")


class Server:
    """A running side port. Close it with `close()` or as a context manager; it closes at interpreter exit by itself.

    A forked child inherits no thread, and its own exit leaves the parent's side port alone.
    """

    def __init__(self, listener: socket.socket, app: ASGIApp) -> None:
        self._listener = listener
        self.host: str
        """The address it listens on."""
        self.port: int
        """The port it listens on, also when 0 was asked for."""
        self.host, self.port = listener.getsockname()[:2]
        config = _Config(app)
        # Import now what uvicorn imports when it runs: here an error reaches the caller; and a program that Ctrl-C ends
        # in that moment would not be seen to end by it (CPython forgets an interrupt at the next eval of a text).
        config.load()
        config.get_loop_factory()
        self._uvicorn = uvicorn.Server(config)
        self._thread = Thread(target=self._run, name="pyvars-server", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    @property
    def url(self) -> str:
        """Where it is, such as `http://127.0.0.1:6060`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def close(self) -> None:
        """Stop listening, finish what is being answered (at most a second), and end the thread. Again is no error."""
        atexit.unregister(self.close)
        self._uvicorn.should_exit = True
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        self._uvicorn.run(sockets=[self._listener])

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Server {self.url}>"


def serve(
    port: int = 6060, host: str = "127.0.0.1", *, registry: Registry | None = None, access: Access | None = None
) -> Server:
    """Serve the variables at `http://host:port/debug/vars`, from a daemon thread with an event loop of its own.

    Who may look is said by `access`: by default programs on this machine, and who sends PYVARS_TOKEN if that is set.
    It binds before it returns; port 0 takes a free one, which `url` names. The program's signal handlers, logging and
    event loop are left alone. It serves the default registry, or exactly what `registry` holds.

    Raises:
        OSError: the address cannot be had, mostly because another program holds the port.
        ConfigurationError: `host` is not a loopback address and `access` lets in programs on this machine only; or
            `port` is none; or `access` is no rule.
    """
    site = debug(registry, access, prefix="/debug")
    if site.only_local and not is_loopback(host):
        raise ConfigurationError(
            f"others can reach {host!r}, and nothing says who of them may look. Bind 127.0.0.1; or set PYVARS_TOKEN, or"
            " give access=token(...), token_file(...) or basic(...) of pyvars.access; or access=networks(...)"
        )
    if not isinstance(port, int) or not 0 <= port <= 65535:
        raise ConfigurationError(f"a port is a number from 0 to 65535, got {port!r}")
    watch()  # when it is called on the program's loop
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        error.add_note(
            "another program, or another worker or reloader process of this one, may hold it; 0 takes a free one"
        )
        raise
    # Accepted sockets inherit it. asyncio sets it itself, but not on sockets whose protocol is 0, as create_server
    # makes them; without it head and body of an answer wait for each other: 44 ms a request over a connection kept
    # alive.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        return Server(listener, _application(site))
    except BaseException:
        listener.close()
        raise


class _Config(uvicorn.Config):
    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            app,
            log_config=None,
            access_log=False,
            interface="asgi3",
            lifespan="off",
            ws="none",
            workers=1,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )

    def configure_logging(self) -> None:
        """Leave the program's loggers alone: uvicorn would take the handlers off its own access logger."""


def _application(site: Site) -> ASGIApp:
    # Without a route everything goes to the default, whatever its path: no answer bypasses the gate, nothing redirects.
    app = Starlette()
    app.router.redirect_slashes = False
    app.router.default = _endpoint(site)
    return _Compressed(app)


def _endpoint(site: Site) -> ASGIApp:
    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(await respond(site, scope), send)

    return endpoint


class _Compressed:
    """Starlette's gzip, where the client accepts it."""

    def __init__(self, app: ASGIApp) -> None:
        self._plain = app
        self._gzip = GZipMiddleware(app, compresslevel=5)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _accepts_gzip(scope):
            await self._plain(scope, receive, send)
            return
        # What HEAD would compress is what GET would get: uvicorn drops the body, and the headers agree.
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        headers = [(b"accept-encoding", b"gzip"), *scope["headers"]]  # the first counts, and Starlette reads no GZIP
        await self._gzip({**scope, "method": method, "headers": headers}, receive, send)


def _accepts_gzip(scope: Scope) -> bool:
    """RFC 9110, section 12.5.3. Starlette looks for the word alone and so overlooks `gzip;q=0`."""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    for name, value in headers:
        if name == b"accept-encoding":
            for coding in value.decode("latin-1").lower().replace(" ", "").split(","):
                word, _, weight = coding.partition(";q=")
                if word == "gzip":
                    return weight == "" or weight.strip("0.") != ""
    return False
