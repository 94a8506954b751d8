"""Calls functions of the program in threads of pyvars. Two calls of one function never run at once.

If calls wait, and each call that runs has taken HANDOVER_SECONDS, another thread is started. There are at most
`at_most` threads. While MAX_STUCK calls are stuck (have run for STUCK_SECONDS), no further thread is started.
A thread ends after IDLE_SECONDS without a call, and before a fork.

There is no limit for C code that does not release the GIL: while it runs, no other thread can run.
"""

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Lock, Thread, current_thread
from typing import NamedTuple

from pyvars.core import resources
from pyvars.core.clock import monotonic
from pyvars.core.threads import threads_run
from pyvars.formats.json import Fragment

__all__ = ("Call", "CallThreads", "Outcome")

HANDOVER_SECONDS = 0.05
"""After a call has run for so long, another thread may be started for the calls that wait."""
STUCK_SECONDS = 1.0
"""A call that has run for so long is stuck."""
MAX_STUCK = 4
"""While so many calls are stuck, no further thread is started."""
IDLE_SECONDS = 60.0
"""How long a thread waits for the next call before it ends."""
JOIN_SECONDS = 1.0
"""The maximum time that a fork waits until an idle thread has ended."""
LOCK_SECONDS = 0.1
"""The maximum time that a fork waits for the lock of the threads."""


class Outcome(NamedTuple):
    """The end of a call: its value or its error, and its times."""

    value: Fragment | None
    error: dict[str, object] | None
    """The entry of the function in `pyvars.errors`."""
    at: float
    """When the call ended, by `monotonic`."""
    seconds: float = 0.0
    """How long the call took."""


class Call:
    """A function of the program: whether a call of it waits or runs, and how its last call ended."""

    __slots__ = ("function", "outcome", "run", "running_since", "seen", "waiting", "wakes")

    def __init__(self, function: object, run: Callable[[], Outcome]) -> None:
        self.function: object = function  # kept alive, so that no other object gets its id
        self.run: Callable[[], Outcome] = run
        """Calls the function, and never raises."""
        self.waiting: bool = False
        self.running_since: float = 0.0
        """When the current call began, by `monotonic`; 0 if none runs."""
        self.outcome: Outcome | None = None
        self.wakes: list[Callable[[], object]] = []
        """Functions that are called once the call has ended."""
        self.seen: float = 0.0
        """When a page last asked for the function, by `monotonic`."""

    def ended_since(self, moment: float) -> bool:
        """Whether the last call ended at that moment or later."""
        return self.outcome is not None and self.outcome.at >= moment


class CallThreads:
    """Starts the threads that run calls when they are needed. Thread-safe. A forked child begins without threads."""

    def __init__(self, name: str, *, at_most: int) -> None:
        self._name = name
        self._at_most = at_most
        self.reset()
        resources.hold(__name__, f"threads {name}", before=self._end_idle, in_child=self.reset)

    def reset(self) -> None:
        """Forget the calls and the threads: a forked child has none of them."""
        self.lock: Lock = Lock()
        """Held while a Call changes. No code of the program runs while it is held."""
        self._queue: SimpleQueue[Call | None] = SimpleQueue()
        self._waiting = 0
        self._running: set[Call] = set()
        self._threads: list[Thread] = []
        self._refused = False  # there is no thread, because the system refused to start one

    def begin(self, call: Call) -> None:
        """Queue a call of the function, unless one waits or runs already, or no thread would run it.

        The caller holds `lock`, and calls `grow` afterwards.
        """
        if not (call.waiting or call.running_since or (self.is_full() and not self._refused)):
            call.waiting = True
            self._waiting += 1
            self._queue.put(call)

    def is_full(self) -> bool:
        """Whether calls that wait cannot run now, because all threads are stuck, or none could be started."""
        moment = monotonic()
        running = self._running.copy()  # one step under the GIL, since not every caller holds the lock
        stuck = sum(moment - call.running_since >= STUCK_SECONDS for call in running)
        return self._refused or stuck >= max(MAX_STUCK, len(self._threads))

    def grow(self) -> None:
        """Start a thread if calls wait, and all threads are busy with calls that have taken HANDOVER_SECONDS."""
        with self.lock:
            moment = monotonic()
            running = [moment - call.running_since for call in self._running]
            if (
                not self._waiting
                or len(self._threads) > len(running)
                or len(running) >= self._at_most
                or any(seconds < HANDOVER_SECONDS for seconds in running)
                or sum(seconds >= STUCK_SECONDS for seconds in running) >= MAX_STUCK
            ):
                return
            thread = Thread(target=self._work, args=(self._queue,), name=self._name, daemon=True)
            self._threads.append(thread)
        try:
            thread.start()
            self._refused = False
        except Exception:  # no more threads, no memory for one, or the interpreter shuts down
            with self.lock:
                self._threads.remove(thread)
                self._refused = not self._threads

    def _work(self, queue: "SimpleQueue[Call | None]") -> None:
        while True:
            try:
                # If gevent or eventlet made threads greenlets, waiting for the next call here would block all of them.
                call = queue.get(timeout=IDLE_SECONDS) if threads_run() else queue.get_nowait()
            except Empty:
                call = None
            with self.lock:
                if call is None:
                    if self._waiting:  # pragma: no cover - put into the queue a moment ago: no test can time that
                        continue
                    self._threads.remove(current_thread())
                    return
                self._waiting -= 1
                call.waiting, call.running_since = False, monotonic()
                self._running.add(call)
            outcome = call.run()
            if queue is not self._queue:  # pragma: no cover - it has forked; nothing is measured in that child
                return
            with self.lock:
                call.outcome = outcome._replace(seconds=outcome.at - call.running_since)
                call.running_since = 0.0
                self._running.discard(call)
                wakes, call.wakes = call.wakes, []
            for wake in wakes:
                wake()

    def _end_idle(self) -> None:
        """Before a fork, end the threads if none runs a call: Python 3.12 warns of a fork in a process with threads."""
        if not self.lock.acquire(timeout=LOCK_SECONDS):  # a signal handler forks, and interrupts the lock's holder
            return
        try:
            busy = len(self._running) + self._waiting
            idle = self._threads.copy() if not busy else []
            for _ in idle:
                self._queue.put(None)
        finally:
            self.lock.release()
        for thread in idle:
            resources.join(thread, JOIN_SECONDS)
