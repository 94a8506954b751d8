"""Marks: events of this process. They wait here until the thread pyvars-history writes them to the histories.

Any code of pyvars can add a mark in any thread. A mark is a time, a kind and a text.
"""

import os
from collections import deque

from pyvars.core import resources
from pyvars.core.clock import since_boot_ns
from pyvars.runtime.event_loop import loop_lag
from pyvars.runtime.gc import PAUSES, RING

__all__ = ("Waiting", "Watch", "add", "give_back", "taken")

LONG_PAUSE_NS = 50_000_000
"""A garbage collection of generation 2 that takes at least so long gets a mark."""
LONG_LAG_SECONDS = 1.0
"""An event loop that has not run for at least so long gets a mark."""
_MAX_WAITING = 64

Waiting = tuple[int, str, str]
"""The moment in ns since the machine started, the kind, and the text."""

_waiting: deque[Waiting] = deque(maxlen=_MAX_WAITING)
resources.hold(__name__, "marks", in_child=_waiting.clear)


def add(kind: str, text: str, moment: int | None = None) -> None:
    """Add a mark to all histories of this process. `kind` has up to 16 bytes, `text` up to 104; the rest is cut.

    `moment` is in ns since the machine started; None means now.
    """
    _waiting.append((since_boot_ns() if moment is None else moment, kind, text))


def taken() -> list[Waiting]:
    """Returns and removes the marks that were added since the last call."""
    return [_waiting.popleft() for _ in range(len(_waiting))]


def give_back(marks: list[Waiting]) -> None:
    """Put back marks that could not be written: the next call of `taken` returns them again."""
    _waiting.extendleft(reversed(marks))


class Watch:
    """Adds marks for long garbage collections in this process, and for event loops that do not run."""

    def __init__(self) -> None:
        self._totals = PAUSES.totals
        self._blocked = False

    def look(self) -> None:
        """Add the marks for what happened since the last call."""
        before, totals = self._totals, PAUSES.totals
        self._totals = totals
        of_oldest = totals.generations[2][0] - before.generations[2][0]
        if of_oldest >= LONG_PAUSE_NS:
            _, pauses, ends = PAUSES.read()
            for number in range(max(before.collections, totals.collections - RING), totals.collections):
                pause, end = pauses[number % RING], ends[number % RING]
                if LONG_PAUSE_NS <= pause <= of_oldest:
                    text = f"worker {os.getpid()}: a collection of generation 2 took {pause / 1e6:.0f} ms"
                    add("gc", text, end)
        lag = loop_lag() or 0.0
        blocked = lag >= LONG_LAG_SECONDS
        if blocked and not self._blocked:
            add("loop", f"worker {os.getpid()}: an event loop has not run for {lag:.1f} s")
        self._blocked = blocked
