"""Reading: a costly figure that is reused for a while, so that reading it takes a bounded share of a CPU."""

from collections.abc import Callable
from threading import RLock
from time import perf_counter, thread_time
from types import TracebackType
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from pyvars.core import resources
from pyvars.core.clock import monotonic

__all__ = ("Reading", "expire")

T = TypeVar("T")

REUSE_SECONDS = 0.1
COST_SHARE = 0.01

_all: "WeakSet[Reading[Any]]" = WeakSet()


class Reading(Generic[T]):
    """A figure that is read anew at most every 100 ms, and less often if reading it would take over 1 % of a CPU.

    So many requests cause at most ten readings a second, and a figure that takes 36 ms, such as that of a large heap,
    is read every 3.6 s. A reading is measured by the clock; after a slow one, the next reading is measured in CPU time
    of its thread, so that a busy machine does not make the figure look costly. One thread reads at a time; other
    threads meanwhile get the previous figure, or wait if there is none. If reading raises, the exception is reused as a
    figure would be. Thread-safe; a forked child reads anew.
    """

    def __init__(self, read: Callable[[], T]) -> None:
        self._read = read
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        self._lock = RLock()  # reentrant: a signal handler may read while its thread does
        self._due = 0.0
        self._costly = False
        self._latest: list[T] = []  # empty before the first reading, then one figure
        self._error: tuple[Exception, TracebackType | None] | None = None  # what the latest reading raised

    def get(self) -> T:
        """Returns the figure, at most 100 ms or 100 times its own cost old; raises what reading it raised."""
        if monotonic() < self._due:
            return self._result()
        if self._lock.acquire(blocking=not self._latest and self._error is None):
            try:
                return self.renew()
            finally:
                self._lock.release()
        return self._result()

    def renew(self) -> T:
        """Read the figure now. Returns it, or raises what reading it raises, as `get` does from now on."""
        clock = thread_time if self._costly else perf_counter  # perf_counter is 20 times as fast to call
        started = clock()
        try:
            self._latest = [self._read()]
            self._error = None
        except Exception as error:
            self._error = error, error.__traceback__
        seconds = (clock() - started) / COST_SHARE
        self._due = monotonic() + max(REUSE_SECONDS, seconds)
        self._costly = seconds > REUSE_SECONDS
        return self._result()

    def _result(self) -> T:
        failed = self._error
        if failed is not None:
            error, traceback = failed
            raise error.with_traceback(traceback)  # otherwise each raise would add frames to the traceback
        return self._latest[0]

    def expire(self) -> None:
        """Make the next `get` read the figure anew."""
        self._due = 0.0


def expire() -> None:
    """Make the next `get` of every Reading read anew. For benchmarks of pages that reuse no figure."""
    for reading in _all:
        reading.expire()


def _reset_all() -> None:
    for reading in _all:
        reading._reset()


resources.hold(__name__, "readings", in_child=_reset_all)
