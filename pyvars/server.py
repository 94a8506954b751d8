"""The side port: an HTTP server for the variables on its own address, in a thread of the program's process."""

import atexit
import os
import socket
from contextlib import suppress
from threading import Event, RLock, Thread
from types import TracebackType
from typing import TYPE_CHECKING

from anyio import CapacityLimiter, move_on_after, to_thread
from starlette.routing import Router

from pyvars.access import Access, is_loopback
from pyvars.access.request import deadline
from pyvars.asgi import ASGIApp, contained, reply, respond
from pyvars.core import resources
from pyvars.core.clock import monotonic
from pyvars.core.log import warn
from pyvars.core.registry import Registry
from pyvars.errors import ConfigurationError
from pyvars.runtime.event_loop import register_loop
from pyvars.sideport.handover import ask_parent, offered
from pyvars.sideport.http import STOP_SECONDS, HTTPServer
from pyvars.sideport.loop import FilesLost
from pyvars.site.compression import MAX_INLINE_BYTES, accepts_gzip, compressed, is_compressible
from pyvars.site.default import side_port
from pyvars.site.gate import Site
from pyvars.site.http import Response, dated
from pyvars.traffic.asgi import Receive, Scope, Send
from pyvars.workers import REQUESTS
from pyvars.workers.membership.address import check_address, claim, release

if TYPE_CHECKING:
    from typing import Self

__all__ = ("Server", "serve")

STAND_BY_SECONDS = 0.2
"""The time between two attempts of a side port that stands by to take the address."""

RESTORE_SECONDS = 1.0
"""The seconds between the moment when a side port finds its files closed and its next attempt to bind the address.

In this time a program that has closed all files can open its own, and get the file descriptors that it expects.
"""


