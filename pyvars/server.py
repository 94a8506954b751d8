"""The side port: an HTTP server for the variables on its own address, in a thread beside the program."""

import asyncio
import atexit
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Event, Thread
from types import TracebackType
from typing import TYPE_CHECKING

import h11
import uvicorn
from anyio import CapacityLimiter, move_on_after, to_thread
from starlette.routing import Router
from uvicorn.protocols.http.h11_impl import H11Protocol

from pyvars.access import Access, is_loopback
from pyvars.access.request import deadline
from pyvars.asgi import ASGIApp, contained, reply, respond
from pyvars.core import resources
from pyvars.core.clock import monotonic
from pyvars.core.registry import Registry
from pyvars.errors import ConfigurationError
from pyvars.runtime.event_loop import register_loop
from pyvars.site.compression import MAX_INLINE_BYTES, accepts_gzip, compressed, is_compressible
from pyvars.site.default import side_port
from pyvars.site.gate import Site
from pyvars.site.http import Response, dated, text
from pyvars.traffic.asgi import Receive, Scope, Send
from pyvars.workers import REQUESTS
from pyvars.workers.membership.address import check_address, claim, release

if TYPE_CHECKING:
    from typing import Self

__all__ = ("Server", "serve")

STAND_BY_SECONDS = 0.2
"""How often a side port that stands by tries to take the address."""


