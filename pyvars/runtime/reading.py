"""Reading: a costly figure that is read only so often that its cost stays bounded."""

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
    """A figure that is read anew at most every 100 ms, and never so often that it takes over 1 % of a CPU.

    So a flood of requests causes at most ten readings a second, and a figure that takes 36 ms, such as that of a large
    heap, is read every 3.6 s. Once a reading was slow, the next one is measured in CPU time of its thread, so that a
    busy machine does not make it look costly. One thread reads; other threads meanwhile get the previous figure, or
    wait if there is none. If reading raises, the exception is kept for as long as a figure would be. Thread-safe; a
    forked child reads anew.
    """

    def __init__(self, read: Callable[[], T]) -> None:
        self._read = read
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        self._lock = RLock()  # an RLock, for a signal handler that reads while its own thread does
        self._due = 0.0
        self._costly = False
        self._latest: list[T] = []  # one, or none before the first figure
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
        clock = thread_time if self._costly else perf_counter  # perf_counter is 20 times as fast, and never shows less
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
            raise error.with_traceback(traceback)  # else each raise would lengthen it, and keep the frames of a page
        return self._latest[0]

    def expire(self) -> None:
        """Make the next `get` read the figure anew."""
        self._due = 0.0


def expire() -> None:
    """Make the next `get` of every Reading read anew, so that the next page is a cold one, for benchmarks."""
    for reading in _all:
        reading.expire()


def _reset_all() -> None:
    for reading in _all:
        reading._reset()


resources.hold(__name__, "readings", in_child=_reset_all)
