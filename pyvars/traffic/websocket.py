"""One WebSocket, followed through an ASGI application until it is closed."""

from collections.abc import Awaitable
from time import perf_counter

from pyvars.traffic.asgi import ASGIRequest, Message
from pyvars.traffic.routes import of_scope

__all__ = ("ASGIWebSocket",)

_FORBIDDEN = 403
"""The status with which servers answer a handshake if the application closes the WebSocket without accepting it."""
_SWITCHING_PROTOCOLS = 101


class ASGIWebSocket(ASGIRequest):
    """Follows one WebSocket through an application, which is called with the `receive` and `send` of this object.

    Until the application accepts the WebSocket, it counts as a request in flight; if the application never does, it is
    recorded as a request. After that it counts as an open WebSocket until one side closes it, or the application ends.
    """

    __slots__ = ()

    started: float
    status: int
    size: int

    def send(self, message: Message) -> Awaitable[None]:
        """The `send` for the application. It returns the coroutine of the server as it is, which costs less time."""
        kind = message["type"]
        if kind == "websocket.send":
            if not self.recorded:
                self.recorder.websockets.messages_out.add()
        elif kind == "websocket.accept":
            if not self.recorded and self.held is None:
                self._accept()
        elif kind == "websocket.close":
            self.status = self.status or _FORBIDDEN
            self._record(False)
        elif kind == "websocket.http.response.start":
            self.status = int(message["status"])
        elif kind == "websocket.http.response.body":
            self.size += len(message.get("body") or b"")
            if not message.get("more_body"):
                self._record(False)
        return self._send(message)

    async def receive(self) -> Message:
        """The `receive` for the application."""
        message = await self._receive()
        kind = message["type"]
        if kind == "websocket.receive":
            if not self.recorded:
                self.recorder.websockets.messages_in.add()
        elif kind == "websocket.disconnect":
            self._disconnected = True
            if self.held is not None:
                self._record(False)
        return message

    def _accept(self) -> None:
        if self.left_out and of_scope(self._scope) in self.left_out:
            self.discard()
            return
        self.recorder.hold_as_websocket(self)
        self.started = perf_counter()
        self.status = _SWITCHING_PROTOCOLS

    def _record(self, failed: bool) -> None:
        if self.recorded:
            return
        if self.held is None:
            self.recorder.record(self, "GET", of_scope(self._scope), failed)
        else:
            self.recorder.close(self)
