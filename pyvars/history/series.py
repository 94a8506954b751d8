"""The series of a history: which numbers of a page are kept, and their kinds and units.

A series is one number of the page over time. Its name joins the names that lead to the number: `orders`,
`orders_by_state.paid`, `memstats.Sys`. A Histogram has five series: its count, its sum and three quantiles. Texts,
lists, bools and null have none.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, cast

from pyvars.core.histogram import Histogram
from pyvars.core.registry import Metadata, Registry
from pyvars.core.variables import Composite, Float, Int, Var, is_pyvars_code
from pyvars.formats.json import valid_text
from pyvars.history.ring import COUNT, GAUGE, MAX_COLUMNS, REAL_COUNT, Column
from pyvars.runtime import Builtin

__all__ = ("Path", "Selection", "Series", "numbers", "series_of")

_OF_HISTOGRAM = ("count", "sum", "p50", "p90", "p99")
_MAX_DEPTH = 8
_MAX_NUMBERS = 20_000
"""The maximum number of numbers that are read from a page."""
_MAX_NAME, _MAX_HELP, _MAX_UNIT = 400, 200, 32
"""The maximum lengths of a name, a help and a unit, in characters. A number with a longer name is not kept."""
_NEVER = 9
"""The rank of a number that is not kept."""
_COUNTS = re.compile(
    r"memstats\.(TotalAlloc|Lookups|Mallocs|Frees|NumGC|NumForcedGC|PauseTotalNs)"
    r"|gc\.gen\d\.(collections|collected|uncollectable|pause_total_ns)"
    r"|process\.(cpu_\w+_seconds|context_switches_\w+)|pyvars\.workers\.retired"
)
"""The figures of built-in variables that are counters."""
_UNITS = (
    (re.compile(r"_seconds$|^process\.start_time_seconds$"), "seconds"),
    (re.compile(r"_ns$|^memstats\.(PauseTotalNs|LastGC)$"), "nanoseconds"),
    (re.compile(r"_bytes$|^http\.bytes_out$"), "bytes"),
    (re.compile(r"^memstats\.(Alloc|TotalAlloc|HeapAlloc|HeapIdle|HeapReleased|\w*(Inuse|Sys))$"), "bytes"),
    (re.compile(r"^memstats\.GCCPUFraction$"), "ratio"),
)


Path = tuple[str, ...]
"""The names that lead to a number on the page."""


class Series(NamedTuple):
    """A series, and its rank when there are more series than columns: low ranks are kept first."""

    column: Column
    rank: int
    """0 for the program's own numbers, 1 for built-in variables, 2 for `http`, 3 for numbers in Maps and composites."""
    of_function: bool = False
    """Whether a function of the program returns the number."""


def numbers(page: Mapping[str, object]) -> dict[Path, float]:
    """Returns the numbers of a page, at most 20,000."""
    found: dict[Path, float] = {}
    for name, value in page.items():
        _find(found, (name,), value)
    return found


def _find(found: dict[Path, float], path: Path, value: object) -> None:
    if type(value) is int or type(value) is float:
        if len(found) < _MAX_NUMBERS:
            found[path] = value
    elif type(value) is dict and len(path) < _MAX_DEPTH:
        members = cast("dict[str, object]", value)
        if is_histogram(members):
            members = {key: members[key] for key in _OF_HISTOGRAM}
        for key, member in members.items():
            _find(found, (*path, key), member)


def is_histogram(members: Mapping[str, object]) -> bool:
    """Whether these are the members of a Histogram on the page."""
    return members.keys() >= {*_OF_HISTOGRAM}


def series_of(path: Path, value: float, registry: Registry, is_gauge: Callable[[Path], bool]) -> Series:
    """Returns the series of the number at this path. `is_gauge` tells whether a peer has a gauge at a path."""
    name = ".".join(path)
    var = registry.get(path[0])
    about = registry._metadata.get(path[0], Metadata())
    count = COUNT if type(value) is int else REAL_COUNT
    if type(var) is Builtin:
        kind = count if _COUNTS.fullmatch(name) else GAUGE
        return Series(_column(name, kind, Metadata(about.help, _unit(name))), 1)
    for key in path[1:]:
        inner = cast("Composite", var)._child(key) if _is_composite(var) else None
        if inner is not None and issubclass(type(var), Registry):
            about = cast("Registry", var)._metadata.get(key, Metadata())
        var = inner if inner is not None else var
    if path[0] == "http":  # the variable of pyvars: its parts have no metadata
        about = about._replace(unit=about.unit or _unit(name))
    of_histogram = issubclass(type(var), Histogram)
    if of_histogram and path[-1] == "count":
        about = about._replace(unit="")
    rank = 2 if path[0] == "http" else 0 if len(path) == 1 or of_histogram else 3
    of_function = var is not None and not issubclass(type(var), Int | Float | Composite)
    kind = count if _is_count(path, var, is_gauge) else GAUGE
    return Series(_column(name, kind, about), rank if len(name) <= _MAX_NAME else _NEVER, of_function)


