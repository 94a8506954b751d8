"""Says on the page that a reloader has the program run in a process that `python -m pyvars` does not reach.

The parent of Django's, Flask's or hupper's reloader only watches files. It starts the child that serves as a plain
`python program.py`, so the child knows nothing of pyvars.
"""

import os
from contextlib import suppress

from pyvars.core.own_file import read
from pyvars.runtime.proc import stat_of
from pyvars.runtime.reading import Reading

__all__ = ("CHILD_OF_RELOADER", "child_of_reloader")


def child_of_reloader(root: str = "/proc") -> str:
    """What to do if a child of this process is that of a reloader; empty if there is none, or /proc does not tell."""
    own = str(os.getpid()).encode()
    with suppress(OSError):
        for pid in filter(str.isdecimal, os.listdir(root)):
            with suppress(OSError):  # it has ended
                if stat_of(pid, root)[1] == own and _is_started_by_reloader(f"{root}/{pid}"):
                    return (
                        f"a reloader runs the program in process {pid}, which is not on this page: call pyvars.serve()"
                        " in the program, instead of python -m pyvars, or turn the reloader off"
                    )
    return ""


def _is_started_by_reloader(process: str) -> bool:
    # RUN_MAIN is Django's, WERKZEUG_RUN_MAIN Flask's. hupper starts `python -c "from hupper.ipc import ..."`.
    return b"RUN_MAIN=true\0" in read(f"{process}/environ") or b"hupper" in read(f"{process}/cmdline")


CHILD_OF_RELOADER: Reading[str] = Reading(child_of_reloader)
"""The same, looked up at most every 100 ms, and for no more than 1 % of a CPU."""
