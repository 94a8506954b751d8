"""One HTTP request, followed through an ASGI application until it is recorded."""

from collections.abc import Awaitable, Callable, MutableMapping
from time import perf_counter
from typing import Any, TypeAlias

from pyvars.traffic.recorder import FollowedRequest, RequestRecorder
from pyvars.traffic.routes import of_scope, whole_paths

__all__ = ("ASGIApp", "ASGIRequest", "Message", "Receive", "Scope", "Send", "follow_request")

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class ASGIRequest(FollowedRequest):
    """Follows one request through an application, which is called with its `receive` and `send`.

    The request is recorded when the application sends the last message of the body, before that message is passed on:
    a client that has the whole response finds it counted. What the application does afterwards, such as Starlette's
    background tasks, is not part of the request. If the application ends without such a message, `finish` records the
    request. No message is held, changed or copied. `follow_request` makes one.
    """

    __slots__ = ("_disconnected", "_receive", "_recorder", "_scope", "_send")

    _recorder: RequestRecorder
    _scope: Scope
    _receive: Receive
    _send: Send
    _disconnected: bool
    status: int
    size: int

    def send(self, message: Message) -> Awaitable[None]:
        """The `send` for the application. It has no coroutine of its own: it returns that of the server."""
        kind = message["type"]
        if kind == "http.response.body":
            body = message.get("body")
            if body:
                self.size += len(body)
            if message.get("more_body"):
                return self._send_part(message)
            if not self.recorded:
                scope = self._scope
                try:  # most templates are found here, with no call: its code would not be in the caches of the CPU
                    route = scope["route"].path_format
                    if route not in whole_paths or "app_root_path" in scope or "fastapi" in scope:
                        route = of_scope(scope)
                except Exception:
                    route = of_scope(scope)
                self._recorder.record(self, scope.get("method", ""), route, False)
        elif kind == "http.response.start":
            if not self._disconnected:
                status = message["status"]
                self.status = status if type(status) is int else int(status)
        elif kind == "http.response.pathsend" or (
            kind == "http.response.zerocopysend" and not message.get("more_body")
        ):
            self._record(False)  # the server reads a file, whose size is not known here
        send = self._send  # CPython 3.11 specializes reading a slot, but not the call of what is in one
        return send(message)

    async def _send_part(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError:  # since ASGI 2.4 (spec_version) a server tells in this way that the client has disconnected
            self._disconnected = True
            raise

    async def receive(self) -> Message:
        """The `receive` for the application."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._disconnected = True
        return message

    def finish(self, error: BaseException | None) -> None:
        """Record the request if it is not recorded yet: the application has returned, or raised `error`."""
        failed = not self._disconnected and (error is None or isinstance(error, Exception))
        if failed and not self.status:
            self.status = 500  # the server sends it
        self._record(failed)

    def _record(self, failed: bool) -> None:
        if not self.recorded:
            self._recorder.record(self, self._scope.get("method", ""), of_scope(self._scope), failed)


def follow_request(recorder: RequestRecorder, scope: Scope, receive: Receive, send: Send) -> ASGIRequest:
    """Begin to follow a request.

    This is a function, and not the `__init__` of the class, which CPython 3.11 calls by way of C, and so slower.
    """
    request = ASGIRequest()
    request._recorder = recorder
    request._scope = scope
    request._receive = receive
    request._send = send
    request.status = request.size = 0
    request.recorded = request._disconnected = False
    begin = recorder.begin
    begin()
    request.started = perf_counter()
    return request
