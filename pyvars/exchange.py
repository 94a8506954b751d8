"""An exchange: one HTTP request under way through an ASGI application, until it is counted."""

from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

from pyvars.cells import native
from pyvars.routes import of_scope
from pyvars.traffic import LEFT, Tally

__all__ = ("ASGIApp", "Message", "Receive", "Scope", "Send", "counted")

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class Exchange:
    """What stands in for `receive` and `send` of one request. No message is held, changed or copied.

    It ends with the last message of the body, before that is handed on: who has the whole answer finds it counted. What
    the application does after that, such as Starlette's background tasks, is not part of it.
    """

    __slots__ = ("_gone", "_open", "_receive", "_scope", "_send", "_size", "_started", "_status", "_tally")

    def __init__(self, tally: Tally, scope: Scope, receive: Receive, send: Send) -> None:
        self._tally = tally
        self._scope = scope
        self._receive = receive
        self._send = send
        self._open = True
        self._gone = False
        self._status = self._size = 0

    async def run(self, app: ASGIApp) -> None:
        """Run the application."""
        self._tally.begin()
        self._started = perf_counter()
        try:
            await app(self._scope, self._received, self)
        except BaseException as error:
            self._leave(error)
            raise
        if self._open:
            self._leave(None)

    def __call__(self, message: Message) -> Awaitable[None]:
        """`send`. Not a coroutine function, since that of the server is one."""
        kind = message["type"]
        if kind == "http.response.body":
            body = message.get("body")
            if body:
                self._size += len(body)
            if message.get("more_body"):
                return self._watched(message)
            self._end(False)
        elif kind == "http.response.start":
            if not self._gone:
                self._status = int(message["status"])
        else:
            self._extension(message)
        return self._send(message)

    def _extension(self, message: Message) -> None:
        """The server reads a file: how many bytes that is, is not known here."""
        kind = message["type"]
        if kind == "http.response.pathsend" or (kind == "http.response.zerocopysend" and not message.get("more_body")):
            self._end(False)

    async def _watched(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError:  # so a server says since version 2.4 of the specification that the client has left
            self._gone = True
            raise

    async def _received(self) -> Message:
        """`receive`."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._gone = True
        return message

    def _end(self, failed: bool) -> None:
        if self._open:
            self._open = False
            seconds = perf_counter() - self._started
            scope = self._scope
            self._tally.count(str(scope.get("method")), self._status, of_scope(scope), self._size, seconds, failed)

    def _leave(self, error: BaseException | None) -> None:
        """The application has returned, or raised, perhaps without an end to the body."""
        failed = not self._gone and (error is None or isinstance(error, Exception))
        if failed and self._status == LEFT:
            self._status = 500  # which the server sends
        self._end(failed)


def counted(tally: Tally, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
    """Run an application for one request, and count that, when it is awaited."""
    return Exchange(tally, scope, receive, send).run(app)


if not TYPE_CHECKING and native:
    with suppress(ImportError):  # it was built without, or is another interpreter's
        from pyvars import _traffic

        async def _awaited(running: Awaitable[None]) -> None:
            await running

        _traffic.Run._awaited = staticmethod(_awaited)  # of an application that is no coroutine function
        _traffic.Exchange._route = staticmethod(of_scope)
        for _name in ("_extension", "_leave", "_received", "_watched"):  # what else most requests do not call
            setattr(_traffic.Exchange, _name, vars(Exchange)[_name])
        counted = _traffic.counted
