"""Reads /proc: the status of this process, once for all built-in variables that need it; and the stat of any process.

Where there is no /proc psutil tells the same, if it can. Else what is raised says which file is missing.
"""

import os
import re
from contextlib import suppress
from math import floor
from typing import TYPE_CHECKING

from pyvars.core.clock import since_boot, wall
from pyvars.core.own_file import read
from pyvars.runtime.reading import Reading

if TYPE_CHECKING:
    import psutil

__all__ = (
    "STATUS",
    "booted",
    "exists",
    "is_stopped",
    "of_process",
    "portable",
    "start_ticks",
    "stat_of",
    "status",
    "wall_time",
)

# Memory lines are `VmRSS:	    1676 kB`; Threads has no unit. https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
_LINE = re.compile(rb"^(VmRSS|RssAnon|RssFile|RssShmem|VmStk|VmSwap|Threads):\s+(\d+)(?: (kB))?", re.MULTILINE)

_STEP_SECONDS = 1.0
"""By how much somebody has to set the clock before times since the epoch are derived anew."""


def status(root: str = "/proc") -> dict[str, int]:
    """Returns the memory lines in bytes, and Threads, of /proc/self/status.

    Raises:
        OSError: the file cannot be read, and psutil does not tell either.
    """
    try:
        text = read(f"{root}/self/status")
    except FileNotFoundError:
        process = portable(root)
        if process is None:
            raise
        memory = process.memory_info().rss
        return {"VmRSS": memory, "RssAnon": memory, "Threads": process.num_threads()}
    begin = max(0, text.find(b"VmHWM"))  # scanning the lines before takes the regular expression 3 us
    return {name.decode(): int(number) * (1024 if kib else 1) for name, number, kib in _LINE.findall(text, begin)}


def portable(root: str = "/proc") -> "psutil.Process | None":
    """This process as psutil sees it, off Linux; None where /proc tells, or should: psutil reads it there, too."""
    if os.path.exists(f"{root}/self/stat"):
        return None
    with suppress(Exception):
        import psutil

        return psutil.Process()
    return None


def stat_of(pid: int | str, root: str = "/proc") -> list[bytes]:
    """The fields of /proc/<pid>/stat from the third on; the second, the name, may hold anything.

    Raises:
        OSError: the file cannot be read.
    """
    return read(f"{root}/{pid}/stat").rpartition(b")")[2].split()


def start_ticks(fields: list[bytes]) -> int:
    """When the process started, in clock ticks since boot, given the result of `stat_of`: field 22."""
    return int(fields[19])


def exists(pid: int) -> bool:
    """Whether there is a process with this pid, also one that /proc hides. Not for Windows."""
    if not 0 < pid < 2**31:  # 0 would be the group of this process; and the name of a file may hold any number
        return False
    try:
        os.kill(pid, 0)
    except OSError as error:  # also if it is of another user
        return not isinstance(error, ProcessLookupError)
    return True


def of_process(pid: int, root: str = "/proc") -> dict[str, float | None]:
    """Returns start, CPU time, RSS and threads of any process (/proc/<pid>/stat; psutil off Linux).

    Zeros if it has ended, None if they cannot be read now.
    """
    found: tuple[float | None, ...] = None, None, None, None
    with suppress(Exception):  # no file descriptor is left, for example; psutil raises whatever the system says
        found = _of_linux(pid, root) if portable(root) is None else _portable(pid)
    return dict(zip(("start_time_seconds", "cpu_seconds", "rss_bytes", "threads"), found, strict=True))


def _of_linux(pid: int, root: str) -> tuple[float, ...]:
    try:
        fields = stat_of(pid, root)
    except (FileNotFoundError, ProcessLookupError):
        if exists(pid):
            raise
        return 0.0, 0.0, 0, 0
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    cpu = (int(fields[11]) + int(fields[12])) / tick
    return wall_time(start_ticks(fields) / tick), cpu, int(fields[21]) * page, int(fields[17])


def is_stopped(pid: int, root: str = "/proc") -> bool:
    """Whether a signal (SIGSTOP) or a debugger has stopped the process; False if that cannot be read now."""
    with suppress(Exception):  # as in `of_process`
        if portable(root) is None:
            return stat_of(pid, root)[0] in (b"T", b"t")
        import psutil

        return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    return False


def _portable(pid: int) -> tuple[float, ...]:
    import psutil

    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        return process.create_time(), times.user + times.system, process.memory_info().rss, process.num_threads()
    except psutil.NoSuchProcess:
        return 0.0, 0.0, 0, 0


_booted = 0.0


def booted() -> float:
    """When the machine started, in seconds since the epoch. It changes when somebody sets the clock by over a second.

    What is kept of a moment is the time since then; only what is shown is since the epoch.
    """
    global _booted
    now = wall() - since_boot()
    if abs(now - _booted) > _STEP_SECONDS:
        _booted = now
    return _booted


def wall_time(seconds: float) -> float:
    """The time since the epoch of a moment that is given in seconds since the machine started.

    The start of the machine counts as a whole second, as in `btime` of /proc/stat: so ps and Prometheus say the same.
    """
    return floor(booted()) + seconds


STATUS: Reading[dict[str, int]] = Reading(status)
"""The status of this process, at most 100 ms old."""
