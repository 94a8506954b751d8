"""`gc`: collections and pauses by generation, and the rings of pauses that `memstats` shows. Source: gc.callbacks.

CPython counts collections (gc.get_stats) but does not measure their time. So pyvars has a callback that CPython calls
at the start and at the end of each collection. It adds about 1.5 us to a collection.
"""

import gc
from collections.abc import Sequence
from gc import get_count, get_stats, get_threshold, isenabled
from time import perf_counter_ns
from typing import NamedTuple, cast

from pyvars.core import resources
from pyvars.core.clock import since_boot_ns
from pyvars.runtime.combine import Row, largest, totals

__all__ = ("GC", "PAUSES", "Pauses", "RING")

RING: int = 256
"""The number of pauses that are shown, the same as in Go."""
_KEPT = 2 * RING
"""The number of pauses that are kept: more than RING, so that a collection during a reading overwrites none of them."""


class Totals(NamedTuple):
    """The totals so far. The tuple is replaced as a whole, so that its numbers always agree with each other."""

    collections: int = 0
    forced: int = 0
    """Collections that can only have come from gc.collect(): a lower bound."""
    total_ns: int = 0
    """The sum of all pauses."""
    last_end_ns: int = 0
    """When the last pause ended, by since_boot_ns; 0 before the first."""
    generations: tuple[tuple[int, int], ...] = ((0, 0), (0, 0), (0, 0))  # total and longest pause of each, in ns


class Pauses:
    """Records how long each collection pauses the program, for all generations, from `start` on.

    The callback runs within the collection, with the GIL held, when no other collection can run, so it needs no lock.
    """

    def __init__(self) -> None:
        self.totals: Totals = Totals()
        self._pauses = [0] * _KEPT  # the last pauses in ns; that of collection n is at n % _KEPT, counted from 0
        self._ends = [0] * _KEPT  # when these ended, by since_boot_ns, so that they stay apart when a clock is set
        self.started_ns: int = 0
        """When recording began, by perf_counter_ns; 0 before."""
        self.inherited: list[dict[str, int]] = [{}, {}, {}]
        """The result of gc.get_stats when this process was forked, by generation."""
        self._begun = 0
        self._forced = False
        self._not_started = [True]

    def restart(self) -> None:
        """Start from zero in a forked child.

        In a child CPython continues the counts of the parent. They are kept in `inherited`, to be subtracted.
        """
        if self.started_ns:
            self.totals = Totals()
            self._pauses, self._ends = [0] * _KEPT, [0] * _KEPT
            self.started_ns, self._begun = perf_counter_ns(), 0
        self.inherited = get_stats()

    def start(self) -> None:
        """Record from now on, for the rest of the life of the process. Further calls are ignored."""
        try:
            self._not_started.pop()  # only one call gets it, without a lock that a signal handler could find held
        except IndexError:
            return
        self.started_ns = perf_counter_ns()
        gc.callbacks.append(self._callback)

    def _callback(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            generation = info["generation"]
            # An automatic collection happens only if it is enabled, the first threshold is not 0, and the count of its
            # generation has passed the threshold. The reverse does not hold: CPython puts a full collection off until
            # the heap has grown by a quarter, so a forced one may come while the count has passed the threshold.
            threshold = get_threshold()  # bound at import, since a replacement by the program may raise
            passed = threshold[0] > 0 and get_count()[generation] > threshold[generation]
            self._forced = not (passed and isenabled())
            self._begun = perf_counter_ns()
        elif self._begun:  # 0 if recording began during this collection
            pause, self._begun = perf_counter_ns() - self._begun, 0
            now = since_boot_ns()
            count, forced, total, _, generations = self.totals
            self._pauses[count % _KEPT] = pause
            self._ends[count % _KEPT] = now
            by_generation = list(generations)
            of_generation, longest = by_generation[info["generation"]]
            by_generation[info["generation"]] = (of_generation + pause, max(longest, pause))
            self.totals = Totals(count + 1, forced + self._forced, total + pause, now, tuple(by_generation))

    def read(self) -> tuple[Totals, list[int], list[int]]:
        """The totals, and the rings that agree with them: the last pauses in ns, and when they ended, by since_boot_ns.

        The pause of collection n, counted from 0, is at n % RING. A collection may happen during this reading.
        """
        while True:
            totals = self.totals
            pauses, ends = self._pauses.copy(), self._ends.copy()
            if self.totals.collections - totals.collections < _KEPT - RING:  # otherwise some were overwritten
                return totals, _ring(pauses, totals.collections), _ring(ends, totals.collections)


def _ring(kept: list[int], count: int) -> list[int]:
    """The ring of RING items after this number of collections."""
    newest = count % _KEPT
    last = kept[newest - RING : newest] if newest >= RING else kept[newest - RING :] + kept[:newest]
    oldest = RING - count % RING
    return last[oldest:] + last[:oldest]


PAUSES: Pauses = Pauses()
"""The pauses of this process."""

resources.hold(__name__, "pauses of the garbage collector", in_child=PAUSES.restart)


class GC:
    """Collections and pauses by generation."""

    def __init__(self) -> None:
        PAUSES.start()
        self._key: tuple[object, ...] = ()
        self._figures: dict[str, object] = {}

    def figures(self) -> dict[str, object]:
        """Returns `enabled` (gc.isenabled), and for each generation, under `gen0`, `gen1` and `gen2`:

        `collections`, `collected` and `uncollectable` objects (gc.get_stats, since the process began);
        `pause_total_ns` and `pause_max_ns` (since recording began, with the first integration or the first reading);
        `threshold` (gc.get_threshold).
        """
        key = PAUSES.totals, gc.isenabled(), gc.get_threshold()
        if key != self._key:
            self._figures, self._key = self._read(), key
        return self._figures

    def _read(self) -> dict[str, object]:
        figures: dict[str, object] = {"enabled": gc.isenabled()}
        rows = zip(gc.get_stats(), PAUSES.inherited, PAUSES.totals.generations, gc.get_threshold(), strict=True)
        for generation, (stats, before, (total, longest), threshold) in enumerate(rows):
            figures[f"gen{generation}"] = {
                **{key: stats[key] - before.get(key, 0) for key in ("collections", "collected", "uncollectable")},
                "pause_total_ns": total,
                "pause_max_ns": longest,
                "threshold": threshold,
            }
        return figures

    @staticmethod
    def combined(rows: Sequence[Row]) -> dict[str, object]:
        """Returns sums over the workers, and the longest pause of any; `enabled` and thresholds are the first row's."""
        figures: dict[str, object] = {"enabled": rows[0].get("enabled", True)}
        for generation in ("gen0", "gen1", "gen2"):
            parts = [cast("Row", part) for row in rows if isinstance(part := row.get(generation), dict)]
            figures[generation] = {
                **totals(parts, ("collections", "collected", "uncollectable", "pause_total_ns")),
                "pause_max_ns": largest(parts, "pause_max_ns"),
                "threshold": parts[0].get("threshold", 0) if parts else 0,
            }
        return figures

    @staticmethod
    def kept(rows: Sequence[Row]) -> dict[str, object]:
        """Returns the figures that are kept of workers that ended: the same as of live ones."""
        return GC.combined(rows)
