"""Failures of variables: their entries in `pyvars.errors`, and their lines in the log.

Each failure is logged once, so a page that is read every few seconds does not fill the log.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from threading import Lock

from pyvars.core.log import warn

__all__ = ("LoggedOnce", "failure", "type_name")

MAX_NAMES = 1000
"""The maximum number of names that are remembered. A program may publish ever new names."""
MAX_FAILURES = 10
"""The maximum number of failures that are logged for one name. A Map may hold any number of functions."""
MAX_TYPE_CHARACTERS = 255
"""The maximum length of the name of an exception class on the page."""


class LoggedOnce:
    """Logs each kind of failure of each variable once. Of over MAX_NAMES names it forgets the oldest. Thread-safe."""

    def __init__(self) -> None:
        self._logged: dict[str, set[tuple[str, str]]] = {}  # in the order of the first failures
        self._lock = Lock()

    def warn(
        self, name: str, label: str, word: str, text: str, *about: object, exc_info: BaseException | None = None
    ) -> None:
        """Log `text` with the label and `about`, unless the variable with this label has failed in this way before.

        `name` is the name on the page, and `word` tells the kind of failure.
        """
        with self._lock:
            logged = self._logged.setdefault(name, set())
            if (label, word) in logged or len(logged) >= MAX_FAILURES:
                return
            logged.add((label, word))
            if len(self._logged) > MAX_NAMES:
                del self._logged[next(iter(self._logged))]
        warn(text, label, *about, exc_info=exc_info)


_NAME: Callable[[type], str] = type.__dict__["__name__"].__get__


def type_name(exception: BaseException) -> str:
    """The name of the class of an exception, read from `type`, since a metaclass might return something else."""
    return _NAME(type(exception))[:MAX_TYPE_CHARACTERS]


def failure(word: str) -> dict[str, object]:
    """An entry of `pyvars.errors`: type, and time in UTC. Never the text of an exception, which may have secrets."""
    return {"type": word, "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")}
