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

# The properties of Thread itself; gevent later replaces threading.Thread by a subclass.
_NAME: Callable[[threading.Thread], object] = cast("property", threading.Thread.name).__get__
_DAEMON: Callable[[threading.Thread], bool] = cast("property", threading.Thread.daemon).__get__


class Threads:
    """Numbers and names of threads. The names are a list, since readers would make a time series of each key."""

    def __init__(self) -> None:
        self._threads = Reading(self._read)
        self.truncated: bool = False
        """Whether a name is cut."""
        self.missing: Mapping[str, Exception] = {}
        """The figures that are absent, and the exception that each raised."""

    def figures(self) -> dict[str, object]:
        """Returns the figures:

        `count`, the number of Python threads; `daemon`, how many of them are daemons; `native`, the number of threads
        that the kernel has (absent if it cannot be read); `names` of the Python threads, sorted, at most 100. Names and
        daemons are read with the properties of Thread itself, since those of a subclass may run any code.
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
