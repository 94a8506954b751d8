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
    """Observe numbers from 0 on, such as the seconds that requests took; the page shows their distribution.

        checkout = publish("checkout_seconds", Histogram(), unit="seconds")
        checkout.observe(0.25)
        with checkout.time(): ...

    The page shows `count`, `sum`, `min`, `max`, `p50`, `p90` and `p99` over all workers. `count` and `sum` are exact;
    the others are off by at most 4.5 % for values from 1 microsecond (10**-6) to 10**13, and null before the first
    value. Values are counted in at most 514 buckets, each made when it is first needed, so memory does not grow with
    the number of values. Counts never fall, and cover the whole life of the process. For rates, and for quantiles over
    a span of time, scrape `/metrics`, which has the buckets.

    With `bounds`, such as `Histogram(bounds=(0.1, 0.3, 1.2))`, the buckets are these and one more for what is larger,
    and `/metrics` has exactly these: a value that equals a bound is in the bucket of that bound. A quantile on the page
    is then the bound that so many values do not exceed (p90: nine of ten values are at most that), `min` and `max` are
    the bounds around all values; what is over the last bound is shown as the last bound. The bounds must be the same in
    all workers, also in those that have ended: else the variable is `null`, with a BoundsError in `pyvars.errors`.

    Thread-safe; exact also from signal handlers, gc callbacks and finalizers. A forked child starts from
    the same values as with an Int: from zero, or from those at the fork.

    Raises:
        TypeError: `bounds` is no collection of numbers.
        ValueError: `bounds` are none or over 50, or not all are finite, over 0, and larger than the one before.
    """

    __slots__ = ("_on_change", "_total", "bounds")

    kind = "histogram"

    bounds: Bounds | None
    """The upper bounds of its buckets, if they were given."""

    def __init__(self, *, bounds: Iterable[float] | None = None) -> None:
        self.bounds = None if bounds is None else checked_bounds(bounds)
        self._total = Float()
        Buckets.__init__(self, self._total, self.bounds)
        Composite.__init__(self)
        if self.bounds is not None:
            for n in range(len(self.bounds) + 1):
                self._put(n, Int())

    def time(self) -> Span:
        """Observe the seconds that a block takes (use it with `with`), or each call of a function (as a decorator).

        For a coroutine function the whole run of the coroutine is timed, and for a generator its whole life. A block or
        call that raises is observed too. The clock is time.perf_counter.
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
        """Returns the upper bound and the count of each bucket that holds values of this process, in order.

        The bounds are those that were given, or powers of 2**(1/8); and inf for values over the last one. A bucket
        holds the values over the next lower bound, up to and including its own.
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

    def _merged(self, members: Mapping[str, object]) -> dict[str, object]:
        """Returns what the page shows, given the number of each cell by key."""
        return summary_of({key: number for key, number in members.items() if isinstance(number, int | float)})

    def snapshot(self) -> dict[str, object]:
        """Returns the count, sum, minimum, maximum and quantiles of this process."""
        return summary(Tally(self.bounds, self._counted()), self._total.value)

    def __repr__(self) -> str:
        return f"<Histogram of {self.count} values>"
