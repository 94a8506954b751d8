"""Writes warnings to the log of the program, from a thread of pyvars: so a log handler that hangs delays no page."""

import logging
from collections import deque
from threading import Lock, Thread
from typing import Any

from pyvars.core import resources
from pyvars.core.clock import monotonic

__all__ = ("MinuteLog", "warn")

MAX_WAITING = 10_000
"""The maximum number of warnings that wait for the thread; if there are more, the oldest ones are dropped."""

MAX_TEXTS = 100
"""How many texts a MinuteLog remembers."""

_logger = logging.getLogger("pyvars")


class _Writer:
    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._waiting: deque[tuple[tuple[Any, ...], BaseException | None]] = deque(maxlen=MAX_WAITING)
        self._lock = Lock()  # held while the thread starts or ends; not while code of the program runs
        self._running = False

    def write(self, about: tuple[Any, ...], exc_info: BaseException | None) -> None:
        self._waiting.append((about, exc_info))
        with self._lock:
            if self._running:
                return
            self._running = True
        try:
            Thread(target=self._run, name="pyvars-log", daemon=True).start()
        except Exception:  # no more threads, no memory for one, or the interpreter shuts down
            self._running = False

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._running = False
                    return
                about, exc_info = self._waiting.popleft()
            try:
                _logger.warning(*about, exc_info=exc_info)
            except BaseException:  # raised by a log handler or filter of the program: nothing can report it
                continue


_writer = _Writer()
resources.hold(__name__, "thread pyvars-log", in_child=_writer.reset)


def warn(*about: object, exc_info: BaseException | None = None) -> None:
    """Call `logging.getLogger("pyvars").warning(*about, exc_info=...)` soon, in a thread of pyvars.

    Neither blocks nor raises, so it may be called from anywhere. Warnings that wait when the process forks are written
    by the parent only.
    """
    _writer.write(about, exc_info)


class MinuteLog:
    """Logs warnings that requests cause, each at most once a minute. Thread-safe."""

    def __init__(self) -> None:
        self._logged_at: dict[str, float] = {}

    def warn(self, message: str, about: str) -> None:
        """Log `message`, which has one `%s` for `about`, unless `about` was logged in the last 60 s."""
        now = monotonic()
        if now - self._logged_at.get(about, -60.0) >= 60.0:
            if len(self._logged_at) >= MAX_TEXTS:  # an access rule of the program may give each request its own text
                self._logged_at.clear()
            self._logged_at[about] = now
            warn(message, about)
