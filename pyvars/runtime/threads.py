"""`threads`: threads of the program. Sources: threading.enumerate; `Threads` of /proc/self/status."""

import threading
from collections.abc import Callable, Sequence

from pyvars.runtime.combine import Row, totals
from pyvars.runtime.proc import STATUS
from pyvars.runtime.reading import Reading
from pyvars.runtime.texts import cut, plain

__all__ = ("Threads",)

MAX_NAMES = 100

_NAME: Callable[[threading.Thread], object] = vars(threading.Thread)["name"].__get__
_DAEMON: Callable[[threading.Thread], bool] = vars(threading.Thread)["daemon"].__get__


class Threads:
    """Counts and names. The names are an array of strings, not keys, since readers make a series of each key."""

    def __init__(self) -> None:
        self._threads = Reading(self._read)
        self.truncated: bool = False
        """Whether a name is cut."""

    def figures(self) -> dict[str, object]:
        """Returns the figures:

        `count` of Python threads, `daemon` of those that are daemons, `native` of all that the kernel knows (0 off
        Linux); `names` of the Python threads, sorted, 100 at most. Names and daemons are read as Thread itself keeps
        them: what a subclass overrides may run any code.
        """
        return self._threads.get()

    @staticmethod
    def combined(rows: Sequence[Row]) -> dict[str, object]:
        """Returns sums over the workers; the names are those of the worker that answers."""
        return {**rows[0], **totals(rows, ("count", "daemon", "native"))}

    def _read(self) -> dict[str, object]:
        alive = threading.enumerate()
        names, self.truncated = cut(sorted(plain(_NAME(thread)) for thread in alive)[:MAX_NAMES])
        return {
            "count": len(alive),
            "daemon": sum(map(_DAEMON, alive)),
            "native": STATUS.get().get("Threads", 0),
            "names": names,
        }
