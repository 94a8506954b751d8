"""`threads`: threads of the program. Sources: threading.enumerate; `Threads` of /proc/self/status."""

import threading
from collections.abc import Sequence

from pyvars.runtime.combine import Row, totals
from pyvars.runtime.proc import STATUS
from pyvars.runtime.reading import Reading

__all__ = ("Threads",)

MAX_NAMES = 100


class Threads:
    """Counts and names. The names are an array of strings, not keys, since readers make a series of each key."""

    def __init__(self) -> None:
        self._threads = Reading(_read)

    def figures(self) -> dict[str, object]:
        """Returns the figures:

        `count` of Python threads, `daemon` of those that are daemons, `native` of all that the kernel knows (0 off
        Linux); `names` of the Python threads, sorted, 100 at most.
        """
        return self._threads.get()

    @staticmethod
    def combined(rows: Sequence[Row]) -> dict[str, object]:
        """Returns sums over the workers; the names are those of the worker that answers."""
        return {**rows[0], **totals(rows, ("count", "daemon", "native"))}


def _read() -> dict[str, object]:
    alive = threading.enumerate()
    return {
        "count": len(alive),
        "daemon": sum(thread.daemon for thread in alive),
        "native": STATUS.get().get("Threads", 0),
        "names": sorted(thread.name for thread in alive)[:MAX_NAMES],
    }
