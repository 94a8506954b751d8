"""The side port: the variables on an address of their own, from a thread beside the program."""

import asyncio
import atexit
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from functools import partial
from threading import Event, Thread
from types import TracebackType
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware

from pyvars.access import Access, is_loopback
from pyvars.asgi import ASGIApp, reply, respond
from pyvars.core import resources
from pyvars.core.registry import Registry
from pyvars.errors import ConfigurationError
from pyvars.runtime.event_loop import register_loop
from pyvars.site.default import side_port
from pyvars.site.gate import Site
from pyvars.traffic.asgi import Receive, Scope, Send
from pyvars.workers import REQUESTS
from pyvars.workers.membership.address import claim, release

if TYPE_CHECKING:
    from typing import Self

__all__ = ("Server", "serve")

STAND_BY_SECONDS = 0.2
"""How often one that stands by looks whether the address is free."""


class Server:
    """A side port, running or standing by. Close it with `close()` or as a context manager, or leave it to the exit.

    Of the worker processes of one program the first to ask for an address serves it. The others stand by, and one of
    them takes over within a second of its end. A forked child inherits neither, and its exit leaves the parent's alone.
    """

    def __init__(self, listener: socket.socket | None, host: str, *, port: int, app: ASGIApp) -> None:
        self._listener = listener
        self._asked = host
        self.host: str = host if listener is None else listener.getsockname()[0]
        """The address it listens on."""
        self.port: int = port
        """The port it listens on, also when 0 was asked for."""
        self._config = _Config(app)
        # Import now what uvicorn imports when it runs: here an error reaches the caller; and a program that Ctrl-C ends
        # in that moment would not be seen to end by it (CPython forgets an interrupt at the next eval of a text).
        self._config.load()
        self._config.get_loop_factory()
        self._uvicorn: _Uvicorn | None = None
        self._thread: Thread | None = None
        self._waiting: Thread | None = None
        self._paused = Event()
        self._ended = Event()
        self._pid = os.getpid()
        if listener is not None:
            self._serve(listener)
        else:
            self._resume()
        self._resource = resources.hold(
            __name__,
            "side port: listener, threads pyvars-server and pyvars-standby",
            before=self._pause,
            in_parent=self._resume,
            in_child=self._forget,
        )
        atexit.register(self.close)

    @property
    def url(self) -> str:
        """Where it is, such as `http://127.0.0.1:6060`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def serving(self) -> bool:
        """Whether this process serves it; false while it stands by, and once it is closed."""
        return self._uvicorn is not None

    def close(self) -> None:
        """Stop listening, finish what is being answered (at most a second), and end the thread. Again is no error."""
        atexit.unregister(self.close)
        resources.release(self._resource)
        self._ended.set()
        if self._pid != os.getpid():
            return
        self._pause()
        running, self._uvicorn = self._uvicorn, None
        if running is not None:
            running.stop()
        if self._thread is not None:
            self._thread.join()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            release(self._asked, self.port)

    def _serve(self, listener: socket.socket) -> None:
        # Accepted sockets inherit it. asyncio sets it itself, but not on sockets whose protocol is 0, as create_server
        # makes them; without it head and body of an answer wait for each other: 44 ms a request over a connection kept
        # alive.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._listener = listener
        self._uvicorn = _Uvicorn(self._config)
        self._thread = Thread(
            target=self._uvicorn.run, kwargs={"sockets": [listener]}, name="pyvars-server", daemon=True
        )
        self._thread.start()

    def _stand_by(self, pause: Event) -> None:
        while not pause.wait(STAND_BY_SECONDS):
            with suppress(OSError):  # another Server of this process has it
                if claim(self._asked, self.port):
                    try:
                        listener = _bound(self._asked, self.port)
                    except OSError:  # somebody else was quicker, or a child of the one before has it still
                        release(self._asked, self.port)
                        continue
                    self._serve(listener)
                    return

    def _resume(self) -> None:
        """Stand by, or go on to after a fork."""
        if self._listener is None and not self._ended.is_set() and self._pid == os.getpid():
            self._paused = Event()
            self._waiting = Thread(target=self._stand_by, args=(self._paused,), name="pyvars-standby", daemon=True)
            self._waiting.start()

    def _pause(self) -> None:
        """Stop the thread that stands by, if there is one, as before a fork."""
        if self._waiting is not None:
            self._paused.set()
            self._waiting.join()
            self._waiting = None

    def _forget(self) -> None:
        """In a forked child: give up what the parent goes on to use, and touch nothing of its event loop."""
        resources.release(self._resource)
        self._ended = Event()
        self._ended.set()
        self._thread = self._waiting = None
        if self._listener is not None:
            os.close(self._listener.detach())
            self._listener = None
        running, self._uvicorn = self._uvicorn, None
        for connection in running.server_state.connections if running is not None else ():
            with suppress(OSError, AttributeError):  # one that is being closed has no socket any more
                os.close(connection.transport.get_extra_info("socket").fileno())

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Server {self.url}{'' if self.serving else ', which does not serve'}>"


def serve(
    port: int = 6060, host: str = "127.0.0.1", *, registry: Registry | None = None, access: Access | None = None
) -> Server:
    """Serve the variables at `http://host:port/debug/vars`, from a daemon thread with an event loop of its own.

    Beside them are `/api/stats`, `/status/health` and `/status/hardware/`; the index at `/debug/` lists what there is.
    Who may look is said by `access`: by default programs on this machine, and who sends PYVARS_TOKEN if that is set.
    It binds before it returns; port 0 takes a free one, which `url` names. If another worker process of the program has
    the address already it stands by, and takes over within a second when that one ends. The program's signal handlers,
    logging and event loop are left alone. It serves the default registry, or exactly what `registry` holds.

    Raises:
        OSError: the address cannot be had, mostly because another program holds the port.
        ConfigurationError: `host` is not a loopback address and `access` lets in programs on this machine only; or
            `port` is none; or `access` is no rule.
    """
    site = side_port(registry, access)
    if site.only_local and not is_loopback(host):
        raise ConfigurationError(
            f"others can reach {host!r}, and nothing says who of them may look. Bind 127.0.0.1; or set PYVARS_TOKEN, or"
            " give access=token(...), token_file(...) or basic(...) of pyvars.access; or access=networks(...)"
        )
    if not isinstance(port, int) or not 0 <= port <= 65535:
        raise ConfigurationError(f"a port is a number from 0 to 65535, got {port!r}")
    register_loop()  # when it is called on the program's loop
    app = _application(site)
    if not claim(host, port):
        return Server(None, host, port=port, app=app)
    try:
        listener = _bound(host, port)
    except OSError as error:
        release(host, port)
        error.add_note("another program may hold it; 0 takes a free one")
        raise
    try:
        return Server(listener, host, port=listener.getsockname()[1], app=app)
    except BaseException:
        listener.close()
        release(host, port)
        raise


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=128)


class _Uvicorn(uvicorn.Server):
    """uvicorn, without what wakes it ten times a second to see whether it should exit.

    Beside a program that holds the GIL all the time that took 2.4 ms of CPU each second, more than a page does.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._wakes: list[Callable[[], object]] = []  # none before its loop runs

    async def main_loop(self) -> None:
        """Wait for `stop()`."""
        stopped = asyncio.Event()
        self._wakes.append(partial(asyncio.get_running_loop().call_soon_threadsafe, stopped.set))
        while not self.should_exit:  # stop() does the two in the other order, so one of them sees the other
            await stopped.wait()

    def stop(self) -> None:
        """Have it finish; from any thread."""
        self.should_exit = True
        for wake in self._wakes:
            with suppress(RuntimeError):  # its loop was closed a moment ago
                wake()


class _Config(uvicorn.Config):
    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            app,
            # The same wherever it runs: httptools, which uvicorn takes if it is there, hands on an absolute URI as if
            # it were its path, and refuses methods by itself.
            http="h11",
            loop="asyncio",
            log_config=None,
            access_log=False,
            interface="asgi3",
            lifespan="off",
            ws="none",
            workers=1,
            proxy_headers=False,
            server_header=False,
            date_header=False,  # uvicorn's would be of the time when the server started, since nothing ticks
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
        REQUESTS.add()
        response = await respond(site, scope)
        date = "Date", formatdate(usegmt=True)
        await reply(response._replace(headers=(*response.headers, date)), send)

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
