"""Runs the published functions of a page: in threads of pyvars, under one deadline, never two calls of one at once.

The functions of a page run one after the other in one thread. A function that has not returned after 50 ms
(FUNCTION_TIMEOUT_SECONDS), or at the deadline of the page, is given up in `_RunnerThread.wait_or_abandon`: its value is
null, its error `timeout`, its thread is left to it, and a fresh thread runs the remaining functions. From then on the
function is stuck: it is not called again before that call returns. While MAX_STUCK functions are stuck, no thread is
started, and all other functions are `skipped`. An exception of a function costs only its own value.

No deadline bounds C code that never releases the GIL: while it runs, no other thread does.
"""

from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from threading import Event, Lock, Thread
from time import monotonic

from pyvars.core import resources
from pyvars.core.functions import Func, called
from pyvars.core.log import warn
from pyvars.core.variables import Var
from pyvars.formats.json import Fragment, NotJSONError, TooLargeError, encode_user_value

__all__ = ("FUNCTIONS", "FunctionRunner", "Job", "failure", "type_name")

FUNCTION_TIMEOUT_SECONDS = 0.05
"""After this time a function is given up: its thread is left to it, and a fresh thread runs the other functions."""
MAX_STUCK = 4
"""While so many functions are stuck, no function is called."""
MAX_LOGGED = 1000
"""How many names are remembered to log each only once; bounded, since a program may publish new names for ever."""

SKIPPED = "skipped"
"""The error of a function that was not called, for lack of time or threads."""
TIMEOUT = "timeout"
"""The error of a function that did not return in time, or is stuck in an earlier call."""
TRUNCATED = "truncated"
"""The error of a variable of which a text is cut, since it is too long."""
MAX_TYPE_CHARACTERS = 255
"""How much is shown of the name of a class of exceptions."""

INCOMPLETE = "incomplete"
"""The error of sums in which numbers of some workers are missing."""


class Job:
    """One function on one page. After the run it has either a value or an error."""

    __slots__ = ("error", "function", "label", "name", "value", "var")

    def __init__(self, name: str, label: str, var: Var) -> None:
        self.name: str = name
        """The name on the page that its variable is below."""
        self.label: str = label
        """The name of the variable itself, with its keys: `orders.open`."""
        self.var: Var = var
        self.function: object = getattr(var, "_function", var) if issubclass(type(var), Func) else var
        """What must not be called twice at once: one function may have several names, and be in several Funcs."""
        self.value: Fragment | None = None
        self.error: dict[str, str] | None = None


class FunctionRunner:
    """Runs the jobs of one page at a time; a page waits for its turn until its deadline at most. Thread-safe."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the calls that run: in a forked child their threads are gone."""
        self._turn = Lock()
        self._stuck: dict[int, object] = {}  # by id, since objects of the program need not be hashable
        self._logged: dict[str, None] = {}  # an ordered set

    def run(self, jobs: Iterable[Job], deadline: float) -> None:
        """Run the function of each job. On return each job has a value or an error, and none changes any more."""
        waiting = deque(jobs)
        if not waiting:
            return
        if self._turn.acquire(timeout=max(0.0, deadline - monotonic())):
            try:
                self._run(waiting, deadline)
            finally:
                self._turn.release()
        for job in waiting:
            self._set_error(job, SKIPPED, "was not started: other functions took the time of this page")

    def _run(self, waiting: deque[Job], deadline: float) -> None:
        for job in [job for job in waiting if self.is_stuck(job)]:
            waiting.remove(job)
            self.give_up_stuck(job)
        while waiting and len(self._stuck) < MAX_STUCK and monotonic() < deadline:
            try:
                runner = _RunnerThread(self, waiting)
                runner.start()
            except Exception:  # no more threads, no memory for one, or the interpreter shuts down
                return
            left = runner.wait_or_abandon(deadline)
            if left is not None:
                self._set_error(left, TIMEOUT, "did not return in time")

    def is_stuck(self, job: Job) -> bool:
        """Whether the function of the job is stuck: an earlier call, under any name, has not returned yet."""
        return id(job.function) in self._stuck

    def give_up_stuck(self, job: Job) -> None:
        """Give the job the error `timeout`, since its function is stuck."""
        self._set_error(job, TIMEOUT, "has not returned yet, and is not started again before")

    def _set_error(self, job: Job, word: str, reason: str) -> None:
        job.error = failure(word)
        self._log(job.name, "variable %r is null on the page: it %s (logged once)", job.label, reason)

    def caught(self, name: str, label: str, exception: BaseException) -> dict[str, str]:
        """The entry of `pyvars.errors` for an exception, which is logged, once for each `name`."""
        if isinstance(exception, NotJSONError | TooLargeError):
            self._log(name, "variable %r is null on the page: JSON cannot hold it: %s (logged once)", label, exception)
            return failure(exception.word)
        self._log(name, "variable %r is null on the page: it raised (logged once)", label, exc_info=exception)
        return failure(type_name(exception))

    def cut(self, label: str) -> dict[str, str]:
        """The entry of `pyvars.errors` for a variable of which a text is cut."""
        self._log(label, "variable %r is cut on the page: a text in it is too long (logged once)", label)
        return failure(TRUNCATED)

    def _log(self, name: str, text: str, *about: object, exc_info: BaseException | None = None) -> None:
        if name in self._logged:
            return
        self._logged[name] = None
        if len(self._logged) > MAX_LOGGED:
            self._logged.pop(next(iter(self._logged)), None)
        warn(text, *about, exc_info=exc_info)


