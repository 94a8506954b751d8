"""The numbers of a Histogram: a cell for each bucket in which values were observed, and a cell for their sum.

The bounds of the buckets are the powers of the eighth root of 2 from 2**-20 (a microsecond, in seconds) to 2**44.
Bucket n holds the values over bound n - 1 and up to bound n, bucket 0 those up to 2**-20, and the last bucket those
over 2**44. So there are at most 514 buckets, a quantile is off by at most 4.5 %, and the buckets of workers can be
summed. The idea is that of DDSketch (https://arxiv.org/abs/1908.10693) and of OpenTelemetry's exponential histograms.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import accumulate
from math import frexp, isfinite, ldexp
from typing import TYPE_CHECKING, SupportsFloat, SupportsIndex

from pyvars.core.cells import FloatCell, IntCell, native
from pyvars.core.exact import exact_float

__all__ = ("BOUNDS", "SUM", "Buckets", "bucket_of", "buckets_in", "summary", "summary_of")

_LOWEST, _HIGHEST = -20, 44
_PARTS = 8

_WITHIN = tuple(2.0 ** (part / _PARTS - 1) for part in range(_PARTS))  # bounds as fractions of frexp

BOUNDS: tuple[float, ...] = tuple(
    ldexp(_WITHIN[n % _PARTS], n // _PARTS + 1 + _LOWEST) for n in range((_HIGHEST - _LOWEST) * _PARTS + 1)
)
"""The upper bounds of the buckets, in order. The last bucket, of values over the last bound, has none."""
SUM: str = "sum"
"""The key of the sum; the key of a bucket is its number."""

_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def bucket_of(value: float) -> int:
    """Returns the number of the bucket that holds `value`.

    Raises:
        ValueError: `value` is negative, infinite or NaN.
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
    """Returns the number and the count of each bucket in `numbers`, in order.

    Keys that are no bucket, and buckets with a count of 0, are left out.
    """
    keys = {int(key): count for key, count in numbers.items() if key.isdecimal() and key.isascii()}
    return [(n, int(keys[n])) for n in sorted(keys) if n <= len(BOUNDS) and keys[n] > 0]


def summary(buckets: Sequence[tuple[int, int]], total: float) -> dict[str, object]:
    """Returns what the page shows of a Histogram, given its buckets in order and its sum.

    Without any bucket the minimum, the maximum and the quantiles are None.
    """
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
    """Returns the same from the numbers of a Histogram by key."""
    return summary(buckets_in(numbers), float(numbers.get(SUM, 0.0)))


@cache
def _middle(n: int) -> float:
    """Returns the value shown for a bucket: the geometric mean of its bounds, rounded to 3 digits.

    The first bucket is shown as 0, the last one as its lower bound.
    """
    if n == 0:
        return 0.0
    if n == len(BOUNDS):
        return BOUNDS[-1]
    return float(f"{BOUNDS[n - 1] * 2.0 ** (0.5 / _PARTS):.3g}")


class Buckets:
    """The cells of a distribution: one for the sum, and one for each bucket in which values were observed."""

    __slots__ = ("_cells", "_sum")

    def __init__(self, total: FloatCell) -> None:
        if not isinstance(total, FloatCell):
            raise TypeError("the sum of a Histogram is a Float")
        self._cells: dict[int, IntCell] = {}
        self._sum = total

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
        n = bucket_of(number)
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

    def _known(self) -> dict[int, IntCell]:
        """Returns the cells of the buckets by number. A bucket has a cell once a value was observed in it."""
        return self._cells.copy()


if not TYPE_CHECKING and native:
    from pyvars.core._cells import Buckets
