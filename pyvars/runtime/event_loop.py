"""`asyncio`: the event loops of the program. Sources: probes, callbacks scheduled on a loop; asyncio.all_tasks.

A loop is known once an ASGI integration has run on it, or once pyvars has found it running (loops.py); pyvars looks for
loops at most once a second. The lag of a probe is the time from sending it until the loop runs it. While a loop runs,
the thread that answers peers calls `tick` once a second, which sends a probe to each known loop that runs. So does each
page, at most every 100 ms.

No function here waits for a loop, so any thread may call it. Each state is replaced as a whole and not changed in
place, so that reading it needs no lock, which a signal handler could find held. This module does not import asyncio
before the program does.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, partial
from threading import RLock
from typing import TYPE_CHECKING, TypeGuard
from weakref import ReferenceType, ref

from pyvars.core import resources
from pyvars.core.cells import IntCell
from pyvars.core.clock import monotonic
from pyvars.runtime.combine import Row, largest, totals
from pyvars.runtime.lags import LAGS
from pyvars.runtime.loops import running_loops
from pyvars.runtime.reading import Reading
from pyvars.traffic.in_flight import oldest

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

__all__ = (
    "BLOCKED_FROM",
    "TICK_SECONDS",
    "EventLoop",
    "is_blocked",
    "is_past",
    "loop_lag",
    "note_blocked",
    "on_first_loop",
    "program_loop",
    "register_loop",
    "running_loop",
    "tick",
)

BLOCKED_SECONDS = 1.0
"""A worker is blocked if its loop has not run for this time."""
REQUEST_SECONDS = 30.0
"""A worker without a loop is blocked if a request takes longer than this."""
LOOK_SECONDS = 1.0
"""The minimum time between two searches for loops."""
TICK_SECONDS = 1.0
"""The time between two probes."""

BLOCKED_FROM: IntCell = IntCell()
"""The time at which this process becomes blocked if its loop has run no probe until then, or its oldest request has not
ended. In ns of `monotonic`, a clock that all processes of a machine share; 0 if there is no such probe or request.
Peers read it in the segment."""


class Probe:
    """Sends probes to one loop, one at a time, and keeps the lag of the last one."""

    def __init__(self, loop: "AbstractEventLoop") -> None:
        self.loop: ReferenceType[AbstractEventLoop] = ref(loop)
        self._state = (0.0, 0.0)  # when the pending probe was sent (0 if there is none), and the lag of the last one

    @property
    def sent(self) -> float:
        """When the pending probe was sent, on the clock of `monotonic`; 0 if there is none."""
        return self._state[0]

    @property
    def lag(self) -> float:
        """The lag of the last probe in seconds, or the time since the pending one was sent if that is longer."""
        sent, lag = self._state
        return LAGS.saw(max(lag, monotonic() - sent)) if sent else lag

    def send(self, loop: "AbstractEventLoop") -> None:
        """Send a probe unless one is pending. If the loop has stopped, forget its pending probe instead."""
        sent, lag = self._state
        if not _runs(loop):
            self._state = (0.0, 0.0)
        elif sent:
            LAGS.saw(monotonic() - sent)  # the loop may be closed before it runs the probe
        else:
            sent = monotonic()
            self._state = sent, lag
            note_blocked()
            try:
                loop.call_soon_threadsafe(partial(self._arrived, sent))
            except Exception:  # the loop was closed a moment ago, or is one of another library
                self._state = 0.0, lag

    def _arrived(self, sent: float) -> None:
        if sent == self.sent and self in _known:  # not if the loop was stopped meanwhile, or in a forked child
            self._state = 0.0, LAGS.add(monotonic() - sent)
            note_blocked()


_known: tuple[Probe, ...] = ()  # replaced as a whole
_lock = RLock()
_looked_at = _ticked_at = -60.0
_wakes: list[Callable[[], None]] = []


def on_first_loop(wake: Callable[[], None]) -> None:
    """Register `wake`, which makes a thread call `tick`: it is called when a loop becomes known and none is probed."""
    _wakes.append(wake)


def register_loop() -> None:
    """Register the asyncio loop that runs in this thread, if there is one. Integrations call this for each request."""
    try:
        loop = running_loop()
    except RuntimeError:  # no loop, or that of another library, such as trio
        return
    _add(loop)


def _add(loop: "AbstractEventLoop") -> None:
    global _known
    for probe in _known:
        if probe.loop() is loop:
            return
    closed = [probe for probe in _known if not _is_open(probe.loop())]
    with _lock:  # the thread that looks for loops may find the same one
        others = [probe for probe in _known if probe not in closed and probe.loop() is not loop]
        _known = (*others, Probe(loop))
    TASKS.expire()
    _LOOPS.expire()
    if monotonic() - _ticked_at > TICK_SECONDS:
        for wake in _wakes:
            wake()


def running_loop() -> "AbstractEventLoop":
    """The asyncio loop that runs in this thread.

    Raises:
        RuntimeError: there is none.
    """
    return _of_asyncio()()


@cache
def _of_asyncio() -> "Callable[[], AbstractEventLoop]":
    from asyncio import get_running_loop

    return get_running_loop


def _is_open(loop: "AbstractEventLoop | None") -> "TypeGuard[AbstractEventLoop]":
    try:
        return loop is not None and not loop.is_closed()
    except Exception:  # the loop may be one of any library, and must not make a request to the program fail
        return False


def _runs(loop: "AbstractEventLoop") -> bool:
    try:
        return loop.is_running()
    except Exception:
        return False


def _open_loops() -> "list[tuple[AbstractEventLoop, Probe]]":
    """The loops that are known and not closed, with the probe of each."""
    loops = ((probe.loop(), probe) for probe in _known)
    return [(loop, probe) for loop, probe in loops if _is_open(loop)]


def program_loop() -> "AbstractEventLoop | None":
    """An event loop of the program that is known and runs, if there is one."""
    return next((loop for loop, _ in _open_loops() if _runs(loop)), None)


def _send_probes() -> "list[tuple[AbstractEventLoop, Probe]]":
    """Search for loops if the last search is a second ago, and probe those that run. Returns all open loops."""
    global _looked_at
    if monotonic() - _looked_at >= LOOK_SECONDS:
        _looked_at = monotonic()
        with suppress(Exception):  # asyncio may be partly imported, or replaced by the program
            for loop in running_loops():
                _add(loop)
    loops = _open_loops()
    for loop, probe in loops:
        probe.send(loop)
    return loops


def _running() -> list[Probe]:
    return [probe for loop, probe in _open_loops() if _runs(loop)]


def loop_lag() -> float | None:
    """The longest lag of the loops that run, in seconds; None if no loop is known to run."""
    return max((probe.lag for probe in _running()), default=None)


def _blocked_from() -> int:
    """The value for BLOCKED_FROM."""
    running = _running()
    if running:
        waits = [sent + BLOCKED_SECONDS for probe in running if (sent := probe.sent)]
    else:
        age = oldest()
        waits = [] if age is None else [monotonic() - age + REQUEST_SECONDS]
    return int(min(waits, default=0.0) * 1e9)


def note_blocked() -> None:
    """Update BLOCKED_FROM. The thread that answers peers calls this with each answer and each `tick`, and a loop when
    it runs a probe. In a process without threads requests do not set it, since nothing would reset it at their end.
    """
    BLOCKED_FROM.set(_blocked_from())


def is_blocked() -> bool:
    """Whether this process is blocked: its loop has not run for 1 s, or it has no loop and a request of over 30 s."""
    return is_past(_blocked_from())


def is_past(blocked_from: int) -> bool:
    """Whether a worker with this BLOCKED_FROM is blocked now."""
    return 0 < blocked_from <= monotonic() * 1e9


def tick() -> bool:
    """Send the probes of this second. Returns whether a loop runs; then the caller calls this again in a second."""
    global _ticked_at
    _ticked_at = monotonic()
    _send_probes()
    note_blocked()
    if not _running():
        return False
    with suppress(Exception):  # the page reads it again, and reports the exception
        TASKS.get()
    LAGS.publish()
    return True


class Tasks(Reading[int]):
    """The number of tasks that are not done. If counting takes over 1 ms, only `tick` counts, and pages reuse that."""

    def on_page(self) -> int:
        """Returns the number as `get` does; if counting is costly and `tick` runs, the number that `tick` counted."""
        return self._result() if self._costly and monotonic() - _ticked_at < 2 * TICK_SECONDS else self.get()


def _count_tasks() -> int:
    from asyncio import all_tasks

    return sum(len(all_tasks(loop)) for loop, _ in _open_loops())


def _read() -> dict[str, object]:
    loops = _send_probes()
    return {
        "loops": len(loops),
        "tasks": TASKS.on_page() if loops else 0,
        "lag_seconds": max((probe.lag for _, probe in loops), default=0.0),
        "lag_max_seconds": LAGS.longest,
    }


TASKS: Tasks = Tasks(_count_tasks)
_LOOPS = Reading(_read)  # reused for 100 ms, since each reading wakes the loops


class EventLoop:
    """Tasks and lag of the event loops that are known."""

    def figures(self) -> dict[str, object]:
        """Returns the figures of all loops that are known and open:

        `loops`, their number; `tasks`, the number of tasks that are not done; `lag_seconds`, the longest current lag;
        `lag_max_seconds`, the longest lag of any loop so far, also of closed ones.
        """
        return _LOOPS.get()

    @staticmethod
    def combined(rows: Sequence[Row]) -> dict[str, object]:
        """Returns sums over the workers, and the longest lags of any."""
        lags = {key: largest(rows, key) for key in ("lag_seconds", "lag_max_seconds")}
        return {**totals(rows, ("loops", "tasks")), **lags}


def _forget() -> None:
    global _known, _lock, _looked_at
    _known, _lock, _looked_at = (), RLock(), -60.0
    BLOCKED_FROM.set(0)


resources.hold(__name__, "event loops that are known", in_child=_forget)  # the loops do not run in the child
