"""Traffic: the variable `http`, and what one finished request does to it. No I/O, and no framework."""

from collections.abc import Callable
from contextlib import suppress
from http import HTTPMethod
from typing import TYPE_CHECKING, TypeAlias

from pyvars.cells import native
from pyvars.errors import DuplicateNameError
from pyvars.histogram import Histogram
from pyvars.map import MAX_KEY_BYTES, OTHER, Map
from pyvars.registry import Registry
from pyvars.variables import Int, Var

__all__ = ("LEFT", "MAX_ROUTES", "NAME", "UNMATCHED", "Parts", "Traffic", "begin", "count", "traffic")

NAME = "http"
"""What it is published as."""
LEFT = 0
"""Stands for the status of a request that was never answered, since its client left first."""
UNMATCHED = "unmatched"
"""Stands for the route of a request that no route matched: its path may be anything, so it must not be a key."""
MAX_ROUTES = 1000

_METHODS = frozenset(method.value for method in HTTPMethod)  # RFC 9110 and PATCH; a client may send any word
_CLASSES = {0: "499", 1: "1xx", 2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}  # 499 is nginx's word for who left


class Traffic(Map):
    """A Map that counts HTTP requests: how many, how they ended, by which routes, and how long they took.

    Its keys: `requests`, `errors`, `in_flight`, `bytes_out`; the Maps `by_method`, `by_status` and `by_route`; the
    Histogram `seconds`, and the Map of Histograms `seconds_by_route`. Thread-safe.

    `begin(parts)` and one `count(parts, ...)` are one request.
    """

    __slots__ = ("parts",)

    parts: "Parts"
    """What is called for each request, bound once: to look it up would cost as much as to call it."""

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
        self.parts = (
            *(in_flight.add, requests.add, errors.add, bytes_out.add),
            *(_METHODS, by_method.add, by_status.add, by_route.add),
            *(seconds.observe, _Observers(seconds_by_route)),
        )


class _Observers(dict[str, Callable[[float], None]]):
    """What observes the seconds of each route. A dict, so that a route that is known costs one look into it."""

    def __init__(self, shown: Map) -> None:
        self._shown = shown

    def __missing__(self, route: str) -> Callable[[float], None]:
        full = len(self) - (OTHER in self) >= MAX_ROUTES
        if full or not 0 < len(route.encode(errors="surrogatepass")) <= MAX_KEY_BYTES:
            route = OTHER
        known = self.get(route)
        if known is not None:
            return known
        new = Histogram()
        observe = self.setdefault(route, new.observe)
        if observe == new.observe:  # else another thread was first
            self._shown.set(route, new)
        return observe


Add: TypeAlias = Callable[..., None]
Parts: TypeAlias = tuple[Add, Add, Add, Add, frozenset[str], Add, Add, Add, Add, _Observers]


def begin(parts: Parts) -> None:
    """Count one request that has come."""
    parts[0]()


def count(parts: Parts, method: str, status: int, route: str, size: int, seconds: float, failed: bool = False) -> None:
    """Count one request that has ended.

    Given are its method; the status, LEFT if nobody was answered; the template of its route; the bytes of the body; the
    seconds since it came; and whether the program failed at it.
    """
    in_flight, request, error, bytes_out, methods, add_method, add_status, add_route, observe, observers = parts
    in_flight(-1)
    request()
    add_method(method if method in methods else OTHER)
    add_status(_CLASSES.get(status // 100, OTHER))
    if status >= 500 or failed:
        error()
    if size and method != "HEAD":  # the body of an answer to HEAD is not sent
        bytes_out(size)
    add_route(route)
    observe(seconds)
    observers[route](seconds)


if not TYPE_CHECKING and native:
    with suppress(ImportError):  # it was built without
        from pyvars._traffic import count


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