def _unit(name: str) -> str:
    return next((unit for pattern, unit in _UNITS if pattern.search(name)), "")


def _column(name: str, kind: str, about: Metadata) -> Column:
    return Column(name, kind, valid_text(about.unit)[:_MAX_UNIT], valid_text(about.help)[:_MAX_HELP])


def _is_composite(var: Var | None) -> bool:
    return var is not None and issubclass(type(var), Composite) and is_pyvars_code(type(var))


def _is_count(path: Path, var: Var | None, is_gauge: Callable[[Path], bool]) -> bool:
    if issubclass(type(var), Histogram):
        return path[-1] in ("count", "sum")
    if issubclass(type(var), Int | Float):
        return not cast("Int", var).gauge
    only_peers_have_it = var is None or _is_composite(var)
    return only_peers_have_it and not is_gauge(path)  # the value of a function is a gauge


class Selection:
    """Which series are kept: at most 500. Not thread-safe.

    `former` are the columns of the file that this history continues. They stay while there is room, since some names,
    such as the key of a route, appear only with their first use.
    """

    def __init__(self, former: Sequence[Column]) -> None:
        self.paths: list[Path] = []
        """The paths of the first columns; `former` columns whose names have not come again follow these."""
        self.columns: list[Column] = list(former)
        self.of_functions: list[Path] = []
        """The paths in `paths` whose numbers functions return."""
        self._counts: list[Path] = []
        self.left_out: int = 0
        """The number of series for which there is no room."""
        self._former = {column.name: column for column in former}
        self._known: dict[Path, Series] = {}
        self._first: dict[Path, float] = {}

    @property
    def has_former(self) -> bool:
        """Whether there are former columns whose names have not come again."""
        return bool(self._former)

    def keep(self, columns: Sequence[Column]) -> None:
        """Go back to these columns, because no file with others could be made."""
        wanted = {self._known[path].column: path for path in self.paths}
        paths = [wanted.get(column, (column.name,)) for column in columns]
        self.left_out += len({*self.columns} - {*columns})
        self.paths, self.columns = paths, list(columns)

    def forget_former(self) -> None:
        """Drop the former columns whose names have not come again."""
        self._former.clear()

    def is_outdated(self, found: Mapping[Path, float]) -> bool:
        """Whether there are numbers without a series, or a counter of integers has become a float."""
        return not self._known.keys() >= found.keys() or any(type(found.get(path)) is float for path in self._counts)

    def renew(self, found: Mapping[Path, float], registry: Registry, is_gauge: Callable[[Path], bool]) -> bool:
        """Choose the columns for these numbers. Returns whether the columns have changed."""
        for path, value in found.items():
            known = self._known.get(path)
            if known is None or (known.column.kind == COUNT and type(value) is float):
                self._known[path] = series_of(path, value, registry, is_gauge)
                self._first.setdefault(path, value)
                self._former.pop(self._known[path].column.name, None)
        self.paths = self._chosen(found)
        columns = [self._known[path].column for path in self.paths]
        self._counts = [path for path, column in zip(self.paths, columns, strict=True) if column.kind == COUNT]
        columns += [*self._former.values()][: MAX_COLUMNS - len(columns)]
        self.of_functions = [path for path in self.paths if self._known[path].of_function]
        changed, self.columns = columns != self.columns, columns
        return changed

    def _chosen(self, found: Mapping[Path, float]) -> list[Path]:
        kept, crowded = {*self.paths}, len(self._known) > MAX_COLUMNS

        def order(path: Path) -> tuple[int, float, bool]:
            rank = self._known[path].rank
            first = self._first[path]  # a number that is not on the page any more is not active
            active = abs(found.get(path, first) - first) if rank == 3 and crowded else 0.0
            return rank, -active, path not in kept

        ranked = sorted(self._known, key=order)
        chosen = [path for path in ranked[:MAX_COLUMNS] if self._known[path].rank < _NEVER]
        self.left_out = len(ranked) - len(chosen)
        for path in ranked[_MAX_NUMBERS:]:  # a program may use ever new names
            del self._known[path], self._first[path]
        return chosen
