"""Finds children of reloaders, so that `pyvars.workers` can say that such a child is not on the page.

The parent process of Django's, Flask's or hupper's reloader only watches files. It starts the child process, which runs
the program, as `python program.py`, without `-m pyvars`.
"""

import os
from contextlib import suppress

from pyvars.core.own_file import read
from pyvars.runtime.proc import stat_of
from pyvars.runtime.reading import Reading

__all__ = ("CHILD_OF_RELOADER", "child_of_reloader")


def child_of_reloader(root: str = "/proc") -> str:
    """A hint for the user if a reloader started a child of this process; empty if not, or if /proc cannot be read."""
    own = str(os.getpid()).encode()
    with suppress(OSError):
        for pid in filter(str.isdecimal, os.listdir(root)):
            with suppress(OSError):  # that process has ended
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
"""The result of `child_of_reloader`, at most 100 ms old, or older if looking it up would take over 1 % of a CPU."""
