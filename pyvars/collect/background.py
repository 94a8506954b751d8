"""Calls the functions that are published with `every` in the background, and keeps the outcome of their latest calls.

One thread calls them, one after the other; a coroutine function runs on an event loop of the program. The thread ends
when no such function is left, and before a fork. If a call has not returned after HANDOVER_SECONDS, its thread calls no
other function any more, and a new thread does. There are at most MAX_THREADS threads.

`start` starts a thread if one is needed. An integration calls it when it is made. After that the thread of
`pyvars.workers` calls it, in this process and in its forked children: soon after such a function is made, soon after a
fork, and every few seconds. A page with such a function calls it, too, since Windows has no thread of `pyvars.workers`.
"""

from collections.abc import Callable, Iterable
from threading import Event, Lock, Thread
from time import sleep
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from pyvars.collect.calls import JOIN_SECONDS, LOCK_SECONDS, Outcome
from pyvars.core import resources
from pyvars.core.clock import monotonic
from pyvars.core.functions import PERIODIC, Func, is_coroutine_function
from pyvars.core.threads import keep, threads_run
from pyvars.runtime.event_loop import program_loop

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ("Background",)

HANDOVER_SECONDS = 10.0
"""If a call takes longer, another thread may call the other functions."""
MAX_THREADS = 4
"""The maximum number of threads. If all of them run functions that do not return, no function is called any more."""
FIRST_SECONDS = 0.05
"""The maximum time from the beginning of the first call of a function for which a page waits for it."""
LOOK_SECONDS = 1.0
"""The maximum time after which the thread looks for new functions."""


class _State:
    """The state of one function."""

    __slots__ = ("begun", "due", "function", "future", "outcome", "running")

    def __init__(self, function: Callable[[], object]) -> None:
        self.function: Callable[[], object] = function
        self.begun = 0.0
        """When the first call began, by `monotonic`; 0 before that."""
        self.due = 0.0
        """When the next call is due, by `monotonic`."""
        self.running = False
        """Whether a call runs in a thread now; always False for a coroutine function."""
        self.future: Future[Any] | None = None
        """The run of a coroutine on its event loop."""
        self.outcome: Outcome | None = None


class Background:
    """Calls the functions with `every` of this process. Thread-safe.

    `outcome_of` calls its second argument, which returns a value of the function, and returns the outcome of that call.
    """

    def __init__(self, outcome_of: Callable[[Func, Callable[[], object]], Outcome]) -> None:
        self._outcome_of = outcome_of
        self.reset()
        resources.hold(
            __name__, "thread pyvars-background", before=self._stop, in_parent=self._allow, in_child=self.reset
        )
        keep(self.start)

    def reset(self) -> None:
        """Forget the threads and the outcomes, in a forked child."""
        self._lock = Lock()
        self._states: WeakKeyDictionary[Func, _State] = WeakKeyDictionary()
        self._thread: Thread | None = None
        self._threads = 0
        self._forks = False  # whether a fork is in progress
        self._since = 0.0  # when the current call began, by `monotonic`; 0 between calls
        self._wake = Event()
        self.refused: bool = False
        """Whether there is no thread because the system refused to start one."""

    def start(self) -> None:
        """Start a thread if there are functions to call, unless a thread calls them that does not hang."""
        with self._lock:
            hangs = self._since and monotonic() - self._since > HANDOVER_SECONDS
            if not PERIODIC or not threads_run() or (self._thread is not None and not hangs):
                return
            if self._threads >= MAX_THREADS or self._forks:
                return
            self._since = 0.0
            self._thread = Thread(target=self._run, name="pyvars-background", daemon=True)
            try:
                self._thread.start()
                self._threads += 1
                self.refused = False
            except Exception:  # no more threads, no memory for one, or the interpreter shuts down
                self._thread, self.refused = None, True

    def outcome(self, func: Func) -> Outcome | None:
        """The outcome of the latest call of the function that has ended; None if none has."""
        state = self._state(func)
        return state.outcome if state is not None else None

    def _state(self, func: Func) -> _State | None:
        """The state of the function that the Func calls now; None if there is none yet."""
        state = self._states.get(func)
        return state if state is not None and state.function is func._function else None

    def may_wait(self, funcs: Iterable[Func]) -> bool:
        """Whether `wait_for_first` would have to wait now."""
        return threads_run() and not self.refused and any(self._is_first(func) for func in funcs)

    def wait_for_first(self, funcs: Iterable[Func], deadline: float) -> None:
        """Wait for the first call of each function: up to 50 ms from its beginning, and not past the deadline."""
        waiting = list(funcs)
        while monotonic() < deadline and self.may_wait(waiting):
            sleep(0.005)

    def _is_first(self, func: Func) -> bool:
        state = self._state(func)
        return state is None or (state.outcome is None and monotonic() - (state.begun or monotonic()) < FIRST_SECONDS)

    def _run(self) -> None:
        thread, wake = self._thread, self._wake
        while self._thread is thread:
            wake.clear()
            dues = [self._step(func, thread) for func in PERIODIC.copy()]
            with self._lock:
                if not PERIODIC and self._thread is thread:
                    self._thread = None
            wake.wait(max(0.0, min(dues, default=0.0) - monotonic()))
        with self._lock:
            self._threads -= 1

    def _step(self, func: Func, thread: Thread | None) -> float:
        """Call the function if it is due. Returns when to look at it again, by `monotonic`."""
        state, look = self._state(func), monotonic() + LOOK_SECONDS
        if state is None:
            state = self._states[func] = _State(func._function)
        future = state.future
        if future is not None:
            if not future.done():  # a callback wakes this thread later
                return look
            state.outcome, state.future = self._outcome_of(func, future.result), None
        if monotonic() >= state.due and self._thread is thread and not state.running:
            state.begun = state.begun or monotonic()
            state.due = monotonic() + (func.every or LOOK_SECONDS)  # `every` is None if it changed meanwhile
            if is_coroutine_function(state.function):
                state.future = self._on_a_loop(state.function)
                if state.future is None:
                    state.due = look
            else:
                self._since, state.running = monotonic(), True
                state.outcome = self._outcome_of(func, func.snapshot)
                state.running = False
                if self._thread is thread:  # else the call took too long, and another thread has taken over
                    self._since = 0.0
        return min(state.due, look)

    def _on_a_loop(self, function: Callable[[], Any]) -> "Future[Any] | None":
        """Begin a run of a coroutine function on an event loop of the program. Returns None if no loop is known."""
        from asyncio import run_coroutine_threadsafe

        loop = program_loop()
        if loop is None:
            return None
        coroutine = function()  # this runs no code of the coroutine function yet
        try:
            future = run_coroutine_threadsafe(coroutine, loop)
        except RuntimeError:  # pragma: no cover - the loop was closed a moment ago: no test can time that
            coroutine.close()
            return None
        future.add_done_callback(lambda _: self._wake.set())
        return future

    def _stop(self) -> None:
        """Before a fork, end the thread, unless a function runs in it, and start no other one until `_allow`."""
        if not self._lock.acquire(timeout=LOCK_SECONDS):  # a signal handler forks, and interrupts the lock's holder
            return
        try:
            self._forks = True
            thread, idle = self._thread, not self._since
            if idle:
                self._thread = None
            self._wake.set()
        finally:
            self._lock.release()
        if idle and thread is not None:
            resources.join(thread, JOIN_SECONDS)

    def _allow(self) -> None:
        self._forks = False
