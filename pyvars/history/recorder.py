"""Records the history of a registry: a sample each second, and a span every 10 s. One process of a group does it."""

import math
import os
from collections.abc import Mapping
from contextlib import suppress
from time import thread_time

from pyvars.collect.page import Pages
from pyvars.core.clock import monotonic, since_boot_ns, wall
from pyvars.core.registry import Registry
from pyvars.history.pace import COST_SHARE, Pace
from pyvars.history.ring import COUNT, GAUGE, MISSING, SPAN_SECONDS, Column, Content, Header, Mark
from pyvars.history.series import Path, Selection, numbers
from pyvars.history.writer import Ring
from pyvars.workers import Peers, peers
from pyvars.workers.together.group import start_of

__all__ = ("Recorder",)

DEADLINE_SECONDS = 0.05
"""How long a sample waits for functions. The value of a function that returns later goes into the next sample."""
MAX_PERIOD_SECONDS = 10
"""The longest time between two samples."""
WATCHED_NS = 10_000_000_000
"""How long after a request for the history somebody counts as reading it."""
CROWDED_SECONDS = 60.0
"""How often the busiest series are chosen again, if there are more than MAX_COLUMNS."""
KEPT_SECONDS = 7200.0
"""How long the columns of a former life are kept if their names do not come again: as long as its spans are."""
_CHANGE_SHARE = COST_SHARE / 2
"""The share of the time that changes of the columns may take."""
_MAX_INT = 2**63 - 1
_TICKS = os.sysconf("SC_CLK_TCK")


