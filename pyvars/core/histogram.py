"""Histogram: the count, sum and quantiles of observed values, such as durations and sizes."""

from collections.abc import Iterable, Mapping
from math import inf
from typing import cast

from pyvars.core.buckets import BOUNDS, SUM, Bounds, Buckets, Tally, checked_bounds, keys_of, summary, summary_of
from pyvars.core.cells import IntCell, fast_methods
from pyvars.core.spans import Span
from pyvars.core.variables import Composite, Float, Int, Var

__all__ = ("Histogram",)


@fast_methods
class Histogram(Buckets, Composite):
    """The distribution of observed numbers from 0 on, such as the seconds that requests took.

        checkout = publish("checkout_seconds", Histogram(), unit="seconds")
        checkout.observe(0.25)
        with checkout.time(): ...

    The page shows `count`, `sum`, `min`, `max`, `p50`, `p90` and `p99` over all workers. `count` is exact, `sum` is a
    sum of floats. The others are null before the first value, and differ by less than 5 % from the exact ones if all
    values are from 10**-6 to 10**13. Values are counted in at most 514 buckets, and a bucket takes memory once it has
    counted a value: memory does not grow with the number of values. All figures cover the time since the program
    started. For rates, and for quantiles over a period of time, scrape `/metrics`, which has the buckets.

    With `bounds`, such as `Histogram(bounds=(0.1, 0.3, 1.2))`, there is one bucket up to each bound, and one for larger
    values, and `/metrics` has exactly these. A value that equals a bound is in the bucket of that bound. The page then
    shows bounds only: p90 is the lowest bound that nine of ten values do not exceed; `min` and `max` are the bounds
    around all values. Values over the last bound are shown as the last bound. All workers, dead ones too, must have the
    same bounds; otherwise the variable is null, and `pyvars.errors` has a BoundsError.

    Thread-safe; exact also in signal handlers, gc callbacks and finalizers. In a forked child it starts as an Int does:
    at 0 if the process shares its numbers, else from the values at the fork.

    Raises:
        TypeError: `bounds` is not a collection of numbers.
        ValueError: `bounds` are not 1 to 50 finite numbers over 0, each larger than the one before.
    """

    __slots__ = ("_on_change", "_total", "bounds")

    kind = "histogram"

    bounds: Bounds | None
    """The upper bounds that were given for its buckets, ascending; None if none were given."""

    def __init__(self, *, bounds: Iterable[float] | None = None) -> None:
        self.bounds = None if bounds is None else checked_bounds(bounds)
        self._total = Float()
        Buckets.__init__(self, self._total, self.bounds)
        Composite.__init__(self)
        if self.bounds is not None:
            for n in range(len(self.bounds) + 1):
                self._put(n, Int())

    def time(self) -> Span:
        """Observe the seconds that a `with` block takes, or, as a decorator, each call of the function.

        A call of a coroutine function lasts until the coroutine ends, and a call of a generator function until the
        generator ends. A block or call that raises is observed, too. The clock is time.perf_counter.
        """
        return Span.timing(self.observe)

    @property
    def count(self) -> int:
        """The number of values that were observed in this process."""
        return sum(number for _, number in self._counted())

    @property
    def sum(self) -> float:
        """The sum of the values that were observed in this process."""
        return self._total.value

    def buckets(self) -> list[tuple[float, int]]:
        """Returns the upper bound and the count of each bucket that has counted values of this process, ascending.

        The bounds are those that were given, or powers of 2**(1/8). The bucket for values over the last bound has the
        bound inf. A bucket counts the values up to its bound that are larger than the bound of the bucket before it.
        """
        bounds = (*(BOUNDS if self.bounds is None else self.bounds), inf)
        return [(bounds[n], number) for n, number in self._counted()]

    def _counted(self) -> list[tuple[int, int]]:
        return [(n, number) for n, cell in sorted(self._known().items()) if (number := cell.value) > 0]

    def _first(self, n: int) -> IntCell:
        new = Int()
        cell = self._put(n, new)
        if cell is new:
            self._changed(str(n), None)
        return cell

    def _children(self) -> Mapping[str, Var]:
        """The cells by key: the sum under `"sum"`, each bucket under its number or interval."""
        known = cast("Mapping[int, Int]", self._known())
        if self.bounds is None:
            return {SUM: self._total, **{str(n): cell for n, cell in known.items()}}
        return {SUM: self._total, **{key: known[n] for n, key in enumerate(keys_of(self.bounds))}}

    def _child(self, key: str) -> Var | None:
        """Returns the cell under `key`, or None."""
        if self.bounds is None and key.isdecimal():  # asked for each new bucket, without a list of all the others
            return cast("Int | None", self._bucket(int(key)))
        return super()._child(key)

    def _merged(self, members: Mapping[str, object]) -> dict[str, object]:
        """Returns what the page shows, given the number of each cell by key."""
        return summary_of({key: number for key, number in members.items() if isinstance(number, int | float)})

    def snapshot(self) -> dict[str, object]:
        """Returns the count, sum, minimum, maximum and quantiles of this process."""
        return summary(Tally(self.bounds, self._counted()), self._total.value)

    def __repr__(self) -> str:
        return f"<Histogram of {self.count} values>"
