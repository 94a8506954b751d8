"""Calls the functions that are published with `every` in the background, and keeps how their latest calls ended.

One thread calls them, one after the other; a coroutine function runs on an event loop of the program. The thread starts
when an integration is made, or with a page that shows such a function, and ends when there is none any more. A function
that has not returned after HANDOVER_SECONDS is left to its thread, and another thread goes on; there are at most
MAX_THREADS of them.
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
from pyvars.core.threads import threads_run
from pyvars.runtime.event_loop import program_loop

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ("Background",)

HANDOVER_SECONDS = 10.0
"""After this time a call is left to its thread."""
MAX_THREADS = 4
"""How many threads there are at most: all but one are left to a function that does not return."""
FIRST_SECONDS = 0.05
"""How long a page waits for the first call of a function, once it has begun."""
LOOK_SECONDS = 1.0
"""How often the thread looks for functions that were published meanwhile."""


class _State:
    """What is known of one function."""

    __slots__ = ("begun", "due", "function", "future", "outcome", "running")

    def __init__(self, function: Callable[[], object]) -> None:
        self.function: Callable[[], object] = function
        self.begun = 0.0
        """When the first call began, by `monotonic`; 0 before."""
        self.due = 0.0
        self.running = False
        self.future: Future[Any] | None = None
        """The run of a coroutine on its event loop."""
        self.outcome: Outcome | None = None


class Background:
    """The functions with `every` of this process. Thread-safe.

    `outcome_of` calls its second argument, which gives a value of the function, and returns how that ended.
    """

    def __init__(self, outcome_of: Callable[[Func, Callable[[], object]], Outcome]) -> None:
        self._outcome_of = outcome_of
        self.reset()
        resources.hold(__name__, "thread pyvars-background", before=self._stop, in_child=self.reset)

    def reset(self) -> None:
        """Forget the thread and the outcomes: a forked child makes its own."""
        self._lock = Lock()
        self._states: WeakKeyDictionary[Func, _State] = WeakKeyDictionary()
        self._thread: Thread | None = None
        self._threads = 0
        self._since = 0.0  # when the call that runs began; 0 between calls
        self._wake = Event()
        self.refused: bool = False
        """Whether no thread runs, since the system refused to start one."""

    def start(self) -> None:
        """Start the thread if there are functions to call, and none calls them."""
        with self._lock:
            hangs = self._since and monotonic() - self._since > HANDOVER_SECONDS
            if not PERIODIC or not threads_run() or (self._thread is not None and not hangs):
                return
            if self._threads >= MAX_THREADS:
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
        """How the latest call of the function ended; None before the first has ended."""
        state = self._state(func)
        return state.outcome if state is not None else None

    def _state(self, func: Func) -> _State | None:
        """What is known of the function that the Func has now; None if nothing is."""
        state = self._states.get(func)
        return state if state is not None and state.function is func._function else None

    def may_wait(self, funcs: Iterable[Func]) -> bool:
        """Whether `wait_for_first` would wait now."""
        return threads_run() and not self.refused and any(self._is_first(func) for func in funcs)

    def wait_for_first(self, funcs: Iterable[Func], deadline: float) -> None:
        """Wait for the first call of each function: 50 ms from when it begins, but not past the deadline."""
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
        """Call the function if it is due. Returns when to look at it again."""
        state, look = self._state(func), monotonic() + LOOK_SECONDS
        if state is None:
            state = self._states[func] = _State(func._function)
        future = state.future
        if future is not None:
            if not future.done():  # once it is, it wakes the thread
                return look
            state.outcome, state.future = self._outcome_of(func, future.result), None
        if monotonic() >= state.due and self._thread is thread and not state.running:
            state.begun = state.begun or monotonic()
            state.due = monotonic() + (func.every or LOOK_SECONDS)  # None if it has got another function just now
            if is_coroutine_function(state.function):
                state.future = self._on_a_loop(state.function)
                if state.future is None:
                    state.due = look
            else:
                self._since, state.running = monotonic(), True
                state.outcome = self._outcome_of(func, func.snapshot)
                state.running = False
                if self._thread is thread:  # else it has taken too long, and another thread goes on
                    self._since = 0.0
        return min(state.due, look)

    def _on_a_loop(self, function: Callable[[], Any]) -> "Future[Any] | None":
        """Begin a run of a coroutine function on an event loop of the program; None if none is known."""
        from asyncio import run_coroutine_threadsafe

        loop = program_loop()
        if loop is None:
            return None
        coroutine = function()  # a coroutine function runs nothing when it is called
        try:
            future = run_coroutine_threadsafe(coroutine, loop)
        except RuntimeError:  # pragma: no cover - the loop was closed a moment ago: no test can time that
            coroutine.close()
            return None
        future.add_done_callback(lambda _: self._wake.set())
        return future

    def _stop(self) -> None:
        """Before a fork: end the thread, unless a function runs in it. The next page starts another one."""
        if not self._lock.acquire(timeout=LOCK_SECONDS):  # a signal handler forks, and has interrupted who has the lock
            return
        try:
            thread, idle = self._thread, not self._since
            if idle:
                self._thread = None
            self._wake.set()
        finally:
            self._lock.release()
        if idle and thread is not None:
            resources.join(thread, JOIN_SECONDS)
