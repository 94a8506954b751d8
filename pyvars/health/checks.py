"""Health checks: functions of the program that check whether it works. Each call runs in a thread of its own.

All checks run at the same time, each with its own timeout, and the response waits for the slowest. Two calls of one
check never overlap. The functions of a page, in contrast, share a few threads and one deadline (collect/functions.py).
"""

from collections.abc import Callable, Mapping
from threading import Event, Lock, Thread
from typing import TypeVar

from pyvars.collect.functions import type_name
from pyvars.core import resources
from pyvars.core.clock import monotonic
from pyvars.core.functions import Func, is_delayed
from pyvars.core.log import warn
from pyvars.core.sharing import moved
from pyvars.errors import DuplicateNameError, warn_caller

__all__ = ("CHECKS", "MAX_TIMEOUT_SECONDS", "Checks", "check", "delete")

F = TypeVar("F", bound=Callable[[], object])

MAX_NAME_BYTES = 255
MAX_TIMEOUT_SECONDS: float = 60.0
REUSE_SECONDS = 1.0
"""The minimum time between two runs of the checks for requests that the access rule refuses."""
LOG_SECONDS = 60.0
"""The minimum time between two log records of one check."""

TIMEOUT = "timeout"
"""The reason of a check that did not return within its timeout."""


class Call:
    """One call of the function of a check, shared by all requests that come while it runs."""

    def __init__(self, check: "Check") -> None:
        self._check = check
        self._done = Event()
        self._reason = ""  # never the text of an exception: that may hold anything
        self.started: float = monotonic()
        """When the call began, on the clock of `time.monotonic`."""
        self.ended: float | None = None
        """When the function returned, on the clock of `time.monotonic`; None while it runs."""

    def start(self) -> None:
        """Run the function in a thread of its own."""
        try:
            Thread(target=self._run, name="pyvars-check", daemon=True).start()
        except Exception as error:  # no more threads, no memory for one, or the interpreter shuts down
            self._end("no thread", error)

    def _run(self) -> None:
        try:
            value = self._check.function.snapshot()
        except BaseException as error:  # SystemExit or KeyboardInterrupt of a check must not end the thread either
            self._end(type_name(error), error)
        else:
            self._end("returned False" if value is False else "", None)

    def _end(self, reason: str, exception: BaseException | None) -> None:
        self._reason, self.ended = reason, monotonic()
        if reason:  # logged here, since keeping the exception would keep all objects of its frames alive
            self._check.log(reason, exception)
        self._done.set()

    def wait(self, seconds: float) -> str:
        """Wait for the call, up to `seconds` after its start. Returns why the check failed; empty if it passed."""
        until = self.started + seconds
        self._done.wait(max(0.0, until - monotonic()))
        return self._reason if self.ended is not None and self.ended <= until else TIMEOUT


class Check:
    """One health check: a name, a function and a timeout. Thread-safe."""

    def __init__(self, name: str, function: Func, timeout: float) -> None:
        self.name: str = name
        self.function: Func = function
        self.timeout: float = timeout
        """The time in seconds after which a call has failed."""
        self._logged_at = -LOG_SECONDS
        self.reset()

    def reset(self) -> None:
        """Forget the call that runs: in a forked child its thread is gone."""
        self._lock = Lock()
        self._call: Call | None = None

    def call(self) -> Call:
        """The call that runs, or a new one: a function that hangs is not called again before it returns."""
        with self._lock:
            call = self._call
            if call is None or call.ended is not None:
                call = self._call = Call(self)
                call.start()
            return call

    def log(self, reason: str, exception: BaseException | None = None) -> None:
        """Log why the check failed, once a minute at most."""
        now = monotonic()
        if now - self._logged_at >= LOG_SECONDS:
            self._logged_at = now
            warn("the health check %r failed: %s (logged once a minute)", self.name, reason, exc_info=exception)