class _RunnerThread(Thread):
    """A thread that runs jobs from a queue until the queue is empty, or until it is abandoned with a job that hangs."""

    def __init__(self, runner: FunctionRunner, waiting: deque[Job]) -> None:
        super().__init__(name="pyvars-functions", daemon=True)
        self._runner = runner
        self._waiting = waiting
        self._lock = Lock()  # for _current, _since and _abandoned
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
        """Run the next job. Returns False if there is none, or if the thread is abandoned."""
        with self._lock:
            if self._abandoned or not self._waiting:
                return False
            job = self._waiting.popleft()
            if self._runner.is_stuck(job):  # it hangs on this page under another name
                self._runner.give_up_stuck(job)
                return True
            self._current, self._since = job, monotonic()
        value, error = None, None
        try:
            value = encode_user_value(called(job.var.snapshot))
        except BaseException as exception:  # even SystemExit and KeyboardInterrupt of a function end nothing
            error = self._runner.caught(job.name, job.label, exception)
        with self._lock:
            self._current = None
            if self._abandoned:
                self._runner._stuck.pop(id(job.function), None)
            else:
                job.value, job.error = value, error
        return not self._abandoned

    def wait_or_abandon(self, deadline: float) -> Job | None:
        """Wait until the queue is empty, and return None; or give up the job that takes too long, and return it.

        A job takes too long after FUNCTION_TIMEOUT_SECONDS, or at the deadline. The thread is abandoned to it.
        """
        while True:
            with self._lock:
                current, until = self._current, min(self._since + FUNCTION_TIMEOUT_SECONDS, deadline)
            if self._done.wait(max(0.0, until - monotonic())):
                return None
            with self._lock:
                # Asked by the job and not by the clock, which a program may have stopped (freezegun).
                if self._current is not current:
                    continue
                self._abandoned = True
                if self._current is not None:  # pragma: no branch - else it is between two jobs: no test can time that
                    self._runner._stuck[id(self._current.function)] = self._current.function
                return self._current


_NAME: Callable[[type], str] = type.__dict__["__name__"].__get__


def type_name(exception: BaseException) -> str:
    """The name of the class of an exception, read by `type` itself: a metaclass of the program may return no text."""
    return _NAME(type(exception))[:MAX_TYPE_CHARACTERS]


def failure(word: str) -> dict[str, str]:
    """An entry of `pyvars.errors`: type and time. Never the text of an exception, which may hold anything."""
    return {"type": word, "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")}


FUNCTIONS: FunctionRunner = FunctionRunner()
"""The FunctionRunner of this process: a function is not called twice at once, however many pages show it."""

resources.hold(__name__, "threads that run functions", in_child=FUNCTIONS.reset)
