"""Calls functions of the program in threads of pyvars: never two calls of one function at once.

When a call has run for HANDOVER_SECONDS, another thread takes over the calls that wait behind it. There are at most
`at_most` threads; while MAX_STUCK calls have run for over STUCK_SECONDS, no further thread is started. A thread ends
after IDLE_SECONDS without a call, and before a fork.

No limit bounds C code that never releases the GIL: while it runs, no other thread does.
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
"""After this time another thread takes over the waiting calls, and no page waits longer if it has a former value."""
STUCK_SECONDS = 1.0
"""A call that has run for longer is stuck."""
MAX_STUCK = 4
"""While so many calls are stuck, no thread is started."""
IDLE_SECONDS = 60.0
"""How long a thread waits for the next call before it ends."""
JOIN_SECONDS = 1.0
"""How long a fork waits for idle threads to end."""
LOCK_SECONDS = 0.1
"""How long a fork waits for the lock of the threads."""


class Outcome(NamedTuple):
    """How a call ended: with a value or with an error."""

    value: Fragment | None
    error: dict[str, object] | None
    at: float
    """When, by `monotonic`."""


class Call:
    """A function of the program: whether a call of it waits or runs, and how the last one ended."""

    __slots__ = ("function", "outcome", "run", "running_since", "seen", "waiting", "wakes")

    def __init__(self, function: object, run: Callable[[], Outcome]) -> None:
        self.function: object = function  # kept, so that no other object gets its id
        self.run: Callable[[], Outcome] = run
        """Calls the function. It never raises."""
        self.waiting: bool = False
        self.running_since: float = 0.0
        """When the call that runs began; 0 if none runs."""
        self.outcome: Outcome | None = None
        self.wakes: list[Callable[[], object]] = []
        """Functions to call once the call has ended."""
        self.seen: float = 0.0
        """When a page last asked for it."""

    def ended_since(self, moment: float) -> bool:
        """Whether a call ended at that moment or later."""
        return self.outcome is not None and self.outcome.at >= moment


class CallThreads:
    """The threads, which are started when they are needed. Thread-safe."""

    def __init__(self, name: str, *, at_most: int) -> None:
        self._name = name
        self._at_most = at_most
        self.reset()
        resources.hold(__name__, f"threads {name}", before=self._end_idle, in_child=self.reset)

    def reset(self) -> None:
        """Forget the calls and the threads: a forked child has none of them."""
        self.lock: Lock = Lock()
        """Held while a Call changes. No code of the program runs under it."""
        self._queue: SimpleQueue[Call | None] = SimpleQueue()
        self._waiting = 0
        self._running: set[Call] = set()
        self._threads: list[Thread] = []
        self._refused = False  # whether there is no thread because the system refused to start one

    def begin(self, call: Call) -> None:
        """Queue a call of the function, unless one waits or runs, or no thread would run it.

        `lock` is held by the caller, who then calls `grow`.
        """
        if not (call.waiting or call.running_since or (self.is_full() and not self._refused)):
            call.waiting = True
            self._waiting += 1
            self._queue.put(call)

    def is_full(self) -> bool:
        """Whether waiting calls cannot run for now: all threads are stuck, or none can be started."""
        moment = monotonic()
        running = self._running.copy()  # in one step, since not every caller holds the lock
        stuck = sum(moment - call.running_since >= STUCK_SECONDS for call in running)
        return self._refused or stuck >= max(MAX_STUCK, len(self._threads))

    def grow(self) -> None:
        """Start a thread if calls wait, and all threads are busy with calls that take long."""
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
                # Where threads are greenlets, to wait for the next call would stop all of them.
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
                call.outcome, call.running_since = outcome, 0.0
                self._running.discard(call)
                wakes, call.wakes = call.wakes, []
            for wake in wakes:
                wake()

    def _end_idle(self) -> None:
        """End the threads that wait for a call, before a fork: Python 3.12 warns of threads in a process that forks."""
        if not self.lock.acquire(timeout=LOCK_SECONDS):  # a signal handler forks, and has interrupted who has the lock
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
