"""Reads /proc: the status of this process, once for all built-in variables that need it; and the stat of any process.

Where there is no /proc, the functions return what psutil reads, if it can; else they raise an OSError, which names the
missing file.
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
"""If somebody sets the wall clock by more than this, `booted` changes."""


def status(root: str = "/proc") -> dict[str, int]:
    """Returns the memory lines in bytes, and Threads, of /proc/self/status.

    Raises:
        OSError: the file cannot be read, and neither can psutil read the figures.
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
    """This process as psutil sees it, if there is no /proc/self/stat; else None, since psutil then reads /proc, too."""
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
    """Whether there is a process with this pid, even if /proc hides it. Must not be called on Windows."""
    if not 0 < pid < 2**31:  # kill(0) signals the group of this process; the pid is from a file name
        return False
    try:
        os.kill(pid, 0)
    except OSError as error:  # PermissionError: it is of another user
        return not isinstance(error, ProcessLookupError)
    return True


def of_process(pid: int, root: str = "/proc") -> dict[str, float | None]:
    """Returns start, CPU time, RSS and threads of any process (/proc/<pid>/stat; psutil off Linux).

    Zeros if it has ended, None if they cannot be read now.
    """
    found: tuple[float | None, ...] = None, None, None, None
    with suppress(Exception):  # for example no file descriptor is left; psutil has exceptions of its own
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
    """Whether a signal (SIGSTOP) or a debugger has stopped the process; False if its state cannot be read."""
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

    pyvars stores each moment as the time since the start of the machine, and converts it only to show it.
    """
    global _booted
    now = wall() - since_boot()
    if abs(now - _booted) > _STEP_SECONDS:
        _booted = now
    return _booted


def wall_time(seconds: float) -> float:
    """The time since the epoch of a moment that is given in seconds since the machine started.

    The start of the machine is rounded down to a second, as `btime` in /proc/stat is, so that ps and Prometheus's own
    clients show the same time.
    """
    return floor(booted()) + seconds


STATUS: Reading[dict[str, int]] = Reading(status)
"""The result of `status`, at most 100 ms old."""
