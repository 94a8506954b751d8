"""`threads`: threads of the program. Sources: threading.enumerate; `Threads` of /proc/self/status, or psutil."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from pyvars.runtime.combine import Row, totals
from pyvars.runtime.proc import STATUS
from pyvars.runtime.reading import Reading
from pyvars.runtime.texts import cut, plain

__all__ = ("Threads",)

MAX_NAMES = 100

# Taken from the class itself: gevent replaces Thread by a subclass.
_NAME: Callable[[threading.Thread], object] = cast("property", threading.Thread.name).__get__
_DAEMON: Callable[[threading.Thread], bool] = cast("property", threading.Thread.daemon).__get__


class Threads:
    """Counts and names. The names are an array of strings, not keys, since readers make a series of each key."""

    def __init__(self) -> None:
        self._threads = Reading(self._read)
        self.truncated: bool = False
        """Whether a name is cut."""
        self.missing: Mapping[str, Exception] = {}
        """The figures that are absent, and what was raised instead."""

    def figures(self) -> dict[str, object]:
        """Returns the figures:

        `count` of Python threads, `daemon` of those that are daemons, `native` of all that the kernel knows (absent
        if it does not tell); `names` of the Python threads, sorted, 100 at most. Names and daemons are read as Thread
        itself keeps them: what a subclass overrides may run any code.
        """
        return self._threads.get()

    @staticmethod
    def combined(rows: Sequence[Row]) -> dict[str, object]:
        """Returns sums over the workers; the names are those of the worker that answers."""
        return {**rows[0], **totals(rows, [key for key in ("count", "daemon", "native") if key in rows[0]])}

    def _read(self) -> dict[str, object]:
        alive = threading.enumerate()
        names, self.truncated = cut(sorted(plain(_NAME(thread)) for thread in alive)[:MAX_NAMES])
        native, self.missing = _native()
        return {"count": len(alive), "daemon": sum(map(_DAEMON, alive)), **native, "names": names}


def _native() -> tuple[dict[str, int], dict[str, Exception]]:
    try:
        return {"native": STATUS.get()["Threads"]}, {}
    except (OSError, KeyError) as error:
        return {}, {"native": error}
