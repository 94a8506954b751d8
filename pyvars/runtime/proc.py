"""Reads /proc: /proc/self/status, once for all built-in variables that need it; and the stat of other processes."""

import os
import re
from contextlib import suppress

from pyvars.runtime.reading import Reading

__all__ = ("STATUS", "boot_time", "is_stopped", "of_process", "status")

# Memory lines are `VmRSS:	    1676 kB`; Threads has no unit. https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
_LINE = re.compile(rb"^(VmRSS|RssAnon|RssFile|RssShmem|VmStk|VmSwap|Threads):\s+(\d+)(?: (kB))?", re.MULTILINE)


_has_status = os.path.exists("/proc/self/status")


def status(root: str = "/proc") -> dict[str, int]:
    """Returns the memory lines in bytes, and Threads, of /proc/self/status.

    Empty if there was no such file from the first, as off Linux. A file that cannot be read now is an OSError: the
    figures would else be shown as 0.
    """
    try:
        # This is half of the cost of a cold page: os.read takes 11 us, open().read() 14.
        file = os.open(f"{root}/self/status", os.O_RDONLY)
    except FileNotFoundError:
        if _has_status and root == "/proc":
            raise
        return {}
    try:
        text = os.read(file, 65536)
    finally:
        os.close(file)
    memory = max(0, text.find(b"VmHWM"))  # scanning the lines before takes the regular expression 3 us
    return {name.decode(): int(number) * (1024 if kib else 1) for name, number, kib in _LINE.findall(text, memory)}


def of_process(pid: int, root: str = "/proc") -> dict[str, float | None]:
    """Returns start, CPU time, RSS and threads of any process (/proc/<pid>/stat; psutil off Linux).

    Zeros if it has ended, None if they cannot be read now.
    """
    found: tuple[float | None, ...] = None, None, None, None
    with suppress(Exception):  # no file descriptor is left, for example; psutil raises whatever the system says
        found = _of_linux(pid, root) if os.path.exists(f"{root}/self/stat") else _portable(pid)
    return dict(zip(("start_time_seconds", "cpu_seconds", "rss_bytes", "threads"), found, strict=True))


def _of_linux(pid: int, root: str) -> tuple[float, ...]:
    try:
        fields = _stat(pid, root)
    except (FileNotFoundError, ProcessLookupError):
        return 0.0, 0.0, 0, 0
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    cpu = (int(fields[11]) + int(fields[12])) / tick
    return boot_time(root) + int(fields[19]) / tick, cpu, int(fields[21]) * page, int(fields[17])


def _stat(pid: int, root: str) -> list[bytes]:
    """The fields of /proc/<pid>/stat from the third on; the second, the name, may hold anything."""
    with open(f"{root}/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()


def is_stopped(pid: int, root: str = "/proc") -> bool:
    """Whether a signal (SIGSTOP) or a debugger has stopped the process; False if that cannot be read now."""
    with suppress(Exception):  # as in `of_process`
        if os.path.exists(f"{root}/self/stat"):
            return _stat(pid, root)[0] in (b"T", b"t")
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


def boot_time(root: str = "/proc") -> int:
    """Returns when the machine started, in seconds since the epoch (btime of /proc/stat)."""
    with open(f"{root}/stat", "rb") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(b"btime"))


STATUS: Reading[dict[str, int]] = Reading(status)
"""The status of this process, at most 100 ms old."""
