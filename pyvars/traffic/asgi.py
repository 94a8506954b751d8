"""One HTTP request, followed through an ASGI application until it is recorded."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from time import perf_counter
from typing import Any, TypeAlias, TypeVar

from pyvars.traffic.in_flight import ARRIVALS
from pyvars.traffic.recorder import KEY, FollowedRequest, RequestRecorder
from pyvars.traffic.routes import of_scope, whole_paths

__all__ = ("ASGIApp", "ASGIRequest", "Message", "Receive", "Scope", "Send", "follow")

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class ASGIRequest(FollowedRequest):
    """Follows one request through an application, which is called with the `receive` and `send` of this object.

    The request is recorded when the application sends the last message of the body, before that message is passed on:
    so once a client has the whole response, the page counts the request. What the application does afterwards, such as
    Starlette's background tasks, is not part of the request. If the application ends without a last message, `finish`
    records the request. No message is delayed, changed or copied. `follow` makes an ASGIRequest.

    An event stream counts as an open stream from its first message on; any other response, from the first part of its
    body that is sent over 10 s (LONG_SECONDS) after the request arrived.
    """

    __slots__ = ("_disconnected", "_receive", "_scope", "_send")

    _scope: Scope
    _receive: Receive
    _send: Send
    _disconnected: bool
    status: int
    size: int

    def send(self, message: Message) -> Awaitable[None]:
        """The `send` for the application. For the last part of a body it returns the coroutine of the server as it is.

        Most responses have one part, and a coroutine of its own would cost each of them time.
        """
        kind = message["type"]
        if kind == "http.response.body":
            body = message.get("body")
            if body:
                self.size += len(body)
            if message.get("more_body"):
                return self._send_part(message)
            if not self.recorded:
                scope = self._scope
                try:  # finds most templates without a call, whose code would usually not be in the caches of the CPU
                    route = scope["route"].path_format
                    if route not in whole_paths or "app_root_path" in scope or "fastapi" in scope:
                        route = of_scope(scope)
                except Exception:
                    route = of_scope(scope)
                self.recorder.record(self, scope.get("method", ""), route, False)
        elif kind == "http.response.start":
            if not self._disconnected:
                status = message["status"]
                self.status = status if type(status) is int else int(status)
                try:  # most responses have Content-Length as their first header: these need no search
                    headers = message["headers"]
                    if headers[0][0] != b"content-length" and _is_event_stream(headers):
                        self._hold_as_stream()
                except Exception:  # no headers, an iterator, or malformed headers, which the server reports
                    pass
                return self._send_start(message)
        elif kind == "http.response.pathsend" or (
            kind == "http.response.zerocopysend" and not message.get("more_body")
        ):
            self._record(False)  # the server reads a file, whose size is not known here
        send = self._send  # CPython 3.11 specializes reading a slot and calling a local, but not calling from a slot
        return send(message)

    async def _send_start(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError:  # the client has disconnected (see below), and has received nothing of the response
            self._disconnected = True
            self.status = 0
            raise

    async def _send_part(self, message: Message) -> None:
        self.recorder.begin_part(self)
        try:
            await self._send(message)
        except OSError:  # since ASGI 2.4 (spec_version) a server raises it to say that the client has disconnected
            self._disconnected = True
            raise

    async def receive(self) -> Message:
        """The `receive` for the application."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._disconnected = True
        return message

    def finish(self, error: BaseException | None) -> None:
        """Record the request if it is not recorded yet: the application has returned, or has raised `error`.

        The request has failed unless the client has disconnected, which the server says by a message, or by an OSError
        of `send`. GeneratorExit counts as that, too: the server has closed the coroutine, and waits for no response.
        CancelledError does not: a task may be cancelled for other reasons, such as a timeout.
        """
        failed = not self._disconnected and not isinstance(error, GeneratorExit)
        if failed and not self.status:
            self.status = 500  # the server sends a response of its own
        self._record(failed)

    def _hold_as_stream(self) -> None:
        if self.left_out and of_scope(self._scope) in self.left_out:
            self.discard()
        elif self.held is None and not self.recorded:
            self.recorder.hold_as_stream(self)

    def _record(self, failed: bool) -> None:
        if not self.recorded:
            self.recorder.record(self, self._scope.get("method", ""), of_scope(self._scope), failed)


def _is_event_stream(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    for name, value in headers:
        if name.lower() == b"content-type":
            return value.strip().lower().startswith(b"text/event-stream")
    return False


Followed = TypeVar("Followed", bound=ASGIRequest)


def follow(
    kind: type[Followed],
    recorder: RequestRecorder,
    scope: Scope,
    receive: Receive,
    send: Send,
    left_out: frozenset[str],
    outer: FollowedRequest | None,
) -> Followed:
    """Begin to follow a request, and put the new object into the scope. Returns it.

    The request is not counted if the template of its route is in `left_out`. `outer` is the object that follows the
    same request for another registry, or None.

    This is a function, because CPython 3.11 calls `__init__` of a class through C code, which is slower.
    """
    request = kind()
    request.recorder = recorder
    request._scope = scope
    request._receive = receive
    request._send = send
    request.left_out = left_out
    request.outer = outer
    request.held = None
    request.status = request.size = 0
    request.first = 0.0
    request.recorded = request._disconnected = False
    begin = recorder.begin
    begin()
    request.started = started = perf_counter()
    if outer is None:
        ARRIVALS[started] = None
    scope[KEY] = request
    return request
