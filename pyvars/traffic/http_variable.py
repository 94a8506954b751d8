"""The variable `http`: how many requests the program answered, how they ended, and how long they took."""

from weakref import WeakSet

from pyvars.core.histogram import Histogram
from pyvars.core.log import warn
from pyvars.core.map import Map
from pyvars.core.registry import Registry, checked_registry
from pyvars.core.variables import Int, Var
from pyvars.errors import ConfigurationError, DuplicateNameError
from pyvars.traffic.options import Traffic
from pyvars.traffic.recorder import MAX_ROUTES, Connections, HTTPCounters, RequestRecorder, WebSockets

__all__ = ("NAME", "HTTPVariable", "http_variable", "recorder_of")

NAME = "http"
"""The name under which the variable is published."""
_LIFETIMES = tuple(2.0**power for power in range(20))
"""Upper bounds for how long streams and WebSockets last: 1 second to 6 days, each twice the one before."""


class HTTPVariable(Map):
    """A Map that counts HTTP requests. Thread-safe.

    Its keys are the counts `requests`, `errors` and `bytes_out`; the gauge `in_flight`; the Maps `by_method`,
    `by_status` and `by_route`; the Histograms `seconds` and `first_byte_seconds`; `seconds_by_route`, a Map of
    Histograms; and `streams` and `websockets`, each with the gauge `open` and the Histogram `seconds` of how long the
    ended ones lasted. `websockets` also has the counts `messages_in` and `messages_out`. See `pyvars.traffic`.
    """

    __slots__ = ("recorder",)

    builtin = True
    """The program may publish a variable of its own under the name instead."""

    recorder: RequestRecorder
    """Counts requests in this variable."""

    def __init__(self, bounds: tuple[float, ...] | None = None) -> None:
        super().__init__()
        counters = HTTPCounters(
            requests=Int(),
            errors=Int(),
            in_flight=Int(gauge=True),
            bytes_out=Int(),
            by_method=Map(label="method"),
            by_status=Map(label="status"),
            by_route=Map(label="route", max_keys=MAX_ROUTES),
            seconds=Histogram(bounds=bounds),
            seconds_by_route=Map(label="route", max_keys=MAX_ROUTES),
            first_byte_seconds=Histogram(bounds=bounds),
            streams=Connections(Int(gauge=True), Histogram(bounds=_LIFETIMES)),
            websockets=WebSockets(Int(gauge=True), Histogram(bounds=_LIFETIMES), Int(), Int()),
        )
        for key, var in counters._asdict().items():
            self.set(key, _map(var) if isinstance(var, Connections | WebSockets) else var)
        self.recorder = RequestRecorder(counters)


def _map(counters: Connections | WebSockets) -> Map:
    members = Map()
    for key, var in counters._asdict().items():
        members.set(key, var)
    return members


def http_variable(registry: Registry, options: Traffic) -> HTTPVariable:
    """Returns the HTTPVariable of a registry; publishes one as `http` if there is none. All middlewares share it.

    Raises:
        TypeError: `registry` is not a Registry.
        DuplicateNameError: another variable is published as `http`.
        ConfigurationError: the existing HTTPVariable has other bounds than `options`.
    """
    bounds = None if options.bounds is None else tuple(options.bounds)
    present: Var | None
    try:
        variable = HTTPVariable(bounds)
        present = checked_registry(registry).publish(NAME, variable, help="HTTP requests", exist_ok=True)
    except DuplicateNameError:
        present = registry.get(NAME)
    if not isinstance(present, HTTPVariable):
        raise DuplicateNameError(
            f"{NAME!r} is already published as {present!r}, so requests cannot be counted there; publish that under"
            " another name, or leave the middleware out"
        )
    if present.recorder.bounds != bounds:
        raise ConfigurationError(
            f"another middleware counts in the same {NAME!r} with the bounds {present.recorder.bounds}, this one has"
            f" {bounds}: give both the same Traffic(bounds=...), or give this one a registry of its own"
        )
    return present


def recorder_of(registry: Registry, options: Traffic, *, required: bool) -> RequestRecorder | None:
    """Returns the recorder of the HTTPVariable of a registry.

    If another variable is published as `http`, and the recorder is not `required`, this returns None and logs a
    warning, once for each registry.

    Raises:
        TypeError: `registry` is not a Registry.
        DuplicateNameError: another variable is published as `http`, and the recorder is `required`.
        ConfigurationError: the existing HTTPVariable has other bounds than `options`.
    """
    try:
        return http_variable(registry, options).recorder
    except DuplicateNameError:
        if required:
            raise
    if registry not in _told:
        _told.add(registry)
        warn("requests are not counted: the program publishes a variable of its own as %r", NAME)
    return None


_told: WeakSet[Registry] = WeakSet()
"""The registries for which the warning was logged."""
