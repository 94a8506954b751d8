"""The request recorder: counts one request in the variable `http`."""

from collections.abc import Callable
from http import HTTPMethod
from time import perf_counter
from typing import NamedTuple

from pyvars.core.histogram import Histogram
from pyvars.core.map import MAX_KEY_BYTES, OTHER, Map
from pyvars.core.variables import Int

__all__ = ("CLIENT_CLOSED_REQUEST", "MAX_ROUTES", "UNMATCHED", "FollowedRequest", "HTTPCounters", "RequestRecorder")

CLIENT_CLOSED_REQUEST = 499
"""The status of a request whose client disconnected before it was answered. The number is nginx's."""
UNMATCHED = "unmatched"
"""The route of a request that no route matched. Its path may be anything, so the path must not be a key."""
MAX_ROUTES = 1000
"""How many routes are counted; further routes are counted under `"__other__"`."""

_METHODS = {method.value for method in HTTPMethod}  # RFC 9110 and PATCH; a client may send any word
_STATUS_CLASSES = {status: f"{status // 100}xx" for status in range(100, 600)} | {CLIENT_CLOSED_REQUEST: "499"}


class HTTPCounters(NamedTuple):
    """The variables that a request changes, under the keys that they have in `http`."""

    requests: Int
    """Requests that have finished."""
    errors: Int
    """Requests with a status of 500 or more, or whose application failed: see RequestRecorder.record."""
    in_flight: Int
    """Requests that have arrived and are not finished: a gauge."""
    bytes_out: Int
    """Bytes of the bodies of responses."""
    by_method: Map
    """Requests by method; methods that are not known are counted under `"__other__"`."""
    by_status: Map
    """Requests by the class of the status, such as 2xx."""
    by_route: Map
    """Requests by the template of the route."""
    seconds: Histogram
    """How long requests took."""
    seconds_by_route: Map
    """How long requests took, by the template of the route."""


class FollowedRequest:
    """What is known so far of a request that is followed through an application."""

    __slots__ = ("recorded", "size", "started", "status")

    recorded: bool
    """Whether the request is recorded."""
    started: float
    """When the request arrived, by time.perf_counter."""
    status: int
    """The status of the response; 0 before the response begins."""
    size: int
    """The number of bytes of the body so far."""


class RequestRecorder:
    """Counts requests: one `begin()` and one `record()` for each. Thread-safe, as the variables are."""

    __slots__ = (
        *("_in_flight", "_requests", "_errors", "_bytes_out"),
        *("_by_method", "_by_status", "_by_route", "_seconds", "_seconds_by_route", "begin"),
    )

    begin: Callable[[], None]
    """Count a request that has arrived."""

    def __init__(self, counters: HTTPCounters) -> None:
        self._requests = counters.requests
        self._errors = counters.errors
        self._in_flight = counters.in_flight
        self._bytes_out = counters.bytes_out
        self._by_method = counters.by_method
        self._by_status = counters.by_status
        self._by_route = counters.by_route
        self._seconds = counters.seconds
        self._seconds_by_route = _RouteHistograms(counters.seconds_by_route)
        self.begin = counters.in_flight.add  # not a method that calls it, since each request pays for the call

    def record(self, request: FollowedRequest, method: str, route: str, failed: bool) -> None:
        """Count a request that has finished, with the template of its route.

        `failed` says that the application raised an Exception, or returned without a complete response while the client
        was connected.
        """
        request.recorded = True
        seconds, size = perf_counter() - request.started, request.size
        status = request.status or CLIENT_CLOSED_REQUEST
        self._in_flight.add(-1)
        self._requests.add()
        self._by_method.add(method if method in _METHODS else OTHER)
        self._by_status.add(_STATUS_CLASSES.get(status, OTHER))
        if status >= 500 or failed:
            self._errors.add()
        if size and method != "HEAD":  # the body of a response to HEAD is not sent
            self._bytes_out.add(size)
        self._by_route.add(route)
        self._seconds.observe(seconds)
        self._seconds_by_route[route].observe(seconds)


class _RouteHistograms(dict[str, Histogram]):
    """The Histogram of each route: looking up a known route is one dict lookup, a new route gets a new Histogram."""

    def __init__(self, published: Map) -> None:
        self._published = published

    def __missing__(self, route: str) -> Histogram:
        full = len(self) - (OTHER in self) >= MAX_ROUTES
        if full or not 0 < len(route.encode(errors="surrogatepass")) <= MAX_KEY_BYTES:
            route = OTHER
        known = self.get(route)
        if known is not None:
            return known
        new = Histogram()
        histogram = self.setdefault(route, new)
        if histogram is new:  # else another thread was first
            self._published.set(route, new)
        return histogram
