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
"""How long it may take to end: uvicorn gives open requests one second, and the loop may find its files closed."""


class HTTPServer:
    """Serves an application on a listener, once it has started."""

    def __init__(self, app: ASGIApp, on_failure: Callable[[BaseException], None], give: Callable[[int], None]) -> None:
        """Both functions are called in the thread.

        `on_failure` is called if the thread ends with an exception after the server has started. `give` is called with
        the pid of a child that is to get the address, and must call `make_way`.
        """
        self._config = _Config(app)
        # Import now what uvicorn imports when it runs: here an error reaches the caller. And a program that Ctrl-C ends
        # during a late import would not end by the signal (CPython forgets an interrupt at the next eval of a text).
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
        """Start the thread, and wait until it accepts. The sockets are closed when it ends.

        At `offer` a child asks for the address. Raises what kept it from starting.
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
        """End the thread. It is left alone if it does not end in time, or if this runs in it."""
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
        """After a fork: go on in a new thread."""
        if self._thread is not None:
            self._thread.resume()

    def make_way(self) -> None:
        """In the thread: close the listener at once, and end when the open requests are finished."""
        assert self._uvicorn is not None
        self._uvicorn.make_way()

    def forget(self) -> None:
        """In a forked child, close the copies of its files, and leave its event loop alone."""
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
    """uvicorn without its timer, which wakes ten times a second to see whether the server should exit.

    Beside a program that holds the GIL all the time, the timer took 2.4 ms of CPU each second, more than a page does.
    """

    def __init__(
        self, config: uvicorn.Config, offer: socket.socket | None, answer: Callable[[], asyncio.Protocol]
    ) -> None:
        super().__init__(config)
        self._offer = offer
        self._answer = answer
        self._wakes: list[Callable[[], object]] = []  # empty before its event loop runs
        self.settled = Event()
        """Set once it accepts, or has ended without that."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen also where a child asks for the address."""
        await super().startup(sockets)
        if self._offer is not None:
            self.servers.append(await asyncio.get_running_loop().create_server(self._answer, sock=self._offer))

    async def main_loop(self) -> None:
        """Wait until `stop()` is called."""
        stopped = asyncio.Event()
        self._wakes.append(partial(asyncio.get_running_loop().call_soon_threadsafe, stopped.set))
        self.settled.set()
        while not self.should_exit:  # stop() sets the flag before it wakes: so one of the two sees the other
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
    """Keeps the head of a response back until its body: uvicorn sends each by itself.

    While a send lets the client run, threads of the program that burn CPU take the GIL: the body would wait for them.
    """

    def __init__(self) -> None:
        super().__init__(h11.SERVER)
        self._head: list[bytes] = []

    def send_with_data_passthrough(self, event: h11.Event) -> list[bytes]:
        """What `send` joins: the bytes to send for the event, after those that were kept back."""
        data = [*self._head, *(super().send_with_data_passthrough(event) or ())]
        self._head = data if isinstance(event, h11.Response) else []
        return [] if self._head else data


class _Protocol(H11Protocol):
    """uvicorn's h11, which sends a response in one piece; one to what is no HTTP request has the headers of all."""

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
