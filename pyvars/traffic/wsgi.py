"""One HTTP request, followed through a WSGI application until it is recorded."""

from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any

from pyvars.traffic.in_flight import ARRIVALS
from pyvars.traffic.once import detach
from pyvars.traffic.recorder import KEY, UNMATCHED, Connections, FollowedRequest, RequestRecorder, WebSockets
from pyvars.traffic.routes import of_environ

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

__all__ = ("WSGIRequest", "is_websocket")


def is_websocket(environ: "WSGIEnvironment") -> bool:
    """Whether the client asks for a WebSocket."""
    return "HTTP_UPGRADE" in environ and environ["HTTP_UPGRADE"].strip().lower() == "websocket"


class WSGIRequest(FollowedRequest):
    """Follows one request through an application: replaces `start_response`, and wraps the body.

    The request is recorded when the body is exhausted, or is closed or dropped before that. No part of a body is
    delayed or changed. The client is known to have disconnected if the server closes or drops the body early, or if
    `start_response` or `write` raises OSError.

    A request with `Upgrade: websocket` counts as an open WebSocket: the application takes the socket out of the environ
    and sends its messages there, past the server. If at its end the response has a body, or a status that no WebSocket
    ends with, it is counted as a request after all.
    """

    __slots__ = ("_disconnected", "_environ", "_headers", "_method", "_root", "_route", "_start", "_write")

    _write: Callable[[bytes], object]
    started: float
    first: float
    held: Connections | WebSockets | None
    status: int
    size: int

    def __init__(
        self,
        recorder: RequestRecorder,
        environ: "WSGIEnvironment",
        start_response: "StartResponse",
        left_out: frozenset[str],
        outer: FollowedRequest | None,
    ) -> None:
        self.recorder = recorder
        self.left_out = left_out
        self.outer = outer
        self._environ = environ
        self._start = start_response
        self._method: str = environ["REQUEST_METHOD"]
        self._root: str = environ.get("SCRIPT_NAME", "")  # read now: an application may change both
        self._route = UNMATCHED
        self._headers: Any = ()
        self.recorded = self._disconnected = False
        self.held = None
        self.status = self.size = 0
        self.first = 0.0
        recorder.begin()
        self.started = perf_counter()
        if outer is None:
            ARRIVALS[self.started] = None
        if is_websocket(environ):
            recorder.hold_as_websocket(self)
        environ[KEY] = self

    def start(self, *arguments: Any, **named: Any) -> Callable[[bytes], object]:
        """The `start_response` for the application. It also reads the route, which Flask removes when it returns.

        First it passes its arguments on: the server raises if they are wrong, or if the headers are sent already. A
        status that is not a number is recorded as 600.
        """
        try:
            self._write = self._start(*arguments, **named)
        except OSError:
            # With exc_info the server may raise that error of the application, which says nothing of the client.
            if (arguments[2] if len(arguments) > 2 else named.get("exc_info")) is None:
                self._disconnected = True
            raise
        code = str(arguments[0] if arguments else named.get("status"))[:3]
        self.status = int(code) if code.isdecimal() else 600
        self._headers = arguments[1] if len(arguments) > 1 else named.get("headers", named.get("response_headers"))
        self._route = of_environ(self._environ, self._root)
        return self.write

    def write(self, data: bytes) -> None:
        """The `write` function that `start_response` returns."""
        before = self.size
        self.begin_body(data)
        try:
            self._write(data)
        except Exception as error:
            if isinstance(error, OSError) or type(error).__name__ == "ClientDisconnected":  # of waitress: no OSError
                self._disconnected = True
                if not before:  # then the headers were not sent either: they are sent with the first part
                    self.status = 0
            self.size = before
            raise

    def with_body(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """Returns the body for the server."""
        if type(body) in (list, tuple) and self.status:
            # The body is complete, so it is counted now, and stays a list: servers need its length for Content-Length.
            self.size += sum(map(len, body))
            self.finish()
            return body
        if self._is_file(body):
            self.size = self._announced() or self.size
            self.finish()
            return body
        self._hold_if_events()
        return _Body(self, body)

    def _hold_if_events(self) -> None:
        """Hold the request as a stream if its response is an event stream."""
        if self.held is None and not self.recorded and self._is_event_stream():
            if self._route in self.left_out:
                self.discard()
            else:
                self.recorder.hold_as_stream(self)

    def begin_body(self, part: bytes) -> None:
        """Count a part of the body that the server gets. It sends the headers with the first part that is not empty."""
        if part:
            if not self.first:
                self._hold_if_events()
            self.size += len(part)
            self.recorder.begin_part(self)

    def _is_file(self, body: object) -> bool:
        """Whether the server sends the body without iterating over it (wsgi.file_wrapper of PEP 3333).

        The wrapper of uWSGI returns the file itself.
        """
        wrapper: Any = self._environ.get("wsgi.file_wrapper")
        if wrapper is None:
            return False
        return hasattr(body, "fileno") or hasattr(body, "filelike") or type(body) is wrapper

    def _announced(self) -> int:
        length = self._header("content-length")
        return int(length) if length.isdecimal() else 0

    def _is_event_stream(self) -> bool:
        return self._header("content-type").strip().lower().startswith("text/event-stream")

    def _header(self, wanted: str) -> str:
        try:
            return next((str(value) for name, value in self._headers if name.lower() == wanted), "")
        except Exception:  # malformed headers, which the server reports
            return ""

    def finish(self) -> None:
        """Record the request, whose body is at its end.

        If the application did not call `start_response`, the request has failed, and the server responds with 500; but
        not if the client has disconnected.
        """
        failed = not self.status and not self._disconnected and self.held is not self.recorder.websockets
        if failed:
            self.status = 500
        self._record(failed)

    def abandon(self) -> None:
        """Record the request, whose body the server closes or drops early.

        The reason is usually that the client has disconnected. But if there was a part of the body before
        `start_response`, the server closes the body because of that error.
        """
        if self.size:
            self.finish()
        else:
            self._record(False)

    def fail(self, error: BaseException) -> None:
        """Record that the application raised `error`. The server then responds with 500, unless the response has begun.

        The request has failed unless the client has disconnected, or the error is GeneratorExit, after which nobody
        waits for a response. Other errors that are no Exception (SystemExit, GreenletExit, the timeouts of gevent and
        eventlet) end requests whose clients are connected.
        """
        failed = not self._disconnected and not isinstance(error, GeneratorExit)
        started = self.size and self.status
        if not started and self.held is not self.recorder.websockets:  # flask-sock ends a WebSocket by an exception
            self.status = 500 if failed else 0
        self._record(failed)

    def _record(self, failed: bool) -> None:
        if not self.recorded:
            if self.held is not self.recorder.websockets:
                self.recorder.record(self, self._method, self._route, failed)
            elif self.size or self.status not in _ENDS_OF_A_WEBSOCKET:
                self.recorder.release(self)
                self.recorder.record(self, self._method, self._route, failed)
            elif self._route in self.left_out:
                self.discard()
            else:
                self.recorder.close(self)
        detach(self._environ, self)


_ENDS_OF_A_WEBSOCKET = (0, 101, 200)
"""The statuses that an application may pass to the server after a WebSocket, without a body; 0 stands for none."""


class _Body:
    """A body that the server gets in parts.

    The WSGIRequest has no reference to it, so that it is collected at once if a server drops it without `close`.
    """

    __slots__ = ("_body", "_next", "_request")

    _next: Callable[[], bytes] | None

    def __init__(self, request: WSGIRequest, body: Iterable[bytes]) -> None:
        self._request = request
        self._body = body
        self._next = None

    def __iter__(self) -> Iterator[bytes]:
        return self  # a second iter() continues the body, and does not start again

    def __next__(self) -> bytes:
        try:
            if self._next is None:
                self._next = iter(self._body).__next__
            part = self._next()
        except StopIteration:
            self._request.finish()
            raise
        except BaseException as error:
            self._request.fail(error)
            raise
        self._request.begin_body(part)
        return part

    def close(self) -> None:
        """Record the request and close the body: the server needs no more of it."""
        self._request.abandon()
        close = getattr(self._body, "close", None)
        if close is not None:
            close()

    def __del__(self) -> None:
        if not self._request.recorded:
            self._request.abandon()
