"""Runs the functions of a page: in threads of ours, contained, under one deadline, and never two calls of one at once.

C code that never gives up the GIL cannot be bounded by anyone: while it runs, no other thread does.
"""

from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from threading import Event, Lock, Thread
from time import monotonic

from pyvars.collect.log import warn
from pyvars.core import resources
from pyvars.core.functions import Func, called
from pyvars.core.variables import Var
from pyvars.formats.json import Fragment, NotJSONError, TooLargeError, encode_user_value

__all__ = ("FUNCTIONS", "FunctionRunner", "Job", "failure", "type_name")

FUNCTION_TIMEOUT_SECONDS = 0.05
"""After this a function is left to its thread, and the others go on in a fresh one."""
MAX_STUCK = 4
MAX_LOGGED = 1000
"""How many names are remembered, so that each is logged once: a program may publish new ones for ever."""

SKIPPED = "skipped"
TIMEOUT = "timeout"


class Job:
    """One function of one page, and then either its value or the word for why there is none."""

    __slots__ = ("error", "function", "label", "name", "value", "var")

    def __init__(self, name: str, label: str, var: Var) -> None:
        self.name: str = name
        self.label: str = label
        self.var: Var = var
        self.function: object = getattr(var, "_function", var) if issubclass(type(var), Func) else var
        """What must not run twice at once: a function may have several names, and be several Funcs."""
        self.value: Fragment | None = None
        self.error: dict[str, str] | None = None


class FunctionRunner:
    """Runs jobs for one page at a time; a page waits for its turn no longer than its deadline. Thread-safe."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what runs, which after a fork runs no more."""
        self._turn = Lock()
        self._stuck: dict[int, object] = {}  # by id, since the user's objects need not be hashable
        self._logged: dict[str, None] = {}  # an ordered set

    def run(self, jobs: Iterable[Job], deadline: float) -> None:
        """Run the function of each job. On return each job has a value or an error, and no job changes any more."""
        waiting = deque(jobs)
        if not waiting:
            return
        if self._turn.acquire(timeout=max(0.0, deadline - monotonic())):
            try:
                self._run(waiting, deadline)
            finally:
                self._turn.release()
        for job in waiting:
            self._give_up(job, SKIPPED, "was not started: other functions took the time of this page")

    def _run(self, waiting: deque[Job], deadline: float) -> None:
        for job in [job for job in waiting if self.is_stuck(job)]:
            waiting.remove(job)
            self.give_up_stuck(job)
        while waiting and len(self._stuck) < MAX_STUCK and monotonic() < deadline:
            runner = _RunnerThread(self, waiting)
            try:
                runner.start()
            except RuntimeError:  # no more threads, or the interpreter is on its way out
                return
            left = runner.wait(deadline)
            if left is not None:
                self._give_up(left, TIMEOUT, "did not return in time")

    def is_stuck(self, job: Job) -> bool:
        """Whether its function has not returned yet from an earlier call, under whatever name."""
        return id(job.function) in self._stuck

    def give_up_stuck(self, job: Job) -> None:
        """Say so of the job."""
        self._give_up(job, TIMEOUT, "has not returned yet, and is not started again before")

    def _give_up(self, job: Job, word: str, reason: str) -> None:
        job.error = failure(word)
        self._log(job.name, "variable %r is null on the page: it %s (said once)", job.label, reason)

    def caught(self, name: str, label: str, exception: BaseException) -> dict[str, str]:
        """The entry for what a variable raised; logged with its traceback, once for each name on the page."""
        if isinstance(exception, NotJSONError | TooLargeError):
            self._log(name, "variable %r is null on the page: JSON cannot hold it: %s (said once)", label, exception)
            return failure(exception.word)
        self._log(name, "variable %r is null on the page: it raised (said once)", label, exc_info=exception)
        return failure(type_name(exception))

    def _log(self, name: str, text: str, *about: object, exc_info: BaseException | None = None) -> None:
        if name in self._logged:
            return
        self._logged[name] = None
        if len(self._logged) > MAX_LOGGED:
            self._logged.pop(next(iter(self._logged)), None)
        warn(text, *about, exc_info=exc_info)


class _RunnerThread(Thread):
    """A thread that takes jobs from the queue until it is empty, or until it is left with one that takes too long."""

    def __init__(self, runner_: FunctionRunner, waiting: deque[Job]) -> None:
        super().__init__(name="pyvars-functions", daemon=True)
        self._runner = runner_
        self._waiting = waiting
        self._lock = Lock()  # for the four below
        self._current: Job | None = None
        self._since = monotonic()
        self._abandoned = False
        self._done = Event()

    def run(self) -> None:
        try:
            while self._take():
                pass
        finally:
            self._done.set()

    def _take(self) -> bool:
        """Run the next job; false if there is none, or the thread is left."""
        with self._lock:
            if self._abandoned or not self._waiting:
                return False
            job = self._waiting.popleft()
            if self._runner.is_stuck(job):  # it stands on this page under another name, and hangs there
                self._runner.give_up_stuck(job)
                return True
            self._current, self._since = job, monotonic()
        value, error = None, None
        try:
            value = encode_user_value(called(job.var.snapshot))
        except BaseException as exception:  # SystemExit and KeyboardInterrupt of a function end nothing here
            error = self._runner.caught(job.name, job.label, exception)
        with self._lock:
            self._current = None
            if self._abandoned:
                self._runner._stuck.pop(id(job.function), None)
            else:
                job.value, job.error = value, error
        return not self._abandoned

    def wait(self, deadline: float) -> Job | None:
        """Wait until the queue is empty, or leave the thread with the job that takes too long, and return that job."""
        while not self._done.wait(max(0.0, min(self._since + FUNCTION_TIMEOUT_SECONDS, deadline) - monotonic())):
            with self._lock:
                now = monotonic()
                if now < min(self._since + FUNCTION_TIMEOUT_SECONDS, deadline):
                    continue
                self._abandoned = True
                if self._current is not None:  # pragma: no branch - else it is between two jobs: no test can time that
                    self._runner._stuck[id(self._current.function)] = self._current.function
                return self._current
        return None


_NAME: Callable[[type], str] = type.__dict__["__name__"].__get__


def type_name(exception: BaseException) -> str:
    """The name of its class. Asked of `type` itself: a metaclass of the program's may say something that is no text."""
    return _NAME(type(exception))


def failure(word: str) -> dict[str, str]:
    """An entry of `pyvars.errors`. Never the text of an exception: that may hold anything."""
    return {"type": word, "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")}


FUNCTIONS: FunctionRunner = FunctionRunner()
"""The runner_ of this process: a function is not called twice at once, however many pages show it."""

resources.hold(__name__, "threads that run functions", in_child=FUNCTIONS.reset)
