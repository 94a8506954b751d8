"""Histogram: how long things take, or how large they are: count, sum and quantiles."""

from collections.abc import Mapping
from typing import cast

from pyvars.core.buckets import BOUNDS, SUM, Buckets, summary, summary_of
from pyvars.core.cells import IntCell, fast_methods
from pyvars.core.spans import Span
from pyvars.core.variables import Composite, Float, Int, Var

__all__ = ("Histogram",)


@fast_methods
class Histogram(Buckets, Composite):
    """A distribution of numbers from 0 on, such as seconds that requests took.

        checkout = publish("checkout_seconds", Histogram(), unit="seconds")
        checkout.observe(0.25)
        with checkout.time(): ...

    The page shows `count`, `sum`, `min`, `max`, `p50`, `p90` and `p99`. All but the first two are off by at most 4.5 %
    for values from 1 microsecond (10**-6) to 10**13; they are null before the first value. It counts in buckets, 514 at
    most and only those that were needed, so it takes no more memory however much is observed, and what the page shows
    is of all worker processes together. Counts never fall; they are of the whole life of the process: rates and
    quantiles of a span of time are for who reads `/metrics`, where the buckets are.

    Thread-safe; exact also from signal handlers, gc callbacks and finalizers. In a forked child it begins as an Int
    does.
    """

    __slots__ = ("_on_change", "_total")

    kind = "histogram"

    def __init__(self) -> None:
        self._total = Float()
        Buckets.__init__(self, self._total)
        Composite.__init__(self)

    def time(self) -> Span:
        """Observe the seconds that a block takes, or each call of a function: `with` it, or decorate with it.

        Of a coroutine function that is the whole run of the coroutine, and of a generator its whole life. What raises
        is observed too. The clock is time.perf_counter.
        """
        return Span.timing(self.observe)

    @property
    def count(self) -> int:
        """How many values were observed in this process."""
        return sum(number for _, number in self._counted())

    @property
    def sum(self) -> float:
        """Their sum."""
        return self._total.value

    def buckets(self) -> list[tuple[float, int]]:
        """Upper bound and count of each bucket with any value of this process, in order.

        A bucket holds values over the bound before it, up to and with its own, which may be inf for the last one.
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
        """The cells: the sum, and each bucket that was needed under its number."""
        return {SUM: self._total, **{str(n): cast("Int", cell) for n, cell in self._known().items()}}

    def _merged(self, members: Mapping[str, object]) -> dict[str, object]:
        """What the page shows of the numbers under these keys."""
        return summary_of({key: number for key, number in members.items() if isinstance(number, int | float)})

    def snapshot(self) -> dict[str, object]:
        """Count, sum, and what is told of the distribution, of this process."""
        return summary(self._counted(), self._total.value)

    def __repr__(self) -> str:
        return f"<Histogram of {self.count} values>"
