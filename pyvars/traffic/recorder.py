"""The request recorder: counts requests in the variable `http`."""

from collections.abc import Callable
from http import HTTPMethod
from time import perf_counter
from typing import NamedTuple, Optional

from pyvars.core.histogram import Histogram
from pyvars.core.map import MAX_KEY_BYTES, OTHER, Map
from pyvars.core.variables import Int
from pyvars.traffic.in_flight import ARRIVALS

__all__ = (
    "CLIENT_CLOSED_REQUEST",
    "KEY",
    "LONG_SECONDS",
    "MAX_ROUTES",
    "UNMATCHED",
    "Connections",
    "FollowedRequest",
    "HTTPCounters",
    "RequestRecorder",
    "WebSockets",
)

KEY = "pyvars.request"
"""The key of scope or environ under which the FollowedRequest is, until it has ended: see `once`."""
CLIENT_CLOSED_REQUEST = 499
"""The status of a request whose client disconnected before the response began. nginx uses the same number."""
UNMATCHED = "unmatched"
"""The key in `by_route` for requests that no route matched. Their paths may be anything, so these must not be keys."""
MAX_ROUTES = 1000
"""The maximum number of routes that are counted one by one; further ones are counted under `"__other__"`."""
LONG_SECONDS = 10.0
"""A response that takes longer counts as a stream: its time is not in `seconds`, but in `streams`."""

_METHODS = {method.value for method in HTTPMethod}  # of RFC 9110, and PATCH; a client may send any other word
_STATUS_CLASSES = {status: f"{status // 100}xx" for status in range(100, 600)} | {CLIENT_CLOSED_REQUEST: "499"}


class Connections(NamedTuple):
    """The variables that count streams, or WebSockets."""

    open: Int
    """How many are open: a gauge."""
    seconds: Histogram
    """How many seconds those lasted that have ended."""


class WebSockets(NamedTuple):
    """The variables that count WebSockets."""

    open: Int
    seconds: Histogram
    messages_in: Int
    """Messages from clients."""
    messages_out: Int
    """Messages to clients."""


class HTTPCounters(NamedTuple):
    """The variables that a request changes; the names are their keys in `http`. See `pyvars.traffic`."""

    requests: Int
    """Requests that have ended."""
    errors: Int
    """Requests with a status of 500 or more, and failed ones: see RequestRecorder.record."""
    in_flight: Int
    """Requests that have arrived and not ended, without streams and WebSockets: a gauge."""
    bytes_out: Int
    """Bytes of the bodies of responses."""
    by_method: Map
    """Requests by method; methods that are not in _METHODS are counted under `"__other__"`."""
    by_status: Map
    """Requests by the class of the status, such as 2xx."""
    by_route: Map
    """Requests by the template of the route."""
    seconds: Histogram
    """The seconds that requests took, without streams."""
    seconds_by_route: Map
    """A Histogram of these seconds for each template."""
    first_byte_seconds: Histogram
    """The seconds until the server got the first part of the body, also of streams."""
    streams: Connections
    websockets: WebSockets


class FollowedRequest:
    """What is known so far of a request that is followed through an application."""

    __slots__ = ("first", "held", "left_out", "outer", "recorded", "recorder", "size", "started", "status")

    recorder: "RequestRecorder"
    """Counts the request."""
    outer: Optional["FollowedRequest"]
    """The object with which a middleware further out follows the same request, for another registry; or None."""
    left_out: frozenset[str]
    """The templates of routes whose requests are not counted."""
    recorded: bool
    """Whether the request is recorded, or discarded."""
    started: float
    """When the request arrived, by time.perf_counter; for a WebSocket, when it was accepted."""
    first: float
    """When the server got the first part of the body; 0 before that, and if the body is sent as a whole."""
    held: Connections | WebSockets | None
    """The variables that count it as an open stream or WebSocket; None while it counts as in flight."""
    status: int
    """The status of the response; 0 before the response begins."""
    size: int
    """The number of bytes of the body so far."""

    def discard(self) -> None:
        """Count nothing of the request."""
        if not self.recorded:
            self.recorder.discard(self)


