"""Reading: a costly figure that bounds its own cost."""

from collections.abc import Callable
from threading import RLock
from time import monotonic, perf_counter, thread_time
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from pyvars.core import resources

__all__ = ("Reading", "expire")

T = TypeVar("T")

REUSE_SECONDS = 0.1
COST_SHARE = 0.01

_all: "WeakSet[Reading[Any]]" = WeakSet()


class Reading(Generic[T]):
    """A figure that is read anew at most every 100 ms, and never so often that it takes over 1 % of a CPU.

    A flood of requests so pays for ten readings a second, and one that walks a large heap for 36 ms is taken every 3.6
    s. What takes long is measured in CPU time of the reading thread, so a busy machine does not look like a costly
    figure. One thread reads; others meanwhile get the figure before. Thread-safe; a forked child reads anew.
    """

    def __init__(self, read: Callable[[], T]) -> None:
        self._read = read
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        self._lock = RLock()  # a signal handler that reads may find its own thread reading
        self._due = 0.0
        self._costly = False
        self._latest: list[T] = []  # one, or none before the first reading

    def get(self) -> T:
        """The figure, at most 100 ms or 100 times its own cost old."""
        if monotonic() < self._due:
            return self._latest[0]
        if self._lock.acquire(blocking=not self._latest):
            try:
                return self.renew()
            finally:
                self._lock.release()
        return self._latest[0]

    def renew(self) -> T:
        """The figure, read now, which `get` hands out from now on."""
        clock = thread_time if self._costly else perf_counter  # which takes a twentieth, and is never less
        started = clock()
        latest = self._read()
        seconds = (clock() - started) / COST_SHARE
        self._latest = [latest]
        self._due = monotonic() + max(REUSE_SECONDS, seconds)
        self._costly = seconds > REUSE_SECONDS
        return latest

    def expire(self) -> None:
        """Read anew the next time."""
        self._due = 0.0


def expire() -> None:
    """Read every figure anew the next time: a cold page, for benchmarks."""
    for reading in _all:
        reading.expire()


def _reset_all() -> None:
    for reading in _all:
        reading._reset()


resources.hold(__name__, "readings", in_child=_reset_all)
