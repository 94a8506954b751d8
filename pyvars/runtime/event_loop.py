"""`asyncio`: the event loops of the program. Sources: asyncio.all_tasks; a callback scheduled on each loop.

A loop is known once an ASGI integration has run on it, or once `serve()` was called on it. This module does not import
asyncio before that.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING, TypeGuard
from weakref import ReferenceType, ref

from pyvars.core import resources
from pyvars.runtime.combine import Row, largest, totals
from pyvars.runtime.reading import Reading

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

__all__ = ("EventLoop", "register_loop")


class Lag:
    """Measures the lag of an event loop: the time from scheduling a callback on it until the loop runs the callback.

    A loop that is stuck does not run the callback: then the lag is the time since it was scheduled, and grows. The
    state is one tuple, replaced as a whole, so there is no lock that a signal handler could find held.
    """

    def __init__(self, loop: "AbstractEventLoop") -> None:
        self.loop: ReferenceType[AbstractEventLoop] = ref(loop)
        self._state = (0.0, 0.0, 0.0)  # when the pending callback was scheduled, or 0; the lag; the longest lag

    def measure(self, loop: "AbstractEventLoop") -> tuple[float, float]:
        """Returns the lag and the longest lag so far, in seconds. Schedules a callback unless one is pending."""
        sent, lag, longest = self._state
        if sent:
            lag = perf_counter() - sent
            self._state = (sent, lag, max(longest, lag))
        else:
            self._state = (perf_counter(), lag, longest)
            with suppress(RuntimeError):  # the loop was closed a moment ago
                loop.call_soon_threadsafe(self._arrived)
        return self._state[1:]

    def _arrived(self) -> None:
        sent, _, longest = self._state
        lag = perf_counter() - sent
        self._state = (0.0, lag, max(longest, lag))


_known: tuple[Lag, ...] = ()  # replaced as a whole


def register_loop() -> None:
    """Make known the asyncio loop that runs in this thread, if there is one. Cheap enough for each request."""
    global _known
    try:
        loop = _of_asyncio()()
    except RuntimeError:  # no loop, or that of another library, such as trio
        return
    for lag in _known:
        if lag.loop() is loop:
            return
    _known = (*(lag for lag in _known if _is_open(lag.loop())), Lag(loop))
    _LOOPS.expire()


@cache
def _of_asyncio() -> "Callable[[], AbstractEventLoop]":
    from asyncio import get_running_loop

    return get_running_loop


def _is_open(loop: "AbstractEventLoop | None") -> "TypeGuard[AbstractEventLoop]":
    try:
        return loop is not None and not loop.is_closed()
    except Exception:  # the loop may be of any library, and this runs in requests to the program
        return False


def _forget() -> None:
    global _known
    _known = ()


resources.hold(__name__, "event loops that are known", in_child=_forget)  # the loops do not run in the child


_NO_LOOP: "dict[str, object]" = {"loops": 0, "tasks": 0, "lag_seconds": 0.0, "lag_max_seconds": 0.0}


class EventLoop:
    """Tasks and lag of the event loops that are known."""

    def figures(self) -> dict[str, object]:
        """Returns the figures of all loops that are known and open:

        `loops`, how many there are (if 0, the other figures mean nothing); `tasks` that are not done; `lag_seconds`,
        the longest lag of any loop at the last reading; `lag_max_seconds`, the longest lag of any loop so far.
        """
        return _LOOPS.get() if _known else _NO_LOOP

    @staticmethod
    def combined(rows: Sequence[Row]) -> dict[str, object]:
        """Returns sums over the workers, and the longest lags of any."""
        lags = {key: largest(rows, key) for key in ("lag_seconds", "lag_max_seconds")}
        return {**totals(rows, ("loops", "tasks")), **lags}


def _open_loops() -> "list[tuple[AbstractEventLoop, Lag]]":
    loops = ((lag.loop(), lag) for lag in _known)
    return [(loop, lag) for loop, lag in loops if _is_open(loop)]


def _read() -> dict[str, object]:
    from asyncio import all_tasks

    loops = _open_loops()
    if not loops:
        return _NO_LOOP
    lags = [lag.measure(loop) for loop, lag in loops]
    return {
        "loops": len(loops),
        "tasks": sum(len(all_tasks(loop)) for loop, _ in loops),
        "lag_seconds": max(last for last, _ in lags),
        "lag_max_seconds": max(longest for _, longest in lags),
    }


_LOOPS = Reading(_read)  # each measurement wakes the loops
