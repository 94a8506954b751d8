"""The checks: functions of the program that say whether it is well. Each runs in a thread of ours, never twice at once.

A page's functions take turns under one deadline (site/collect.py), since a page waits for all of them and one must not
cost it the others. Checks run side by side, since each has a time of its own and the answer is as slow as the slowest.
"""

from collections.abc import Callable, Mapping
from threading import Event, Lock, Thread
from time import monotonic
from typing import TypeVar

from pyvars.collect.functions import type_name
from pyvars.collect.log import warn
from pyvars.core import resources
from pyvars.core.functions import Func
from pyvars.errors import DuplicateNameError

__all__ = ("CHECKS", "MAX_TIMEOUT_SECONDS", "Checks", "check", "delete")

F = TypeVar("F", bound=Callable[[], object])

MAX_NAME_BYTES = 255
MAX_TIMEOUT_SECONDS: float = 60.0
REUSE_SECONDS = 1.0
"""Requests that may not look have the checks run this often at most."""
LOG_SECONDS = 60.0

TIMEOUT = "timeout"


class Call:
    """One call of a check's function, for all who ask while it runs."""

    def __init__(self, check: "Check") -> None:
        self._check = check
        self._done = Event()
        self._reason = ""  # never the text of an exception: that may hold anything
        self.started: float = monotonic()
        self.ended: float | None = None
        """When it returned, on the clock of `time.monotonic`; None while it runs."""

    def start(self) -> None:
        """Run the function in a thread of its own."""
        try:
            Thread(target=self._run, name="pyvars-check", daemon=True).start()
        except RuntimeError as error:  # no more threads, or the interpreter is on its way out
            self._end("no thread", error)

    def _run(self) -> None:
        try:
            value = self._check.function.snapshot()
        except BaseException as error:  # SystemExit and KeyboardInterrupt of a check end nothing here
            self._end(type_name(error), error)
        else:
            self._end("returned False" if value is False else "", None)

    def _end(self, reason: str, exception: BaseException | None) -> None:
        self._reason, self.ended = reason, monotonic()
        if reason:  # here, since an exception that was kept would keep all that its frames hold
            self._check.log(reason, exception)
        self._done.set()

    def wait(self, seconds: float) -> str:
        """Why it did not pass, once it has returned or has run for so many seconds."""
        until = self.started + seconds
        self._done.wait(max(0.0, until - monotonic()))
        return self._reason if self.ended is not None and self.ended <= until else TIMEOUT


class Check:
    """A function that says whether something works, and how long it may take. Thread-safe."""

    def __init__(self, name: str, function: Func, timeout: float) -> None:
        self.name: str = name
        self.function: Func = function
        self.timeout: float = timeout
        self._said = -LOG_SECONDS
        self.reset()

    def reset(self) -> None:
        """Forget the call that runs, which after a fork runs no more."""
        self._lock = Lock()
        self._call: Call | None = None

    def call(self) -> Call:
        """The call that runs, or a new one: what hangs is not started again before it returns."""
        with self._lock:
            call = self._call
            if call is None or call.ended is not None:
                call = self._call = Call(self)
                call.start()
            return call

    def log(self, reason: str, exception: BaseException | None = None) -> None:
        """Say why it failed, once a minute."""
        now = monotonic()
        if now - self._said >= LOG_SECONDS:
            self._said = now
            warn("the health check %r failed: %s (said once a minute)", self.name, reason, exc_info=exception)


class Checks:
    """Checks by name. Thread-safe; a forked child has the same ones."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}  # replaced as a whole
        self.reset()

    def reset(self) -> None:
        """Forget what runs, which after a fork runs no more."""
        self._lock = Lock()
        self._turn = Lock()
        self._latest: tuple[float, object, Mapping[str, str]] = (0.0, None, {})
        for each in self._checks.values():
            each.reset()

    def __bool__(self) -> bool:
        return bool(self._checks)

    def add(self, new: Check, *, exist_ok: bool) -> None:
        """Take the check in; with `exist_ok` the one that has its name stays instead."""
        with self._lock:
            if new.name not in self._checks:
                self._checks = {**self._checks, new.name: new}
                return
        if not exist_ok:
            raise DuplicateNameError(
                f"there is a check {new.name!r} already; take another name, delete it first, or keep the first with"
                " exist_ok=True (a module that is run and also imported adds its checks twice)"
            )

    def delete(self, name: str) -> None:
        """Take a check off."""
        with self._lock:
            self._checks = {other: each for other, each in self._checks.items() if other != name}

    def run(self) -> Mapping[str, str]:
        """Why each of those that fail does so now, by name; in no more than the longest of their timeouts."""
        checks = self._checks
        calls = [(each, each.call()) for each in checks.values()]
        failing: dict[str, str] = {}
        for each, call in calls:
            reason = call.wait(each.timeout)
            if reason:
                failing[each.name] = reason
            if reason == TIMEOUT:
                each.log(reason)
        self._latest = monotonic(), checks, failing
        return failing

    def recent(self) -> Mapping[str, str]:
        """The same, from at most a second ago, or from before if somebody has them run already.

        So who may not look, and asks without end, has neither checks run without end nor threads of ours wait.
        """
        at, checks, failing = self._latest
        if checks is not self._checks:
            return self.run()
        if monotonic() - at < REUSE_SECONDS or not self._turn.acquire(blocking=False):
            return failing
        try:
            return self.run()
        finally:
            self._turn.release()


CHECKS: Checks = Checks()
"""The checks of this process."""

resources.hold(__name__, "threads that run checks", in_child=CHECKS.reset)


def check(name: str, *, timeout: float = 1.0, exist_ok: bool = False) -> Callable[[F], F]:
    """A decorator for a function without arguments that says whether something works: `/status/health` calls it.

        @check("db", timeout=1)
        def db() -> None:
            pool.execute("select 1")

    It passes if it returns within `timeout` seconds, and not False; it fails if it raises. All checks run side by side,
    each in a thread of pyvars, never two calls of one at once: who asks while one runs waits for that call, and one
    that hangs is not called again before it returns. The function comes back unchanged. With `exist_ok=True` a name
    that is taken is no error: the check that has it stays. Thread-safe; forked children have the same checks.

    Raises:
        TypeError: `name` is no str; `timeout` no number; the function takes arguments, or is a coroutine function.
        ValueError: `name` is empty, unprintable or over 255 bytes; `timeout` is not over 0 and up to 60 seconds.
        DuplicateNameError: there is a check of that name.
    """
    if not isinstance(name, str):
        raise TypeError(f'write @check("name") with the name, which is a str; got {name!r}')
    if not name or not name.isprintable() or len(name.encode()) > MAX_NAME_BYTES:
        raise ValueError(f"the name of a check is printable text of 1 to {MAX_NAME_BYTES} bytes, got {name!r}")
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout is a number of seconds, got {timeout!r}")
    if not 0 < timeout <= MAX_TIMEOUT_SECONDS:
        raise ValueError(f"timeout is over 0 and up to {MAX_TIMEOUT_SECONDS:.0f} seconds, got {timeout!r}")

    def decorate(function: F) -> F:
        try:
            plain = Func(function)
        except TypeError as error:
            raise TypeError(f"@check({name!r}) takes the functions that publish takes: {error}") from None
        CHECKS.add(Check(name, plain, timeout), exist_ok=exist_ok)
        return function

    return decorate


def delete(name: str) -> None:
    """Take the check of that name off. An unknown name is no error."""
    CHECKS.delete(name)
