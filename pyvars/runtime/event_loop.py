"""`asyncio`: the event loops of the program. Sources: asyncio.all_tasks; a callback sent through the loop.

A loop is known once an ASGI carrier has run on it, or once `serve()` was called on it. asyncio itself is not imported
here before that.
"""

from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from pyvars.runtime.reading import Reading

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

__all__ = ("EventLoop", "watch")


class Lag:
    """How late a loop runs what is given to it, by a callback sent through it at each reading.

    A loop that is stuck does not run the callback: then the lag is the time since it was sent, and grows.
    """

    def __init__(self) -> None:
        self._sent = 0.0
        self._last = 0.0
        self._longest = 0.0
        self._lock = Lock()

    def measure(self, loop: "AbstractEventLoop") -> tuple[float, float]:
        """The lag now and the longest one seen, in seconds; send the next callback."""
        with self._lock:
            if self._sent:
                self._note(perf_counter() - self._sent)
            else:
                self._sent = perf_counter()
                loop.call_soon_threadsafe(self._arrived)
            return self._last, self._longest

    def _arrived(self) -> None:
        with self._lock:
            self._note(perf_counter() - self._sent)
            self._sent = 0.0

    def _note(self, lag: float) -> None:
        self._last = lag
        self._longest = max(self._longest, lag)


_loops: "WeakKeyDictionary[AbstractEventLoop, Lag]" = WeakKeyDictionary()


def watch() -> None:
    """Know the asyncio loop that runs in this thread, if one does. Cheap enough for each request of ours."""
    from asyncio import get_running_loop

    try:
        loop = get_running_loop()
    except RuntimeError:  # another library's, such as trio's
        return
    if loop not in _loops:
        _loops[loop] = Lag()


_NO_LOOP: "dict[str, object]" = {"loops": 0, "tasks": 0, "lag_seconds": 0.0, "lag_max_seconds": 0.0}


class EventLoop:
    """Tasks and lag of the known loops."""

    def __init__(self) -> None:
        self._tasks = Reading(_count_tasks)

    def figures(self) -> dict[str, object]:
        """`loops` known and open (0: the other figures mean nothing); `tasks` not done, over all of them;
        `lag_seconds`, the worst of them at the last reading; `lag_max_seconds`, the worst ever read."""
        lags = [lag.measure(loop) for loop, lag in _open_loops()] if _loops else []
        if not lags:
            return _NO_LOOP
        return {
            "loops": len(lags),
            "tasks": self._tasks.get(),
            "lag_seconds": max(last for last, _ in lags),
            "lag_max_seconds": max(longest for _, longest in lags),
        }


def _open_loops() -> "list[tuple[AbstractEventLoop, Lag]]":
    return [(loop, lag) for loop, lag in list(_loops.items()) if not loop.is_closed()]


def _count_tasks() -> int:
    from asyncio import all_tasks

    return sum(len(all_tasks(loop)) for loop, _ in _open_loops())