class Checks:
    """Health checks by name. Thread-safe; a forked child has the same checks."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}  # replaced as a whole, never changed: so reading takes no lock
        self.reset()

    def reset(self) -> None:
        """Forget the calls that run: in a forked child their threads are gone."""
        self._lock = Lock()
        self._turn = Lock()
        self._latest: tuple[float, object, Mapping[str, str]] = (0.0, None, {})
        for each in self._checks.values():
            each.reset()

    def __bool__(self) -> bool:
        return bool(self._checks)

    def add(self, new: Check, *, exist_ok: bool) -> None:
        """Add a check. With `exist_ok` it replaces the check that has its name already."""
        with self._lock:
            present = self._checks.get(new.name)
            if present is None:
                self._checks = {**self._checks, new.name: new}
                return
        if not exist_ok:
            raise DuplicateNameError(
                f"there is a check {new.name!r} already; take another name, delete it first, or replace it with"
                " exist_ok=True (a module that is run and also imported adds its checks twice)"
            )
        text = moved(new.name, present.function, new.function)
        if text:
            warn_caller(text)  # before the replacement: with warnings as errors, nothing is replaced
        with self._lock:
            self._checks = {**self._checks, new.name: new}

    def delete(self, name: str) -> None:
        """Remove a check. An unknown name is ignored."""
        with self._lock:
            self._checks = {other: each for other, each in self._checks.items() if other != name}

    def run(self) -> Mapping[str, str]:
        """Call all checks. Returns the reason of each failing one, by name, after the longest timeout at most."""
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
        """The result of `run`: the latest one, or a new one if the latest is at least a second old.

        While one refused request runs the checks, others get the latest result. So many refused requests neither run
        the checks continuously nor occupy all threads of the server.
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
"""The health checks of this process."""

resources.hold(__name__, "threads that run checks", in_child=CHECKS.reset)


def check(name: str, *, timeout: float = 1.0, exist_ok: bool = False) -> Callable[[F], F]:
    """A decorator that makes a function without arguments a health check, which `/status/health` calls.

        @check("db", timeout=1)
        def db() -> None:
            pool.execute("select 1")

    The check passes if the function returns within `timeout` seconds, and returns anything but False; it fails if it
    raises. All checks run at the same time, each in a thread of pyvars. Two calls of one check never overlap: a request
    that comes while a call runs waits for that call, and a function that hangs is not called again before it returns.
    The decorator returns the function unchanged. With `exist_ok=True` the name may be taken, because a module runs
    twice: the later check replaces the first. Thread-safe; forked children have the same checks.

    Raises:
        TypeError: `name` is not a str, `timeout` not a number, or `exist_ok` not a bool; the function takes arguments,
            or is a coroutine or generator function.
        ValueError: `name` is empty, unprintable or over 255 bytes; `timeout` is 0 or less, or over 60 seconds.
        DuplicateNameError: there is a check of that name.

    Warns:
        PyvarsWarning: with `exist_ok=True` it replaces a check that is defined in another place.
    """
    if not isinstance(name, str):
        raise TypeError(f'write @check("name") with the name, which is a str; got {name!r}')
    if not name or not name.isprintable() or len(name.encode()) > MAX_NAME_BYTES:
        raise ValueError(f"the name of a check is printable text of 1 to {MAX_NAME_BYTES} bytes, got {name!r}")
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout is a number of seconds, got {timeout!r}")
    if not isinstance(exist_ok, bool):
        raise TypeError(f"exist_ok is True or False, got {exist_ok!r}")
    if not 0 < timeout <= MAX_TIMEOUT_SECONDS:
        raise ValueError(f"timeout must be above 0 and at most {MAX_TIMEOUT_SECONDS:.0f} seconds, got {timeout!r}")

    def decorate(function: F) -> F:
        if not callable(function):
            raise TypeError(f"@check({name!r}) decorates a function without arguments, got {function!r}")
        if is_delayed(function):
            raise TypeError(
                f"@check({name!r}): {function!r} is a coroutine or generator function, but a check is called in a"
                " thread that has no event loop. Write a plain function, which can run a coroutine on the loop of the"
                " program: asyncio.run_coroutine_threadsafe(coroutine(), loop).result()"
            )
        try:
            plain = Func(function)
        except TypeError as error:
            raise TypeError(f"@check({name!r}): {error}") from None
        CHECKS.add(Check(name, plain, timeout), exist_ok=exist_ok)
        return function

    return decorate


def delete(name: str) -> None:
    """Remove the health check of that name. An unknown name is ignored.

    Raises:
        TypeError: `name` is no str.
    """
    if not isinstance(name, str):
        raise TypeError(f"delete(name): the name is a str, got {name!r}")
    CHECKS.delete(name)
