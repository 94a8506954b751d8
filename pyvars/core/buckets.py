"""Where a distribution lives: a cell for each bucket of values that were observed, and their sum.

A bucket ends where the next begins, at powers of the eighth root of 2, from 2**-20 (a microsecond, in seconds) to
2**44: bucket n holds what is over bound n - 1 and up to bound n, bucket 0 what is up to 2**-20, the last one what is
over 2**44. So what is told of a value is off by 4.5 % at most, in at most 514 buckets, and buckets of workers can be
added up. The idea is that of DDSketch (https://arxiv.org/abs/1908.10693) and of OpenTelemetry's exponential histograms.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import accumulate
from math import frexp, isfinite, ldexp
from typing import TYPE_CHECKING, SupportsFloat, SupportsIndex

from pyvars.core.cells import FloatCell, IntCell, exact_float, native

__all__ = ("BOUNDS", "SUM", "Buckets", "bucket_of", "buckets_in", "summary", "summary_of")

_LOWEST, _HIGHEST = -20, 44
_PARTS = 8

_WITHIN = tuple(2.0 ** (part / _PARTS - 1) for part in range(_PARTS))  # bounds, as frexp gives them

BOUNDS: tuple[float, ...] = tuple(
    ldexp(_WITHIN[n % _PARTS], n // _PARTS + 1 + _LOWEST) for n in range((_HIGHEST - _LOWEST) * _PARTS + 1)
)
"""Where the buckets end, the last one aside, which has no end."""
SUM: str = "sum"
"""The key of the sum among the keys of buckets, which are their numbers."""

_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def bucket_of(value: float) -> int:
    """The number of the bucket for a value.

    Raises:
        ValueError: the value is negative, infinite or no number.
    """
    if not value >= 0.0 or not isfinite(value):
        raise ValueError(f"a Histogram takes finite numbers from 0 on, got {value!r}")
    fraction, exponent = frexp(value)
    if value <= BOUNDS[0]:
        return 0
    if value > BOUNDS[-1]:
        return len(BOUNDS)
    return (exponent - 1 - _LOWEST) * _PARTS + bisect_left(_WITHIN, fraction)


def buckets_in(numbers: Mapping[str, float]) -> list[tuple[int, int]]:
    """Numbers and counts of the buckets under keys, in order; what is no bucket is left out."""
    keys = {int(key): count for key, count in numbers.items() if key.isdecimal() and key.isascii()}
    return [(n, int(keys[n])) for n in sorted(keys) if n <= len(BOUNDS) and keys[n] > 0]


def summary(buckets: Sequence[tuple[int, int]], total: float) -> dict[str, object]:
    """What the page shows of buckets, in order, and of their sum; what there is nothing to tell of is None."""
    if not buckets:
        return {"count": 0, "sum": total, **dict.fromkeys(("min", "max", *_QUANTILES))}
    reached = list(accumulate(number for _, number in buckets))
    count = reached[-1]
    shown: dict[str, object] = {
        "count": count,
        "sum": total,
        "min": _middle(buckets[0][0]),
        "max": _middle(buckets[-1][0]),
    }
    for name, share in _QUANTILES.items():
        shown[name] = _middle(buckets[bisect_left(reached, -int(-share * count // 1))][0])
    return shown


def summary_of(numbers: Mapping[str, float]) -> dict[str, object]:
    """The same of numbers under keys."""
    return summary(buckets_in(numbers), float(numbers.get(SUM, 0.0)))


@cache
def _middle(n: int) -> float:
    """What stands for the values of a bucket: as far from its lower end as from its upper, as ratios go."""
    if n == 0:
        return 0.0
    if n == len(BOUNDS):
        return BOUNDS[-1]
    return float(f"{BOUNDS[n - 1] * 2.0 ** (0.5 / _PARTS):.3g}")


class Buckets:
    """The cells of a distribution: `sum`, and those of the buckets that were observed."""

    __slots__ = ("_cells", "_sum")

    def __init__(self, total: FloatCell) -> None:
        self._cells: dict[int, IntCell] = {}
        self._sum = total

    if TYPE_CHECKING:  # the Histogram's

        def _first(self, n: int) -> IntCell: ...

    def observe(self, value: SupportsFloat | SupportsIndex) -> None:
        """Count a value, and add it to the sum.

        Raises:
            TypeError: it is no number.
            ValueError: it is negative, infinite, or not a number.
        """
        number = exact_float(value)
        n = bucket_of(number)
        (self._cells.get(n) or self._first(n)).add()
        self._sum.add(number)

    def _put(self, n: int, cell: IntCell) -> IntCell:
        """Have this cell for the bucket if there is none yet; the one that counts comes back."""
        return self._cells.setdefault(n, cell)

    def _known(self) -> dict[int, IntCell]:
        """The cells of buckets so far."""
        return self._cells.copy()


if not TYPE_CHECKING and native:
    from pyvars.core._cells import Buckets
