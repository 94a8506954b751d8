"""The variable `http`: how many requests the program answered, how they ended, and how long they took."""

from pyvars.core.histogram import Histogram
from pyvars.core.map import Map
from pyvars.core.registry import Registry
from pyvars.core.variables import Int, Var
from pyvars.errors import DuplicateNameError
from pyvars.traffic.recorder import MAX_ROUTES, RequestRecorder

__all__ = ("NAME", "HTTPVariable", "http_variable")

NAME = "http"
"""The name under which it is published."""


class HTTPVariable(Map):
    """A Map that counts HTTP requests. Thread-safe.

    Its keys: `requests`, `errors`, `in_flight`, `bytes_out`; the Maps `by_method`, `by_status` and `by_route`; the
    Histogram `seconds`, and `seconds_by_route`, a Map of Histograms.
    """

    __slots__ = ("recorder",)

    recorder: RequestRecorder
    """What counts a request."""

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
        self.recorder = RequestRecorder(
            requests=requests,
            errors=errors,
            in_flight=in_flight,
            bytes_out=bytes_out,
            by_method=by_method,
            by_status=by_status,
            by_route=by_route,
            seconds=seconds,
            seconds_by_route=seconds_by_route,
        )


def http_variable(registry: Registry) -> HTTPVariable:
    """The HTTPVariable of a registry, published there as `http` if it is not yet: middlewares of one registry share it.

    Raises:
        DuplicateNameError: something else is published as `http`.
    """
    present: Var | None
    try:
        present = registry.publish(NAME, HTTPVariable(), help="HTTP requests", exist_ok=True)
    except DuplicateNameError:
        present = registry.get(NAME)
    if not isinstance(present, HTTPVariable):
        raise DuplicateNameError(
            f"{NAME!r} is already published as {present!r}, so requests cannot be counted there; publish that under"
            " another name, or make the middleware with count=False"
        )
    return present
