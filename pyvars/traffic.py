"""Traffic: the variable `http`, and what one finished request does to it. No I/O, and no framework."""

from contextlib import suppress
from http import HTTPMethod
from typing import TYPE_CHECKING

from pyvars.cells import native
from pyvars.errors import DuplicateNameError
from pyvars.histogram import Histogram
from pyvars.map import MAX_KEY_BYTES, OTHER, Map
from pyvars.registry import Registry
from pyvars.variables import Int, Var

__all__ = ("LEFT", "MAX_ROUTES", "NAME", "UNMATCHED", "Tally", "Traffic", "traffic")

NAME = "http"
"""What it is published as."""
LEFT = 0
"""Stands for the status of a request that was never answered, since its client left first."""
UNMATCHED = "unmatched"
"""Stands for the route of a request that no route matched: its path may be anything, so it must not be a key."""
MAX_ROUTES = 1000

_METHODS = frozenset(method.value for method in HTTPMethod)  # RFC 9110 and PATCH; a client may send any word
_CLASSES = {0: "499", 1: "1xx", 2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}  # 499 is nginx's word for who left


class _Histograms(dict[str, Histogram]):
    """Those of the routes. A dict, so that a route that is known costs one look into it."""

    def __init__(self, shown: Map) -> None:
        self._shown = shown

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
            self._shown.set(route, new)
        return histogram


class Tally:
    """What counts requests: one `begin()` and one `count()` for each."""

    __slots__ = (
        *("_in_flight", "_requests", "_errors", "_bytes_out"),
        *("_by_method", "_by_status", "_by_route", "_seconds", "_histograms"),
    )

    def __init__(
        self,
        in_flight: Int,
        requests: Int,
        errors: Int,
        bytes_out: Int,
        by_method: Map,
        by_status: Map,
        by_route: Map,
        seconds: Histogram,
        histograms: _Histograms,
        /,
    ) -> None:
        self._in_flight = in_flight
        self._requests = requests
        self._errors = errors
        self._bytes_out = bytes_out
        self._by_method = by_method
        self._by_status = by_status
        self._by_route = by_route
        self._seconds = seconds
        self._histograms = histograms

    def begin(self) -> None:
        """Count one request that has come."""
        self._in_flight.add()

    def count(self, method: str, status: int, route: str, size: int, seconds: float, failed: bool = False, /) -> None:
        """Count one request that has ended.

        Given are its method; the status, LEFT if nobody was answered; the template of its route; the bytes of the body;
        the seconds since it came; and whether the program failed at it.
        """
        self._in_flight.add(-1)
        self._requests.add()
        self._add_method(method)
        self._by_status.add(_CLASSES.get(status // 100, OTHER))
        if status >= 500 or failed:
            self._errors.add()
        if size and method != "HEAD":  # the body of an answer to HEAD is not sent
            self._bytes_out.add(size)
        self._by_route.add(route)
        self._seconds.observe(seconds)
        self._histograms[route].observe(seconds)

    def _add_method(self, method: str) -> None:
        self._by_method.add(method if method in _METHODS else OTHER)


if not TYPE_CHECKING and native:
    with suppress(ImportError):  # it was built without
        from pyvars._traffic import Tally as InC

        InC._add_method = Tally._add_method  # what most requests do not call
        Tally = InC


class Traffic(Map):
    """A Map that counts HTTP requests: how many, how they ended, by which routes, and how long they took.

    Its keys: `requests`, `errors`, `in_flight`, `bytes_out`; the Maps `by_method`, `by_status` and `by_route`; the
    Histogram `seconds`, and the Map of Histograms `seconds_by_route`. Thread-safe.
    """

    __slots__ = ("tally",)

    tally: Tally
    """What counts."""

    def __init__(self) -> None:
        super().__init__()
        requests, errors, in_flight, bytes_out = Int(), Int(), Int(gauge=True), Int()
        by_method, by_status = Map(label="method"), Map(label="status")
        by_route, seconds_by_route = (Map(max_keys=MAX_ROUTES, label="route") for _ in range(2))
        seconds = Histogram()
        for key, var in {
            "requests": requests,
            "errors": errors,
            "in_flight": in_flight,
            "bytes_out": bytes_out,
            "by_method": by_method,
            "by_status": by_status,
            "by_route": by_route,
            "seconds": seconds,
            "seconds_by_route": seconds_by_route,
        }.items():
            self.set(key, var)
        maps = by_method, by_status, by_route
        self.tally = Tally(in_flight, requests, errors, bytes_out, *maps, seconds, _Histograms(seconds_by_route))


def traffic(registry: Registry) -> Traffic:
    """The Traffic of a registry, published there as `http` if it is not yet: middlewares of one registry share it.

    Raises:
        DuplicateNameError: something else is published as `http`.
    """
    present: Var | None
    try:
        present = registry.publish(NAME, Traffic(), help="HTTP requests", exist_ok=True)
    except DuplicateNameError:
        present = registry.get(NAME)
    if not isinstance(present, Traffic):
        raise DuplicateNameError(
            f"{NAME!r} is already published as {present!r}, so requests cannot be counted there; publish that under"
            " another name, or make the middleware with count=False"
        )
    return present
