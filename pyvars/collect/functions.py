"""The published functions of a page: they are called when the page is requested, and shown if they return in time.

A page calls each function that does not run already (`pyvars.collect.calls`), and waits for all of them until its
deadline, with two exceptions. If a function has a value from the last 10 s (MAX_AGE_SECONDS), or its call began before
the page was requested, the page waits only until that call has run for a quarter of the page's time, and at least for
50 ms. If a function has no such value, and a busy machine has not started it yet, the page waits up to a second
(LATEST_SECONDS). If a function has not returned, the page shows its value from the last 10 s, marked `stale`. If there
is no such value, the page shows null with an error: `timeout` if the function runs, `busy` if it was not started, or
`skipped` if no thread is free.
"""

import threading
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any, NamedTuple, cast

import pyvars
from pyvars.access.request import DEADLINE_SECONDS
from pyvars.collect.background import Background
from pyvars.collect.calls import HANDOVER_SECONDS, Call, CallThreads, Outcome
from pyvars.collect.failures import LoggedOnce, failure, type_name
from pyvars.core import resources
from pyvars.core.clock import monotonic
from pyvars.core.functions import Func, called
from pyvars.core.threads import threads_run
from pyvars.core.variables import Var
from pyvars.formats.json import Fragment, NotJSONError, TooLargeError
from pyvars.formats.user_values import encode_user_value

__all__ = ("FUNCTIONS", "FunctionRunner", "Job", "Round", "Times", "failure", "type_name")

MAX_THREADS = 8
"""The maximum number of threads that run functions."""
LATEST_SECONDS = 1.0
"""The maximum time after its arrival for which a request waits for a function that a busy machine has not started."""
MAX_AGE_SECONDS = 10.0
"""The maximum age of a value that is shown because the function has not returned."""
MISSED_PERIODS = 3
"""A value of a function with `every` is stale when it is older than this number of periods."""
FORGET_SECONDS = 60.0
"""How long the state of a function is kept after the last page that asked for it."""

BUSY = "busy"
"""The error of a function that a busy machine did not start in time."""
SKIPPED = "skipped"
"""The error of a function for which there is no thread."""
STALE = "stale"
"""The error of a function whose value is that of an earlier call."""
TIMEOUT = "timeout"
"""The error of a function that did not return in time, or has not returned from an earlier call."""
TRUNCATED = "truncated"
"""The error of a variable with a text that is too long, and so is cut."""

INCOMPLETE = "incomplete"
"""The error of sums in which numbers of some workers are missing."""


class Times(NamedTuple):
    """When a page was requested, and until when it waits for functions, by `monotonic`."""

    arrived: float
    """When the page was requested. If a call ends after that, its value is current."""
    deadline: float
    """When the page must be ready."""
    latest: float
    """When the page must be ready even if a busy machine has not started the functions."""

    @classmethod
    def of_request(cls, deadline: float) -> "Times":
        """The times for an HTTP request with this deadline."""
        arrived = min(monotonic(), deadline - DEADLINE_SECONDS)
        return cls(arrived, deadline, max(deadline, arrived + LATEST_SECONDS))

    @classmethod
    def of_question(cls, deadline: float) -> "Times":
        """The times for a question of a peer, which never waits past the deadline."""
        return cls(monotonic(), deadline, deadline)

    @property
    def handover(self) -> float:
        """How many seconds a call gets if the page can show an earlier value: 50 ms, or a quarter of its time."""
        return max(HANDOVER_SECONDS, (self.deadline - self.arrived) / 4)


class Job:
    """One function on one page. After the run it has a value, an error, or both if the value is stale."""

    __slots__ = ("call", "error", "every", "function", "label", "name", "periodic", "value", "var")

    def __init__(self, name: str, label: str, var: Var) -> None:
        self.name: str = name
        """The name on the page of the variable, or of the composite that holds the variable."""
        self.label: str = label
        """The name of the variable itself, with the keys that lead to it: `orders.open`."""
        self.var: Var = var
        self.function: object = getattr(var, "_function", var) if issubclass(type(var), Func) else var
        """The function. Two calls of it for pages must not overlap, even if several Funcs or names have it."""
        func = cast("Func", var) if issubclass(type(var), Func) else None
        self.every: float | None = func.every if func is not None else None
        self.periodic: Func | None = func if self.every is not None else None
        """The variable, if its function is called in the background; else None."""
        self.call: Call | None = None
        self.value: Fragment | None = None
        self.error: dict[str, object] | None = None

    @property
    def is_combined(self) -> bool:
        """Whether its values in several workers are combined."""
        # The class decides: an object of the program may have any attribute `combine`, or raise when it is read.
        return issubclass(type(self.var), Func) and getattr(self.var, "combine", None) is not None