class Recorder:
    """Writes samples and spans to a ring, and marks for workers that start or end. Not thread-safe.

    `path` is the path of the file, or empty. `before` is the content of the file that the new file replaces.

    Raises:
        OSError: there is no room for the file, or the file cannot be made.
    """

    def __init__(self, path: str, header: Header, before: Content | None) -> None:
        moment = since_boot_ns()
        offset = round(wall() * 1e9) - moment
        if abs(offset - header.offset) < 1_000_000_000:  # the wall clock was not set: times must not jump
            offset = header.offset
        if before is not None:
            before = _without_future(before, (moment + offset) / 1e9)
        self._pages = Pages()
        self._pace = Pace()
        self._selection = Selection(before.columns if before is not None else ())
        self._held: dict[Path, tuple[float, float]] = {}
        self._began = self._chosen_at = moment / 1e9
        self._change_from = -math.inf  # when columns may change again, in seconds since the machine started
        self._cost = 0.0  # the mean CPU time of a sample, in seconds
        self._due = -math.inf  # when the next sample is due, in seconds since the machine started
        self._last: float = before.samples[-1][0] if before is not None and before.samples else 0.0
        self._workers: set[int] = set()
        self._seen_at = header.beat if before is not None and before.header.group == header.group else 0
        self._writer_before = header.pid
        header = header._replace(offset=offset, pid=os.getpid(), beat=moment)
        self.ring: Ring = Ring(path, self._selection.columns, header, before)
        """The file that is written."""

    def time(self, moment: int) -> float:
        """Converts a moment, in ns since the machine started, to seconds since 1970."""
        return (moment + self.ring.current.offset) / 1e9

    def mark(self, kind: str, text: str) -> None:
        """Write a mark, unless another process is writing one."""
        with suppress(OSError):
            self.ring.add_marks([Mark(self.time(since_boot_ns()), kind, text)])

    def sample(self, registry: Registry, moment: int) -> None:
        """Write a sample if one is due, and a span if one has ended. Otherwise write only that this process is alive.

        The moment is in ns since the machine started.
        """
        now = moment / 1e9
        if now < self._due:
            self.ring.note(beat=moment)
            return
        started = thread_time()
        together = peers(registry, monotonic() + DEADLINE_SECONDS)
        deadline = monotonic() + DEADLINE_SECONDS
        self._pace.begin(now, deadline=deadline, watched=0 <= moment - self.ring.watched() < WATCHED_NS)
        page = self._pages.sample(registry, deadline, together, self._pace.run)
        found = numbers(page)
        cost = thread_time() - started
        if self._is_to_choose(found, now):
            self._choose(found, registry, together, now)
        started = thread_time()
        self._hold(found, now)
        self._write(found, moment)
        self._mark_workers(together)
        self._set_period(cost + thread_time() - started, now)

    def _set_period(self, cost: float, now: float) -> None:
        """Set when the next sample is due: in one second, or later if the mean CPU time of samples would exceed 1 %."""
        self._cost = self._cost + (cost - self._cost) / 10 if self._cost else min(cost, COST_SHARE)
        period = max(1, min(math.ceil(self._cost / COST_SHARE), MAX_PERIOD_SECONDS))
        self._due = now + period - 0.1  # the caller comes each second, but not to the millisecond
        if period * 1_000_000_000 != self.ring.current.period:
            self.ring.note(period=period * 1_000_000_000)

    def _hold(self, found: dict[Path, float], now: float) -> None:
        """Repeat the last value of each function until the next call of it: most samples call no function."""
        before, self._held = self._held, {}
        for path in self._selection.of_functions:
            value = found.get(path)
            held = before.get(path) if value is None else (value, now)
            if held is not None and now - held[1] <= self._pace.longest + 2.0:
                self._held[path] = held
                found[path] = held[0]

    def _is_to_choose(self, found: Mapping[Path, float], now: float) -> bool:
        if now < self._change_from:
            return False
        is_crowded = self._selection.left_out > 0 and now - self._chosen_at >= CROWDED_SECONDS
        is_past = self._selection.has_former and now - self._began >= KEPT_SECONDS
        return is_crowded or is_past or self._selection.is_outdated(found)

    def _choose(self, found: Mapping[Path, float], registry: Registry, together: Peers | None, now: float) -> None:
        """Choose the columns. If they differ from those of the file, replace the file by one with the new columns."""
        started = thread_time()
        self._chosen_at = now
        if now - self._began >= KEPT_SECONDS:
            self._selection.forget_former()
        self._selection.renew(found, registry, together.is_gauge if together is not None else _is_no_gauge)
        before, wanted = self.ring, self._selection
        if [*before.columns] != wanted.columns and before.is_published:
            try:
                header = before.current._replace(epoch=before.current.epoch + 1)
                self.ring = Ring(before.path, wanted.columns, header, before.content())
                self.ring.publish()
                before.close()
            except OSError as error:
                self.ring = before
                if not before.columns:  # the file has no columns, so it holds no history
                    before.remove()
                    raise
                self._selection.keep(before.columns)
                self.mark("history", f"no room for more series: {error.strerror}")
        self.ring.note(left_out=wanted.left_out)
        self._change_from = now + max(1.0, (thread_time() - started) / _CHANGE_SHARE) - 0.5

    def _write(self, found: Mapping[Path, float], moment: int) -> None:
        time, last = self.time(moment), self._last
        if last and time // SPAN_SECONDS != last // SPAN_SECONDS:
            self._write_span(last // SPAN_SECONDS * SPAN_SECONDS)
        selection = self._selection
        known = zip(selection.paths, selection.columns, strict=False)
        values = [_number(column, found.get(path)) for path, column in known]
        missing = [_number(column, None) for column in selection.columns[len(values) :]]
        self.ring.add_sample((time, *values, *missing), beat=moment)
        self._last = time

    def _write_span(self, begin: float) -> None:
        """Write the span that begins at `begin`, in seconds since 1970, from its samples."""
        rows = [row for row in self.ring.samples(self.ring.current, 12) if begin <= row[0] < begin + SPAN_SECONDS]
        span: list[float] = [rows[-1][0]]
        for column, values in zip(self.ring.columns, [*zip(*rows, strict=True)][1:], strict=True):
            if column.kind == GAUGE:
                there = [value for value in values if not math.isnan(value)]
                span += (min(there), max(there)) if there else (math.nan, math.nan)
            else:
                span.append(values[-1])
        self.ring.add_span(tuple(span))

    def _mark_workers(self, together: Peers | None) -> None:
        starts = {os.getpid(): start_of(os.getpid()), **(together.starts if together is not None else {})}
        if not self._workers:  # the first sample
            self._workers = {*starts}
            if self._seen_at:  # another process wrote the history until that moment
                ended = {self._writer_before}
                self._workers = {pid for pid, start in starts.items() if start / _TICKS * 1e9 <= self._seen_at} | ended
        for pid in sorted(starts.keys() - self._workers):
            self.mark("worker", f"worker {pid} has started")
        for pid in sorted(self._workers - starts.keys()):
            self.mark("worker", f"worker {pid} has ended")
        self._workers = {*starts}


def _is_no_gauge(path: Path) -> bool:
    return False


def _number(column: Column, number: float | None) -> float:
    """The number as the column stores it."""
    if number is None or (column.kind == COUNT and type(number) is not int):
        return MISSING if column.kind == COUNT else math.nan
    return max(-_MAX_INT, min(number, _MAX_INT)) if column.kind == COUNT else number


def _without_future(content: Content, now: float) -> Content:
    """The content without rows from the future: they are there if somebody has set the clock back."""
    samples = [row for row in content.samples if row[0] < now]
    spans = [row for row in content.spans if row[0] < now]
    header = content.header._replace(
        samples=content.header.samples - len(content.samples) + len(samples),
        spans=content.header.spans - len(content.spans) + len(spans),
    )
    return content._replace(header=header, samples=samples, spans=spans)
