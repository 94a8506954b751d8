"""Metric families: the numbers of a program by name, kind and labels, as Prometheus and OpenMetrics have them.

Names follow https://prometheus.io/docs/practices/naming/. Two names collide if OpenMetrics forbids them on one page
(https://prometheus.io/docs/specs/om/open_metrics_spec/); the older text format allows whatever OpenMetrics allows.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Literal, NamedTuple, TypeAlias

from pyvars.core.buckets import BOUNDS, SUM, Tally, tally_of
from pyvars.formats.json import valid_text

__all__ = ("LEFT_OUT", "Collision", "Families", "Family", "Kind", "Labels", "Numbers", "Point", "Sample")

LEFT_OUT: str = "pyvars_left_out"
"""The name of the metric family that lists the variables that are left out; no other family can have this name."""

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
"""The type of a metric family."""
Labels: TypeAlias = Mapping[str, str]
"""The values of labels, by the names of the labels."""
Numbers: TypeAlias = Mapping[str, float]
"""The numbers of a Histogram by the key of their cell (pyvars.core.buckets)."""


class Sample(NamedTuple):
    """One sample of a metric family: one line of the page."""

    suffix: str
    """What follows the name of the family: `_total` for a counter, `_bucket`, `_sum` and `_count` for a histogram."""
    labels: Labels
    value: float


class Family(NamedTuple):
    """A metric family: samples that have the same name, kind, help text and unit."""

    name: str
    """The name of the family: with the unit, without `_total`."""
    kind: Kind
    help: str
    unit: str
    """The unit that the name ends with; empty if there is none."""
    samples: list[Sample]


class Collision(NamedTuple):
    """A variable that is left out because its metric name is taken."""

    variable: str
    other: str
    """The variable that has the name."""
    name: str
    """The metric name that both would have."""


# The suffixes of the names that a family of each kind takes, by the rules of OpenMetrics. Counters come first: if one
# variable has values of several kinds, the family of its counts gets the name without a suffix of _BESIDE.
_SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "counter": ("", "_total", "_created"),
    "histogram": ("", "_bucket", "_count", "_sum", "_created"),
    "gauge": ("",),
}
# If a Map holds counts and also Histograms or gauges, a suffix makes the names of the latter different.
_BESIDE: dict[Kind, str] = {"counter": "", "histogram": "_distribution", "gauge": "_level"}


class Point(NamedTuple):
    """A value of a variable with its labels: a number, or the numbers of a Histogram."""

    labels: Labels
    value: float | Numbers
    help: str
    unit: str


class Families:
    """Collects numbers into metric families. Of two families with the same name the first one stays."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._points: dict[tuple[str, ...], dict[Kind, list[Point]]] = {}
        self._owners: dict[str, tuple[str, ...]] = {prefix + LEFT_OUT: ("pyvars",)}
        self._ready: list[Family] = []

    def put(self, variable: str, family: Family) -> None:
        """Add a family of a built-in. On the page such families come before those of variables.

        The family is ignored if it has no samples, or if its name is taken.
        """
        family = family._replace(name=f"{self._prefix}{family.name}")
        if family.samples and self._take(family, (variable,)) is None:
            self._ready.append(family)

    def add(self, path: tuple[str, ...], kind: Kind, point: Point) -> None:
        """Add a value at a path: the name of the variable, then the keys below it."""
        self._points.setdefault(path, {}).setdefault(kind, []).append(point)

    def named(self) -> tuple[list[Family], list[Collision]]:
        """Returns all families, those of variables in the order in which their paths were added, and all collisions."""
        families, collisions = self._ready.copy(), list[Collision]()
        for path, kinds in self._points.items():
            for kind in _SUFFIXES:
                if kind not in kinds:
                    continue
                points = kinds[kind]
                found = self._named(path, kind, points[0])
                if isinstance(found, Collision):
                    collisions.append(found)
                    continue
                families.append(found)
                for point in points:
                    found.samples.extend(_samples(found, point))
        return families, collisions

    def _named(self, path: tuple[str, ...], kind: Kind, about: Point) -> Family | Collision:
        unit = _WRONG.sub("_", about.unit).strip("_")
        base = _valid(self._prefix + "_".join(path))
        if kind == "counter":
            base = base.removesuffix("_total") or "_"
        shown = valid_text(".".join(path))
        help = valid_text(about.help) or f"{shown}, published without a help text"
        family = Family(_with_unit(base, unit), kind, help, unit, [])
        taken = self._take(family, path)
        if taken == path:
            family = family._replace(name=_with_unit(base + _BESIDE[kind], unit))
            taken = self._take(family, path)
        return family if taken is None else Collision(shown, valid_text(".".join(taken)), family.name)

    def _take(self, family: Family, owner: tuple[str, ...]) -> tuple[str, ...] | None:
        """Take the names of a family for `owner`. Returns None, or the owner of a name that is taken already."""
        names = [family.name + suffix for suffix in _SUFFIXES[family.kind]]
        for name in names:
            if name in self._owners:
                return self._owners[name]
        self._owners.update(dict.fromkeys(names, owner))
        return None