class Round:
    """The calls for one page, and how long the page waits for them."""

    def __init__(self, threads: CallThreads, calls: Iterable[Call], times: Times) -> None:
        self._threads = threads
        self._calls = list(calls)
        self._times = times

    def seconds(self) -> float | None:
        """The seconds that the page may wait before it calls this again; None: wait no longer. May start a thread."""
        moment = monotonic()
        untils = [until for call in self._calls if (until := self._until(call, moment)) > moment]
        if not untils:
            return None
        self._threads.grow()
        if any(call.waiting for call in self._calls):  # once such a call runs, it has other limits: look again then
            untils.append(moment + HANDOVER_SECONDS)
        return min(untils) - moment

    def _until(self, call: Call, moment: float) -> float:
        """The moment until which the page waits for this call, by `monotonic`; 0 if the page does not wait for it."""
        times, since = self._times, call.running_since
        shows = call.ended_since(moment - MAX_AGE_SECONDS)
        if since:
            if shows or since < times.arrived:
                return min(since + times.handover, times.deadline)
            return max(times.deadline, min(since + HANDOVER_SECONDS, times.latest))
        if not call.waiting or self._threads.is_full():
            return 0.0
        return times.deadline if shows else times.latest

    def when_back(self, wake: Callable[[], object]) -> None:
        """Call `wake` when all calls have ended: at once, or in the thread of the call that ends last."""
        with self._threads.lock:
            left = [call for call in self._calls if call.waiting or call.running_since]
            countdown = _Countdown(len(left), wake)
            for call in left:
                call.wakes.append(countdown)
        if not left:
            wake()

    def wait(self) -> None:
        """Block this thread until the page should wait no longer."""
        if self.seconds() is None:
            return
        back = threading.Lock()  # looked up now: gevent or eventlet may have replaced it after pyvars was imported
        back.acquire()
        self.when_back(back.release)
        while (seconds := self.seconds()) is not None and not back.acquire(timeout=seconds):
            pass


class _Countdown:
    def __init__(self, count: int, wake: Callable[[], object]) -> None:
        self._count = count
        self._wake = wake
        self._lock = Lock()

    def __call__(self) -> None:
        with self._lock:
            self._count -= 1
            last = self._count == 0
        if last:
            self._wake()