class Server:
    """A side port, running or standing by. Close it with `close()` or as a context manager, or leave it to the exit.

    Of the workers of a group the first one that claims an address serves it. The others stand by, and one of them takes
    over within a second after it ends. A forked child inherits no side port, and its exit leaves that of its parent
    alone.
    """

    def __init__(self, listener: socket.socket | None, host: str, *, port: int, app: ASGIApp) -> None:
        self._listener = listener
        self._requested_host = host
        self.host: str = host if listener is None else listener.getsockname()[0]
        """The address that it listens on; while it stands by, the requested host."""
        self.port: int = port
        """The port that it listens on; if the requested port was 0, the one that the system chose."""
        self._config = _Config(app)
        # Import now what uvicorn imports when it runs: here an error reaches the caller. And a program that Ctrl-C ends
        # during a late import would not end by the signal (CPython forgets an interrupt at the next eval of a text).
        self._config.load()
        self._config.get_loop_factory()
        self._uvicorn: _Uvicorn | None = None
        self._thread: Thread | None = None
        self._standby_thread: Thread | None = None
        self._paused = Event()
        self._closed = Event()
        self._pid = os.getpid()
        if listener is not None:
            self._serve(listener)
        else:
            self._resume_standby()
        self._resource = resources.hold(
            __name__,
            "side port: listener, threads pyvars-server and pyvars-standby",
            before=self._pause_standby,
            in_parent=self._resume_standby,
            in_child=self._forget,
        )
        atexit.register(self.close)

    @property
    def url(self) -> str:
        """The URL of its index, such as `http://127.0.0.1:6060`; the page is at `/debug/vars` below it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def serving(self) -> bool:
        """Whether this process serves the address; False while the side port stands by, and once it is closed."""
        return self._uvicorn is not None

    def close(self) -> None:
        """Stop listening, finish open requests (one second at most), and end the thread. May be called again."""
        atexit.unregister(self.close)
        resources.release(self._resource)
        self._closed.set()
        if self._pid != os.getpid():
            return
        self._pause_standby()
        running, self._uvicorn = self._uvicorn, None
        if running is not None:
            running.stop()
        if self._thread is not None:
            self._thread.join()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            release(self._requested_host, self.port)

    def _serve(self, listener: socket.socket) -> None:
        # Accepted sockets inherit TCP_NODELAY. asyncio sets it, but not on sockets whose protocol is 0, such as those
        # of create_server. Without it the body of a response waits for the acknowledgement of its head: 44 ms a request
        # over a connection kept alive.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._listener = listener
        self._uvicorn = _Uvicorn(self._config)
        self._thread = Thread(
            target=self._uvicorn.run, kwargs={"sockets": [listener]}, name="pyvars-server", daemon=True
        )
        self._thread.start()

    def _stand_by(self, pause: Event) -> None:
        while not pause.wait(STAND_BY_SECONDS):
            with suppress(OSError):  # another Server of this process has the address
                if claim(self._requested_host, self.port):
                    try:
                        listener = _bound(self._requested_host, self.port)
                    except OSError:  # another program was quicker, or a child of the previous worker still has it
                        release(self._requested_host, self.port)
                        continue
                    self._serve(listener)
                    return

    def _resume_standby(self) -> None:
        """Start the thread that stands by, at first or again after a fork."""
        if self._listener is None and not self._closed.is_set() and self._pid == os.getpid():
            self._paused = Event()
            self._standby_thread = Thread(
                target=self._stand_by, args=(self._paused,), name="pyvars-standby", daemon=True
            )
            self._standby_thread.start()

    def _pause_standby(self) -> None:
        """Stop the thread that stands by, if there is one: before a fork, and to close."""
        if self._standby_thread is not None:
            self._paused.set()
            self._standby_thread.join()
            self._standby_thread = None

    def _forget(self) -> None:
        """In a forked child: close the sockets that the parent still uses, and leave its event loop alone."""
        resources.release(self._resource)
        self._closed = Event()
        self._closed.set()
        self._thread = self._standby_thread = None
        if self._listener is not None:
            os.close(self._listener.detach())
            self._listener = None
        running, self._uvicorn = self._uvicorn, None
        for connection in running.server_state.connections if running is not None else ():
            with suppress(OSError, AttributeError):  # a connection that is being closed has no socket any more
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

    It serves the default registry, or only `registry`; also `/metrics`, `/api/stats`, `/status/health` and
    `/status/hardware/`. The index at `/` lists all views. `access` decides which requests may see the variables;
    the default is `pyvars.access.default()`: requests of programs on this machine, and with PYVARS_TOKEN if that is
    set. The side port is bound when this returns; port 0 takes a free one, which is in `url`. If another worker has the
    address already, the side port stands by, and takes over within a second after that worker ends. The signal
    handlers, logging and event loop of the program are left alone.

    Raises:
        TypeError: `port` is not an int, or `host` is not a str.
        OSError: the address cannot be bound, mostly because another program holds the port.
        ConfigurationError: `host` is no loopback address, and `access` allows only programs on this machine; or `port`
            is not from 0 to 65535; or `host` is not printable ASCII; or `access` is no rule.
    """
    check_address(port, host)
    site = side_port(registry, access)
    if site.only_local and not is_loopback(host):
        raise ConfigurationError(
            f"others can reach {host!r}, and no rule says which of them may see the variables. Bind 127.0.0.1; or set"
            " PYVARS_TOKEN, or give access=token(...), token_file(...) or basic(...) of pyvars.access; or"
            " access=networks(...)"
        )
    register_loop()  # if this runs on an event loop of the program, register it
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
    """uvicorn without its timer, which wakes ten times a second to see whether the server should exit.

    Beside a program that holds the GIL all the time, the timer took 2.4 ms of CPU each second, more than a page does.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._wakes: list[Callable[[], object]] = []  # empty before its event loop runs

    async def main_loop(self) -> None:
        """Wait until `stop()` is called."""
        stopped = asyncio.Event()
        self._wakes.append(partial(asyncio.get_running_loop().call_soon_threadsafe, stopped.set))
        while not self.should_exit:  # stop() sets the flag before it wakes: so one of the two sees the other
            await stopped.wait()

    def stop(self) -> None:
        """Make the server end. May be called from any thread."""
        self.should_exit = True
        for wake in self._wakes:
            with suppress(RuntimeError):  # its event loop was closed a moment ago
                wake()


class _Protocol(H11Protocol):
    """uvicorn's h11, whose response to what is no HTTP request has the headers of every response."""

    def send_400_response(self, msg: str) -> None:
        """Send the response, unless another one is under way, and close the connection."""
        response = dated(text(400, "no valid HTTP request", more_headers=(("Connection", "close"),)))
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            for event in (
                h11.Response(status_code=response.status, headers=[*response.headers], reason=b"Bad Request"),
                h11.Data(data=response.body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


class _Config(uvicorn.Config):
    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            app,
            # The same on every machine: httptools, which uvicorn prefers if it is installed, passes on an absolute URI
            # as if it were the path, and refuses methods by itself.
            http=_Protocol,
            loop="asyncio",
            log_config=None,
            access_log=False,
            interface="asgi3",
            lifespan="off",
            ws="none",
            workers=1,
            proxy_headers=False,
            server_header=False,
            date_header=False,  # without its timer, uvicorn would always send the time when the server started
            timeout_graceful_shutdown=1,
        )

    def configure_logging(self) -> None:
        """Leave the loggers of the program alone: uvicorn would remove the handlers of its own access logger."""


def _application(site: Site) -> ASGIApp:
    # Without routes every request goes to the default, whatever its path: none bypasses the gate or is redirected.
    return contained(Router(default=_endpoint(site), redirect_slashes=False))


def _endpoint(site: Site) -> ASGIApp:
    turn = CapacityLimiter(1)

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        REQUESTS.add()
        if accepts_gzip(scope["headers"]):
            until = deadline()
            # HEAD must have the headers of GET: so it is compressed as GET is, and uvicorn drops the body.
            method = "GET" if scope["method"] == "HEAD" else scope["method"]
            response = await _in_turn(await respond(site, {**scope, "method": method}), until, turn)
        else:
            response = await respond(site, scope)
        await reply(dated(response), send)

    return endpoint


async def _in_turn(response: Response, until: float, turn: CapacityLimiter) -> Response:
    """The response compressed, if its size allows it and a turn comes until the deadline; else as it is.

    A large one is compressed in a thread; one at a time, or the program would be left with too little CPU.
    """
    if not is_compressible(response):
        return response
    if len(response.body) <= MAX_INLINE_BYTES:
        return compressed(response)
    # It bounds the wait for the turn, not the compression. Without memory or a thread for that it goes as it is.
    with suppress(Exception), move_on_after(max(0.02, until - monotonic())):
        response = await to_thread.run_sync(compressed, response, limiter=turn)
    return response
