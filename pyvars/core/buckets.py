"""The numbers of a Histogram: a cell for each bucket in which values were observed, and a cell for their sum.

By default the bounds of the buckets are the powers of the eighth root of 2 from 2**-20 (a microsecond, in seconds) to
2**44. Bucket n holds the values over bound n - 1 and up to bound n, bucket 0 those up to 2**-20, and the last bucket
those over 2**44. So there are at most 514 buckets, a quantile differs by less than 5 % from the exact one, and the
buckets of several workers can be added. DDSketch (https://arxiv.org/abs/1908.10693) and OpenTelemetry's exponential
histograms do the same.

A Histogram may have bounds of its own instead. The key of each of its buckets is then the interval that the bucket
covers, such as `0.3:1.2`, and all buckets exist from the start. If workers have different bounds, their intervals
overlap or leave gaps: `tally_of` notices that, and raises instead of adding counts that do not belong together.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache, lru_cache
from itertools import accumulate, pairwise
from math import frexp, inf, isfinite, ldexp
from typing import TYPE_CHECKING, NamedTuple, SupportsFloat, SupportsIndex, TypeAlias

from pyvars.core.cells import FloatCell, IntCell, native
from pyvars.core.exact import exact_float

__all__ = (
    "BOUNDS",
    "SUM",
    "Bounds",
    "BoundsError",
    "Buckets",
    "Tally",
    "bucket_of",
    "checked_bounds",
    "keys_of",
    "summary",
    "summary_of",
    "tally_of",
)

_LOWEST, _HIGHEST = -20, 44
_PARTS = 8

_WITHIN = tuple(2.0 ** (part / _PARTS - 1) for part in range(_PARTS))  # the bounds within a power of 2, as by frexp

BOUNDS: tuple[float, ...] = tuple(
    ldexp(_WITHIN[n % _PARTS], n // _PARTS + 1 + _LOWEST) for n in range((_HIGHEST - _LOWEST) * _PARTS + 1)
)
"""The default upper bounds of the buckets, ascending. One more bucket, for larger values, has no upper bound."""
SUM: str = "sum"
"""The key of the sum. The key of a bucket is its number, or if the Histogram has bounds of its own, its interval."""
Bounds: TypeAlias = tuple[float, ...]
"""Upper bounds that were given to a Histogram, ascending. One more bucket, for larger values, has no upper bound."""

_MAX_BOUNDS = 50
_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


class BoundsError(ValueError):
    """Workers have Histograms with different bounds under one name, so their counts cannot be added."""


class Tally(NamedTuple):
    """The counts of a Histogram."""

    bounds: Bounds | None
    """The bounds that were given to it; None if it has the default bounds (BOUNDS)."""
    counts: Sequence[tuple[int, int]]
    """The number and the count of each bucket that holds values, ascending."""


def checked_bounds(bounds: Iterable[float]) -> Bounds:
    """Returns the bounds as floats.

    Raises:
        TypeError: `bounds` is not a collection of numbers.
        ValueError: there is no bound, or there are over 50; or a bound is not finite, not over 0, or not larger than
            the bound before it.
    """
    if isinstance(bounds, str | bytes) or not isinstance(bounds, Iterable):
        raise TypeError(f"bounds are a collection of numbers, such as (0.1, 0.3, 1.2), got {bounds!r}")
    given = tuple(bounds)
    try:
        floats = tuple(map(exact_float, given))
    except TypeError as error:
        raise TypeError(f"bounds are a collection of numbers, such as (0.1, 0.3, 1.2), got {given!r}") from error
    except OverflowError:  # an integer that is larger than any float
        floats = (inf,)
    if not 1 <= len(given) <= _MAX_BOUNDS:
        raise ValueError(f"a Histogram has 1 to {_MAX_BOUNDS} bounds, got {len(given)}")
    if not all(map(isfinite, floats)) or any(lower >= upper for lower, upper in pairwise((0.0, *floats))):
        raise ValueError(f"bounds are finite numbers over 0, each larger than the one before, got {given!r}")
    return floats


@lru_cache(maxsize=64)  # the Histograms of many routes share them
def keys_of(bounds: Bounds) -> tuple[str, ...]:
    """Returns the key of each bucket."""
    return tuple(f"{lower!r}:{upper!r}" for lower, upper in pairwise((0.0, *bounds, inf)))


def bucket_of(value: float, bounds: Bounds | None = None) -> int:
    """Returns the number of the bucket that holds `value`.

    Raises:
        ValueError: `value` is negative, infinite or NaN.
    """
    if not value >= 0.0 or not isfinite(value):
        raise ValueError(f"a Histogram takes finite numbers from 0 on, got {value!r}")
    if bounds is not None:
        return bisect_left(bounds, value)
    fraction, exponent = frexp(value)
    if value <= BOUNDS[0]:
        return 0
    if value > BOUNDS[-1]:
        return len(BOUNDS)
    return (exponent - 1 - _LOWEST) * _PARTS + bisect_left(_WITHIN, fraction)


def tally_of(numbers: Mapping[str, float]) -> Tally:
    """Returns the counts, given the numbers of a Histogram by key. Keys that are not of a bucket are ignored.

    Raises:
        BoundsError: the numbers are of Histograms with different bounds.
    """
    counts = {int(key): count for key, count in numbers.items() if key.isdecimal() and key.isascii()}
    bounds, places = _own_buckets(tuple(key for key in numbers if ":" in key))
    if bounds is not None:
        if counts:
            raise BoundsError("only some workers have a Histogram with bounds under this name")
        counts = {n: numbers[key] for key, n in places.items()}
    last = len(BOUNDS if bounds is None else bounds)
    return Tally(bounds, [(n, int(counts[n])) for n in sorted(counts) if n <= last and counts[n] > 0])


@lru_cache(maxsize=256)
def _own_buckets(keys: tuple[str, ...]) -> tuple[Bounds | None, dict[str, int]]:
    """Returns the bounds that the keys contain, None if there is no key; and the number of the bucket of each key."""
    intervals: dict[tuple[float, float], str] = {}
    for key in keys:
        lower, _, upper = key.partition(":")
        with suppress(ValueError):  # the key of something else
            intervals[float(lower), float(upper)] = key
    found = sorted(intervals)
    if not found:
        return None, {}
    bounds = tuple(upper for _, upper in found[:-1])
    if found != [*pairwise((0.0, *bounds, inf))]:
        raise BoundsError("workers have Histograms with different bounds under this name")
    return bounds, {intervals[interval]: n for n, interval in enumerate(found)}


def summary(tally: Tally, total: float) -> dict[str, object]:
    """Returns what the page shows of a Histogram, given its counts and its sum.

    If no value was observed, the minimum, the maximum and the quantiles are None.
    """
    bounds, counts = tally
    if not counts:
        return {"count": 0, "sum": total, **dict.fromkeys(("min", "max", *_QUANTILES))}
    reached = list(accumulate(number for _, number in counts))
    count, lowest = reached[-1], counts[0][0]
    shown: dict[str, object] = {
        "count": count,
        "sum": total,
        "min": _middle(lowest) if bounds is None else (0.0, *bounds)[lowest],
        "max": _shown(bounds, counts[-1][0]),
    }
    for name, share in _QUANTILES.items():
        shown[name] = _shown(bounds, counts[bisect_left(reached, -int(-share * count // 1))][0])
    return shown


def summary_of(numbers: Mapping[str, float]) -> dict[str, object]:
    """Returns what the page shows of a Histogram, given its numbers by key.

    Raises:
        BoundsError: the numbers are of Histograms with different bounds.
    """
    return summary(tally_of(numbers), float(numbers.get(SUM, 0.0)))


def _shown(bounds: Bounds | None, n: int) -> float:
    """Returns the value shown for bucket `n`: with `bounds`, its upper bound, or the lower bound of the last bucket."""
    return _middle(n) if bounds is None else bounds[min(n, len(bounds) - 1)]


@cache
def _middle(n: int) -> float:
    """Returns the value shown for bucket `n` of the default bounds: their geometric mean, rounded to 3 digits.

    The first bucket is shown as 0, the last one as its lower bound.
    """
    if n == 0:
        return 0.0
    if n == len(BOUNDS):
        return BOUNDS[-1]
    return float(f"{BOUNDS[n - 1] * 2.0 ** (0.5 / _PARTS):.3g}")


class Buckets:
    """The cells of a distribution: one for the sum, and one for each bucket in which values were observed."""

    __slots__ = ("_bounds", "_cells", "_sum")

    def __init__(self, total: FloatCell, bounds: Bounds | None) -> None:
        if not isinstance(total, FloatCell):
            raise TypeError("the sum of a Histogram is a Float")
        self._cells: dict[int, IntCell] = {}
        self._sum = total
        self._bounds = bounds

    if TYPE_CHECKING:  # Histogram implements it

        def _first(self, n: int) -> IntCell: ...

    def observe(self, value: SupportsFloat | SupportsIndex) -> None:
        """Count `value` in its bucket, and add it to the sum.

        Raises:
            TypeError: `value` is not a number.
            ValueError: `value` is negative, infinite or NaN.
            OverflowError: `value` is an integer too large for a float.
        """
        number = exact_float(value)
        n = bucket_of(number, self._bounds)
        (self._cells.get(n) or self._first(n)).add()
        self._sum.add(number)

    def _put(self, n: int, cell: IntCell) -> IntCell:
        """Use `cell` for bucket `n` if the bucket has none yet. Returns the cell of the bucket.

        Raises:
            TypeError: `n` is not the number of a bucket, or `cell` is not an Int.
        """
        if n not in range(len(BOUNDS) + 1) or not isinstance(cell, IntCell):
            raise TypeError("_put() takes the number of a bucket, and an Int")
        return self._cells.setdefault(n, cell)

    def _bucket(self, n: int) -> IntCell | None:
        """Returns the cell of bucket `n`; None if the bucket has none yet, or does not exist."""
        return self._cells.get(n)

    def _known(self) -> dict[int, IntCell]:
        """Returns the cells of the buckets by number. A bucket without a cell has counted nothing."""
        return self._cells.copy()


if not TYPE_CHECKING and native:
    from pyvars.core._cells import Buckets