class RequestRecorder:
    """Counts requests. For each one call `begin()`, and at its end one of `record()`, `close()` and `discard()`.

    Thread-safe, as the variables are.
    """

    __slots__ = (
        *("_in_flight", "_requests", "_errors", "_bytes_out", "_by_method", "_by_status", "_by_route", "_seconds"),
        *("_seconds_by_route", "_first_byte_seconds", "_streams", "begin", "bounds", "websockets"),
    )

    def __init__(self, counters: HTTPCounters) -> None:
        self._requests = counters.requests
        self._errors = counters.errors
        self._in_flight = counters.in_flight
        self._bytes_out = counters.bytes_out
        self._by_method = counters.by_method
        self._by_status = counters.by_status
        self._by_route = counters.by_route
        self._seconds = counters.seconds
        self._seconds_by_route = _RouteHistograms(counters.seconds_by_route, counters.seconds.bounds)
        self._first_byte_seconds = counters.first_byte_seconds
        self._streams = counters.streams
        self.websockets: WebSockets = counters.websockets
        self.bounds: tuple[float, ...] | None = counters.seconds.bounds
        self.begin: Callable[[], None] = counters.in_flight.add
        """Count a request that has arrived. It is `add` itself, because a method around it would cost each request."""

    def record(self, request: FollowedRequest, method: str, route: str, failed: bool) -> None:
        """Count a request that has ended; `route` is the template of its route.

        `failed` says that the application raised, was cancelled, or returned without a complete response, while the
        client was connected.
        """
        if route in request.left_out:
            return self.discard(request)
        request.recorded = True
        started, held, size = request.started, request.held, request.size
        seconds = perf_counter() - started
        status = request.status or CLIENT_CLOSED_REQUEST
        if held is None:
            ARRIVALS.pop(started, None)
            self._in_flight.add(-1)
        else:
            held.open.add(-1)
        self._requests.add()
        self._by_method.add(method if method in _METHODS else OTHER)
        self._by_status.add(_STATUS_CLASSES.get(status, OTHER))
        if status >= 500 or failed:
            self._errors.add()
        if size and method != "HEAD":  # the body of a response to HEAD is not sent
            self._bytes_out.add(size)
        self._by_route.add(route)
        if request.status:
            first = request.first
            self._first_byte_seconds.observe(first - started if first else seconds)
        if held is not None or seconds > LONG_SECONDS:
            self._streams.seconds.observe(seconds)
        else:
            self._seconds.observe(seconds)
            self._seconds_by_route[route].observe(seconds)

    def hold_as_stream(self, request: FollowedRequest) -> None:
        """Count a request as an open stream from now on."""
        self._hold(request, self._streams)

    def begin_part(self, request: FollowedRequest) -> None:
        """Note that the server gets a part of the body. After over 10 s, count the request as an open stream."""
        now = perf_counter()
        if not request.first:
            request.first = now
        if request.held is None and not request.recorded and now - request.started > LONG_SECONDS:
            self._hold(request, self._streams)

    def hold_as_websocket(self, request: FollowedRequest) -> None:
        """Count a request as an open WebSocket from now on."""
        self._hold(request, self.websockets)

    def _hold(self, request: FollowedRequest, held: Connections | WebSockets) -> None:
        ARRIVALS.pop(request.started, None)
        self._in_flight.add(-1)
        held.open.add()
        request.held = held

    def release(self, request: FollowedRequest) -> None:
        """Count an open WebSocket as a request in flight again, because the application answered it as a request."""
        assert request.held is not None
        request.held.open.add(-1)
        request.held = None
        self.begin()

    def close(self, request: FollowedRequest) -> None:
        """Count a WebSocket that has ended."""
        assert request.held is not None
        request.recorded = True
        request.held.open.add(-1)
        request.held.seconds.observe(perf_counter() - request.started)

    def discard(self, request: FollowedRequest) -> None:
        """Count nothing of a request that is not recorded."""
        request.recorded = True
        if request.held is None:
            ARRIVALS.pop(request.started, None)
            self._in_flight.add(-1)
        else:
            request.held.open.add(-1)


class _RouteHistograms(dict[str, Histogram]):
    """The Histogram of each route by its template. A known route takes one dict lookup; a new one gets a Histogram."""

    def __init__(self, published: Map, bounds: tuple[float, ...] | None) -> None:
        self._published = published
        self._bounds = bounds

    def __missing__(self, route: str) -> Histogram:
        full = len(self) - (OTHER in self) >= MAX_ROUTES
        if full or not 0 < len(route.encode(errors="surrogatepass")) <= MAX_KEY_BYTES:
            route = OTHER
        known = self.get(route)
        if known is not None:
            return known
        new = Histogram(bounds=self._bounds)
        histogram = self.setdefault(route, new)
        if histogram is new:  # else another thread has added one meanwhile
            self._published.set(route, new)
        return histogram