class Server:
    """A side port that serves or stands by. `close()`, leaving a `with` block, or the end of the process closes it.

    Among the workers of a group, the first one that claims an address serves it. The others stand by, and one of them
    takes over within a second after that worker ends. A forked child does not inherit the side port of its parent, and
    does not close it at its exit.
    """

    def __init__(self, listener: socket.socket | None, host: str, *, port: int, app: ASGIApp) -> None:
        self._claimed = listener is not None
        self._requested_host = host
        self.host: str = host if listener is None else listener.getsockname()[0]
        """The address that it listens on; while it stands by, the requested host."""
        self.port: int = port
        """The port that it listens on; if the requested port was 0, the one that the system chose."""
        self._http = HTTPServer(app, self._report, self._make_way)
        self._lock = RLock()  # for the start of the thread that stands by; reentrant: a signal handler may fork
        self._standby_thread: Thread | None = None
        self._forks = False
        self._paused = Event()
        self._closed = Event()
        self._pid = os.getpid()
        self._resource = resources.hold(
            __name__,
            "side port: listener, threads pyvars-server and pyvars-standby",
            before=self._pause,
            in_parent=self._resume,
            in_child=self._forget,
        )
        atexit.register(self.close)
        try:
            if listener is not None:
                self._serve(listener)
            else:
                self._resume_standby()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """The URL of its index, such as `http://127.0.0.1:6060`; the page is at `/debug/vars` below it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def serving(self) -> bool:
        """Whether this process serves the address; False while the side port stands by, and once it is closed.

        It is also False once the thread of the side port has ended; the log has the reason. If the program has closed
        the files of the side port, the side port binds the address again a second later, and serves it.
        """
        return self._http.runs

    def close(self) -> None:
        """Stop listening, finish open requests (within one second), and end the thread. Later calls do nothing."""
        atexit.unregister(self.close)
        resources.release(self._resource)
        self._closed.set()
        if self._pid != os.getpid():
            return
        self._pause_standby()
        self._http.stop()
        self._release()

    def _serve(self, listener: socket.socket) -> None:
        # Accepted sockets inherit TCP_NODELAY. asyncio sets it, but not on sockets whose protocol is 0, such as those
        # of create_server. Without it the body of a response waits until the client acknowledges its head: 44 ms for
        # each request over a connection that is kept alive.
        self._claimed = True
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._http.start(listener, offered(self._requested_host, self.port))

    def _release(self) -> None:
        if self._claimed:
            self._claimed = False
            release(self._requested_host, self.port)

    def _report(self, error: BaseException) -> None:
        """Log why the server has failed while no caller waits for it. Another worker may then take over the address."""
        self._release()
        if isinstance(error, FilesLost):
            try:
                self._resume_standby(RESTORE_SECONDS)
                return warn("the side port at %s stops, and binds its address again: %s", self.url, error)
            except Exception as reason:  # no more threads, no memory for one, or the interpreter shuts down
                error = reason
        self._closed.set()
        warn("the side port at %s has ended: %s", self.url, error, exc_info=error)

    def _make_way(self, pid: int) -> None:
        """Hand the address over to the child process with this pid. The thread that serves calls this."""
        self._closed.set()
        self._http.make_way()
        self._release()
        warn("the side port at %s is handed over to process %d, which runs this program again", self.url, pid)

    def _stand_by(self, pause: Event, delay: float) -> None:
        while not pause.wait(delay):
            delay = STAND_BY_SECONDS
            try:
                claimed = claim(self._requested_host, self.port)
            except OSError:  # another Server of this process has the address
                claimed = False
            if not claimed:
                continue
            try:
                listener = _bound(self._requested_host, self.port)
            except OSError:  # another program was quicker, or a child of the previous worker still has it
                release(self._requested_host, self.port)
                continue
            try:
                self._serve(listener)
            except Exception as error:
                self._report(error)
            with self._lock:
                if self._claimed or self._closed.is_set():
                    self._standby_thread = None
                    return
            delay = RESTORE_SECONDS  # the program has closed the files already

    def _resume_standby(self, delay: float = STAND_BY_SECONDS) -> None:
        """Start the thread that stands by, unless there is one: at first, after a fork, or after files were closed."""
        with self._lock:
            idle = not (self._claimed or self._closed.is_set() or self._forks or self._standby_thread is not None)
            if idle and self._pid == os.getpid():
                self._paused = Event()
                thread = Thread(target=self._stand_by, args=(self._paused, delay), name="pyvars-standby", daemon=True)
                thread.start()
                self._standby_thread = thread

    def _pause_standby(self) -> None:
        """Stop the thread that stands by, if there is one: before a fork, and to close."""
        with self._lock:
            thread, self._standby_thread = self._standby_thread, None
            self._paused.set()
        if thread is not None:
            thread.join(STOP_SECONDS)

    def _pause(self) -> None:
        """Before a fork: end its threads."""
        self._forks = True
        self._pause_standby()
        self._http.pause()

    def _resume(self) -> None:
        """After a fork: start them again."""
        self._forks = False
        self._http.resume()
        self._resume_standby()

    def _forget(self) -> None:
        """In a forked child: close the sockets that the parent still uses, and leave its event loop alone."""
        resources.release(self._resource)
        self._lock = RLock()
        self._closed = Event()
        self._closed.set()
        self._standby_thread = None
        self._claimed = False
        self._http.forget()

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Server {self.url}{'' if self.serving else ', which does not serve'}>"


def serve(
    port: int = 6060,
    host: str = "127.0.0.1",
    *,
    registry: Registry | None = None,
    access: Access | None = None,
    history: bool = True,
) -> Server:
    """Serve the variables at `http://host:port/debug/vars`, from a daemon thread with an event loop of its own.

    The variables are those of the default registry, or only those of `registry`. The side port also has a page with
    charts at `/debug/`, and `/debug/history`, `/debug/workers`, `/metrics`, `/api/stats`, `/status/health` and
    `/status/hardware/`; the index at `/` lists all paths. `access` decides which requests may see the variables. The
    default, `pyvars.access.default()`, allows requests of programs on this machine, and, if the environment has
    PYVARS_TOKEN, requests that send that token. With `history=False` pyvars keeps no history of the variables. With
    port 0 the side port takes a free port; `url` contains it. When `serve` returns, the side port accepts connections.
    But if another worker already serves the address, the side port stands by, and takes over within a second after that
    worker ends. It does not touch the signal handlers, logging and event loop of the program.

    Raises:
        TypeError: `port` is not an int, `host` is not a str, `registry` is not a Registry, or `history` is not a bool.
        OSError: the address cannot be bound, usually because another program has the port.
        ConfigurationError: `host` is not a loopback address, but `access` allows only programs on this machine; or
            `port` is not from 0 to 65535; or `host` is not printable ASCII; or `access` is not a rule; or PYVARS_TOKEN
            is not a valid token.
    """
    check_address(port, host)
    site = side_port(registry, access, history=history)
    if site.only_local and not is_loopback(host):
        raise ConfigurationError(
            f"other machines can reach {host!r}, but no access rule allows their requests. Use the host 127.0.0.1, set"
            " PYVARS_TOKEN, or pass access=token(...), token_file(...), basic(...) or networks(...) of pyvars.access"
        )
    register_loop()  # the event loop that calls this, if there is one
    app = _application(site)
    if not claim(host, port):
        server = Server(None, host, port=port, app=app)
        site.begin()
        return server
    try:
        listener = _bound_after_parent(host, port)
    except OSError as error:
        release(host, port)
        error.add_note("another program may have the port; port 0 takes a free one")
        raise
    server = Server(listener, host, port=listener.getsockname()[1], app=app)
    site.begin()
    return server


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=128)


def _bound_after_parent(host: str, port: int) -> socket.socket:
    try:
        return _bound(host, port)
    except OSError:
        if not ask_parent(host, port):
            raise
    return _bound(host, port)


def _application(site: Site) -> ASGIApp:
    # A Router without routes passes every request to its default, so Starlette answers and redirects none of them.
    return contained(Router(default=_endpoint(site), redirect_slashes=False))


def _endpoint(site: Site) -> ASGIApp:
    turn = CapacityLimiter(1)

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        REQUESTS.add()
        if accepts_gzip(scope["headers"]):
            until = deadline()
            # HEAD must have the headers of GET, so it is compressed like GET; uvicorn drops the body.
            method = "GET" if scope["method"] == "HEAD" else scope["method"]
            response = await _in_turn(await respond(site, {**scope, "method": method}), until, turn)
        else:
            response = await respond(site, scope)
        await reply(dated(response), send)

    return endpoint


async def _in_turn(response: Response, until: float, turn: CapacityLimiter) -> Response:
    """Returns the response. It is compressed if its size is within the limits and its turn comes before the deadline.

    Large responses are compressed in a thread, one at a time, to leave the program enough CPU.
    """
    if not is_compressible(response):
        return response
    if len(response.body) <= MAX_INLINE_BYTES:
        return compressed(response)
    # The limit is for the wait, not for the compression. If a thread or memory is lacking, send the response as it is.
    with suppress(Exception), move_on_after(max(0.02, until - monotonic())):
        response = await to_thread.run_sync(compressed, response, limiter=turn)
    return response