class FunctionRunner:
    """Runs the functions of pages. Thread-safe; in a forked child no call runs."""

    def __init__(self) -> None:
        self._threads = CallThreads("pyvars-functions", at_most=MAX_THREADS)
        self.background: Background = Background(self._outcome_in_background)
        """Calls the functions with `every`."""
        self.reset()

    def reset(self) -> None:
        """Forget the calls: a forked child does not have the threads that run them."""
        self._calls: dict[int, Call] = {}  # by id of the function, since objects of the program need not be hashable
        self._logged = LoggedOnce()

    def begin(self, jobs: Iterable[Job], times: Times) -> Round:
        """Begin to call the function of each job, unless a call runs, or has ended since the page was requested."""
        calls: list[Call] = []
        periodic = False
        moment = monotonic()
        with self._threads.lock:
            self._forget(moment)
            for job in jobs:
                if job.periodic is not None:
                    periodic = True
                    continue
                call = job.call = self._call_of(job)
                call.seen = moment
                calls.append(call)
                if moment < times.deadline and not call.ended_since(times.arrived):
                    self._threads.begin(call)
        self._threads.grow()
        if periodic:
            self.background.start()
        return Round(self._threads, calls, times)

    def run(self, jobs: Iterable[Job], times: Times) -> None:
        """Call the function of each job, and wait. Then each job has its final value or error."""
        jobs = list(jobs)
        if not jobs:
            return
        self.begin(jobs, times).wait()
        self.background.wait_for_first((job.periodic for job in jobs if job.periodic is not None), times.deadline)
        moment = monotonic()
        for job in jobs:
            if job.periodic is not None:
                self._settle_periodic(job, job.periodic, moment)
            else:
                self._settle(job, cast("Call", job.call), times, moment)

    def _call_of(self, job: Job) -> Call:
        key = id(job.function)
        call = self._calls.pop(key, None)
        if call is None:
            call = Call(job.function, lambda: self._outcome(job))
        self._calls[key] = call  # at the end: the dict is in the order in which pages last asked for the functions
        return call

    def _outcome(self, job: Job) -> Outcome:
        # The Func may have another function by now: call the one that this Call is for.
        plain = type(job.var) is Func
        call = cast("Any", job.function) if plain else job.var.snapshot
        return self._called(call, lambda exception: self.caught(job.name, job.label, exception))

    def _outcome_in_background(self, func: Func, call: Callable[[], object]) -> Outcome:
        def caught(exception: BaseException) -> dict[str, object]:
            name = next((name for name, var in pyvars.default_registry.items() if var is func), "")
            function = getattr(func._function, "__qualname__", type(func._function).__qualname__)
            key, kind = (name, "variable") if name else (f"{function} {id(func)}", "function")
            return self.caught(key, name or function, exception, kind)

        return self._called(call, caught)

    def _called(self, call: Callable[[], object], caught: Callable[[BaseException], dict[str, object]]) -> Outcome:
        try:
            return Outcome(encode_user_value(called(call)), None, monotonic())
        except BaseException as exception:  # SystemExit and KeyboardInterrupt of a function end nothing
            return Outcome(None, caught(exception), monotonic())

    def _settle(self, job: Job, call: Call, times: Times, moment: float) -> None:
        outcome = call.outcome
        if outcome is not None and outcome.at >= moment - MAX_AGE_SECONDS:
            job.value, job.error = outcome.value, outcome.error
            if outcome.at < times.arrived and outcome.error is None:
                job.error = {**failure(STALE), "age_seconds": round(moment - outcome.at, 3)}
        elif call.running_since:
            self._set_error(job, TIMEOUT, "has not returned in time, and is not called again before it returns")
        elif self._threads.is_full():
            self._set_error(job, SKIPPED, "was not called: no thread was free for it")
        else:
            self._set_error(job, BUSY, "was not called in time, because the machine is too busy")

    def _settle_periodic(self, job: Job, func: Func, moment: float) -> None:
        outcome = self.background.outcome(func)
        if outcome is None:
            if self.background.refused or not threads_run():
                self._set_error(job, SKIPPED, "is not called, because no thread could be started")
            else:
                self._set_error(job, BUSY, "has not been called yet, or its first call has not returned yet")
            return
        job.value, job.error = outcome.value, outcome.error
        age = moment - outcome.at
        if outcome.error is None and age > MISSED_PERIODS * cast("float", job.every):
            job.error = {**failure(STALE), "age_seconds": round(age, 3)}

    def _forget(self, moment: float) -> None:
        """Drop the Calls that no page has asked for in FORGET_SECONDS, and that neither wait nor run."""
        past: list[int] = []
        for key, call in self._calls.items():  # those that pages have asked for last are at the end
            if moment - call.seen < FORGET_SECONDS:
                break
            if not (call.waiting or call.running_since):
                past.append(key)
        for key in past:
            del self._calls[key]

    def _set_error(self, job: Job, word: str, reason: str) -> None:
        job.error = failure(word)
        self._logged.warn(job.name, job.label, word, f"variable %r is null on the page: it {reason} (logged once)")

    def caught(self, name: str, label: str, exception: BaseException, kind: str = "variable") -> dict[str, object]:
        """Log the exception, once for each label and type. Returns its entry in `pyvars.errors`."""
        if isinstance(exception, NotJSONError | TooLargeError):
            text = f"{kind} %r is null on the page: JSON cannot hold it: %s (logged once)"
            self._logged.warn(name, label, exception.word, text, exception)
            return failure(exception.word)
        word = type_name(exception)
        text = f"{kind} %r is null on the page: it raised (logged once)"
        self._logged.warn(name, label, word, text, exc_info=exception)
        return failure(word)

    def cut(self, label: str) -> dict[str, object]:
        """Log, once for each label, that a text in the variable is cut. Returns its entry in `pyvars.errors`."""
        self._logged.warn(
            label, label, TRUNCATED, "variable %r is cut on the page: a text in it is too long (logged once)"
        )
        return failure(TRUNCATED)

    def missing(self, label: str, exception: Exception) -> dict[str, object]:
        """Log, once for each label and type, that a figure cannot be read. Returns its entry in `pyvars.errors`."""
        word = type_name(exception)
        self._logged.warn(
            label, label, word, "figures of %r are missing; pyvars.errors names them: %s (logged once)", exception
        )
        return failure(word)


FUNCTIONS: FunctionRunner = FunctionRunner()
"""The FunctionRunner of this process. There is only one, so that calls of a function for pages never overlap."""

resources.hold(__name__, "functions that run", in_child=FUNCTIONS.reset)