def _samples(family: Family, point: Point) -> list[Sample]:
    if isinstance(point.value, Mapping):
        return _of_histogram(point.value, point.labels, family)
    return [Sample("_total" if family.kind == "counter" else "", point.labels, point.value)]


_WRONG = re.compile("[^a-zA-Z0-9_]")  # Prometheus also allows a colon, but only in the names of recording rules


def _valid(name: str) -> str:
    name = _WRONG.sub("_", name)
    return f"_{name}" if name[:1].isdigit() else name


def _with_unit(name: str, unit: str) -> str:
    return name if not unit or name == unit or name.endswith(f"_{unit}") else f"{name}_{unit}"


# The exponents of the upper bounds of the buckets on the page, which are powers of 2: 19 buckets with a bound, and a
# twentieth without. The bounds do not depend on the observations: rate() and histogram_quantile() need the same `le` in
# each scrape and in each process of a service. All of them are also in BOUNDS, so the counts are exact.
_LADDERS = {
    "seconds": range(-12, 7),  # 0.24 ms to 64 s, each twice the one before
    "milliseconds": range(-2, 17),
    "microseconds": range(8, 27),
    "nanoseconds": range(18, 37),
    "bytes": range(6, 44, 2),  # 64 bytes to 4 TiB, each four times the one before
}
_ANY = range(-10, 28, 2)  # 0.001 to 67 million, each four times the one before
_PER_OCTAVE = BOUNDS.index(2.0) - BOUNDS.index(1.0)
_ONE = BOUNDS.index(1.0)


def _ladder(family: Family) -> range:
    words = [family.unit, *reversed(family.name.split("_"))]
    return next((_LADDERS[word] for word in words if word in _LADDERS), _ANY)


def _of_histogram(numbers: Numbers, labels: Labels, family: Family) -> list[Sample]:
    """The samples of a Histogram: cumulative buckets, the bucket +Inf, sum and count."""
    tally = tally_of(numbers)
    places, reached = [n for n, _ in tally.counts], [0, *accumulate(number for _, number in tally.counts)]
    samples = [
        Sample("_bucket", {**labels, "le": _le(bound)}, reached[bisect_right(places, last)])
        for bound, last in _shown_bounds(tally, family)
    ]
    samples.append(Sample("_bucket", {**labels, "le": "+Inf"}, reached[-1]))
    samples.append(Sample("_sum", labels, float(numbers.get(SUM, 0.0))))
    samples.append(Sample("_count", labels, reached[-1]))
    return samples


def _shown_bounds(tally: Tally, family: Family) -> Iterable[tuple[float, int]]:
    """The bounds on the page (those of the Histogram, or powers of 2), each with the number of its bucket."""
    if tally.bounds is not None:
        return zip(tally.bounds, range(len(tally.bounds)), strict=True)
    return [(2.0**power, _ONE + power * _PER_OCTAVE) for power in _ladder(family)]


def _le(bound: float) -> str:
    """The label `le` as Go prints floats, which OpenMetrics requires."""
    if bound < 1e6:
        return repr(bound)
    mantissa, _, exponent = next(text for n in (15, 16) if float(text := f"{bound:.{n}e}") == bound).partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{exponent}"
