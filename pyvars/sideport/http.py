"""uvicorn in a thread, on an event loop of its own."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Event
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from pyvars.asgi import ASGIApp
from pyvars.sideport.handover import Offer, program
from pyvars.sideport.loop import Loop
from pyvars.sideport.thread import LoopThread
from pyvars.site.http import dated, text

__all__ = ("STOP_SECONDS", "HTTPServer")

START_SECONDS = 10.0
"""How long the server may take until it accepts connections."""
STOP_SECONDS = 3.0
"""How long the server may take to end: uvicorn waits one second for open requests, and the loop checks its files every
three seconds.
"""


class HTTPServer:
    """Runs uvicorn in a thread, which serves an application on a listener."""

    def __init__(self, app: ASGIApp, on_failure: Callable[[BaseException], None], give: Callable[[int], None]) -> None:
        """`on_failure` and `give` are called in the thread of the server.

        `on_failure` is called if the thread ends with an exception after the server has started. `give` is called with
        the pid of the child process that gets the address, and must call `make_way`.
        """
        self._config = _Config(app)
        # Import now what uvicorn would import when it runs, so that an error reaches the caller. Also, if Ctrl-C ended
        # the program during a later import, its exit status would not be that of the signal, because CPython forgets an
        # interrupt at the next eval of a text.
        self._config.load()
        self._on_failure = on_failure
        self._give = give
        self._uvicorn: _Uvicorn | None = None
        self._loop: Loop | None = None
        self._thread: LoopThread | None = None
        self._error: BaseException | None = None

    @property
    def runs(self) -> bool:
        """Whether the thread runs, and the files that it needs are open."""
        return self._thread is not None and self._thread.runs and self._loop is not None and self._loop.intact

    def start(self, listener: socket.socket, offer: socket.socket | None) -> None:
        """Start the thread, and wait until it accepts connections. Raises the exception if it cannot start.

        At the socket `offer` a child process asks for the address. Both sockets are closed when the thread ends.
        """
        self._error = None
        try:
            self._loop = loop = Loop(listener)
            listener, offer = loop.listener, offer and loop.own(offer)
            self._uvicorn = running = _Uvicorn(self._config, offer, partial(Offer, program(), self._give))
            try:
                main = running.serve(sockets=[listener])
                self._thread = LoopThread(loop, main, partial(self._ended, loop, running))
            except BaseException:
                loop.close()
                raise
            if not running.settled.wait(START_SECONDS):
                raise TimeoutError(f"the side port does not accept connections after {START_SECONDS:g} seconds")
            if self._error is not None:
                raise self._error
        except BaseException:
            self.stop()
            for each in filter(None, (listener, offer)):
                each.close()
            raise

    def stop(self) -> None:
        """End the thread. Does not wait longer than STOP_SECONDS, and not at all if called in that thread."""
        thread, self._thread = self._thread, None
        if self._uvicorn is not None:
            self._uvicorn.stop()
        if thread is not None:
            thread.join(STOP_SECONDS)
        if self._loop is not None:
            self._loop.close_listener()

    def pause(self) -> None:
        """Before a fork: end the thread. Clients wait until `resume`."""
        if self._thread is not None:
            self._thread.pause()

    def resume(self) -> None:
        """After a fork: continue in a new thread."""
        if self._thread is not None:
            self._thread.resume()

    def make_way(self) -> None:
        """In the thread: close the listener at once, and end when the open requests are finished."""
        assert self._uvicorn is not None
        self._uvicorn.make_way()

    def forget(self) -> None:
        """In a forked child: close the copies of the sockets, but do not run or close the event loop of the parent."""
        self._thread = None
        if self._loop is not None:
            self._loop.abandon(self._uvicorn)
            self._loop = None

    def _ended(self, loop: Loop, running: "_Uvicorn", error: BaseException | None) -> None:
        if error is not None:
            loop.abandon(running)
            self._error = error
            if running.settled.is_set() and not running.should_exit:
                self._on_failure(error)
        running.settled.set()


class _Uvicorn(uvicorn.Server):
    """uvicorn without its timer, which wakes ten times a second to check whether the server should exit.

    In a program whose threads always hold the GIL, the timer took 2.4 ms of CPU each second, more than a page does.
    """

    def __init__(
        self, config: uvicorn.Config, offer: socket.socket | None, answer: Callable[[], asyncio.Protocol]
    ) -> None:
        super().__init__(config)
        self._offer = offer
        self._answer = answer
        self._wakes: list[Callable[[], object]] = []  # empty until the event loop runs
        self.settled = Event()
        """Set once the server accepts connections, or has ended before it did."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Also listen on the socket at which a child process asks for the address."""
        await super().startup(sockets)
        if self._offer is not None:
            self.servers.append(await asyncio.get_running_loop().create_server(self._answer, sock=self._offer))

    async def main_loop(self) -> None:
        """Wait until `stop()` is called."""
        stopped = asyncio.Event()
        self._wakes.append(partial(asyncio.get_running_loop().call_soon_threadsafe, stopped.set))
        self.settled.set()
        while not self.should_exit:  # stop() sets this before it wakes the loop, so a stop cannot be missed
            await stopped.wait()

    def make_way(self) -> None:
        """Stop listening, and make the server end."""
        for server in self.servers:
            server.close()
        self.stop()

    def stop(self) -> None:
        """Make the server end. May be called from any thread."""
        self.should_exit = True
        for wake in self._wakes:
            with suppress(RuntimeError):  # its event loop was closed a moment ago
                wake()


class _Connection(h11.Connection):
    """Sends the head of a response together with its body, which uvicorn would send separately.

    After each send, threads of the program that use the CPU may take the GIL, and the body would wait for them.
    """

    def __init__(self) -> None:
        super().__init__(h11.SERVER)
        self._head: list[bytes] = []

    def send_with_data_passthrough(self, event: h11.Event) -> list[bytes]:
        """The bytes to send for the event; the head of a response is kept, and returned with the next event."""
        data = [*self._head, *(super().send_with_data_passthrough(event) or ())]
        self._head = data if isinstance(event, h11.Response) else []
        return [] if self._head else data


class _Protocol(H11Protocol):
    """uvicorn's h11 protocol; it sends responses in one piece, and a response 400 with the headers of all responses."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.conn = _Connection()

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
            # Not httptools, which uvicorn prefers if it is installed: it passes on an absolute URI as if it were the
            # path, and refuses some methods itself.
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
        """Do nothing: uvicorn would remove handlers that the program has added to the logger `uvicorn.access`."""
