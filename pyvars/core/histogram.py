"""Histogram: the count, sum and quantiles of observed values, such as durations and sizes."""

from collections.abc import Mapping
from typing import cast

from pyvars.core.buckets import BOUNDS, SUM, Buckets, summary, summary_of
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

    Thread-safe; exact also from signal handlers, gc callbacks and finalizers. A forked child starts from
    the same values as with an Int: from zero, or from those at the fork.
    """

    __slots__ = ("_on_change", "_total")

    kind = "histogram"

    def __init__(self) -> None:
        self._total = Float()
        Buckets.__init__(self, self._total)
        Composite.__init__(self)

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

        The bounds are powers of 2**(1/8), and inf for values over 2**44. A bucket holds the values over the next lower
        bound, up to and including its own.
        """
        return [(BOUNDS[n] if n < len(BOUNDS) else float("inf"), number) for n, number in self._counted()]

    def _counted(self) -> list[tuple[int, int]]:
        return [(n, number) for n, cell in sorted(self._known().items()) if (number := cell.value) > 0]

    def _first(self, n: int) -> IntCell:
        new = Int()
        cell = self._put(n, new)
        if cell is new:
            self._changed(str(n), None)
        return cell

    def _children(self) -> Mapping[str, Var]:
        """The cells by key: the sum under `"sum"`, each bucket under its number."""
        return {SUM: self._total, **{str(n): cast("Int", cell) for n, cell in self._known().items()}}

    def _merged(self, members: Mapping[str, object]) -> dict[str, object]:
        """Returns what the page shows, given the number of each cell by key."""
        return summary_of({key: number for key, number in members.items() if isinstance(number, int | float)})

    def snapshot(self) -> dict[str, object]:
        """Returns the count, sum, minimum, maximum and quantiles of this process."""
        return summary(self._counted(), self._total.value)

    def __repr__(self) -> str:
        return f"<Histogram of {self.count} values>"
