"""The variable `http`: how many requests the program answered, how they ended, and how long they took."""

from weakref import WeakSet

from pyvars.core.histogram import Histogram
from pyvars.core.log import warn
from pyvars.core.map import Map
from pyvars.core.registry import Registry, checked_registry
from pyvars.core.variables import Int, Var
from pyvars.errors import DuplicateNameError
from pyvars.traffic.recorder import MAX_ROUTES, HTTPCounters, RequestRecorder

__all__ = ("NAME", "HTTPVariable", "http_variable", "recorder_of")

NAME = "http"
"""The name under which the variable is published."""


class HTTPVariable(Map):
    """A Map that counts HTTP requests. Thread-safe.

    Its keys are the counts `requests`, `errors` and `bytes_out`; the gauge `in_flight`; the Maps `by_method`,
    `by_status` and `by_route`; the Histogram `seconds`; and `seconds_by_route`, a Map of Histograms.
    """

    __slots__ = ("recorder",)

    builtin = True
    """Says that it gives way to a variable of the program."""

    recorder: RequestRecorder
    """The request recorder, which counts a request in this variable."""

    def __init__(self) -> None:
        super().__init__()
        counters = HTTPCounters(
            requests=Int(),
            errors=Int(),
            in_flight=Int(gauge=True),
            bytes_out=Int(),
            by_method=Map(label="method"),
            by_status=Map(label="status"),
            by_route=Map(label="route", max_keys=MAX_ROUTES),
            seconds=Histogram(),
            seconds_by_route=Map(label="route", max_keys=MAX_ROUTES),
        )
        for key, var in counters._asdict().items():
            self.set(key, var)
        self.recorder = RequestRecorder(counters)


def http_variable(registry: Registry) -> HTTPVariable:
    """Returns the HTTPVariable of a registry, and publishes one as `http` if there is none. Integrations share it.

    Raises:
        DuplicateNameError: something else is published as `http`.
    """
    present: Var | None
    try:
        present = checked_registry(registry).publish(NAME, HTTPVariable(), help="HTTP requests", exist_ok=True)
    except DuplicateNameError:
        present = registry.get(NAME)
    if not isinstance(present, HTTPVariable):
        raise DuplicateNameError(
            f"{NAME!r} is already published as {present!r}, so requests cannot be counted there; publish that under"
            " another name, or make the middleware with count=False"
        )
    return present


def recorder_of(registry: Registry, *, required: bool) -> RequestRecorder | None:
    """Returns the recorder of `http_variable`. If it is not required and the name is taken, it logs so: None.

    Raises:
        DuplicateNameError: it is required, and something else is published as `http`.
    """
    try:
        return http_variable(registry).recorder
    except DuplicateNameError:
        if required:
            raise
    if registry not in _told:
        _told.add(registry)
        warn("requests are not counted: the program publishes a variable of its own as %r", NAME)
    return None


_told: WeakSet[Registry] = WeakSet()
"""The registries of which this was logged."""
