"""What /proc says: /proc/self/status, read once for all the built-ins that need it; and of other processes."""

import os
import re

from pyvars.runtime.reading import Reading

__all__ = ("STATUS", "boot_time", "of_process", "status")

# Memory lines are `VmRSS:	    1676 kB`; Threads has no unit. https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
_LINE = re.compile(rb"^(VmRSS|RssAnon|RssFile|RssShmem|VmStk|VmSwap|Threads):\s+(\d+)(?: (kB))?", re.MULTILINE)


def status(root: str = "/proc") -> dict[str, int]:
    """Memory in bytes, and Threads, of this process; empty where there is no such file (any system but Linux)."""
    try:
        # Half of the cost of a cold page is here: os.read takes 11 us where open().read() takes 14.
        file = os.open(f"{root}/self/status", os.O_RDONLY)
    except OSError:
        return {}
    try:
        text = os.read(file, 65536)
    finally:
        os.close(file)
    memory = max(0, text.find(b"VmHWM"))  # what stands before takes the regular expression 3 us
    return {name.decode(): int(number) * (1024 if kib else 1) for name, number, kib in _LINE.findall(text, memory)}


def of_process(pid: int, root: str = "/proc") -> dict[str, float]:
    """Start, CPU time and resident memory of any process (/proc/<pid>/stat; psutil off Linux); zeros if it has gone."""
    try:
        with open(f"{root}/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # from field 3 on; the name before may hold anything
        tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
        started, cpu, rss = (
            boot_time(root) + int(fields[19]) / tick,
            (int(fields[11]) + int(fields[12])) / tick,
            int(fields[21]) * page,
        )
    except OSError:
        started, cpu, rss = _portable(pid)
    return {"start_time_seconds": started, "cpu_seconds": cpu, "rss_bytes": rss}


def _portable(pid: int) -> tuple[float, float, int]:
    import psutil

    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        return process.create_time(), times.user + times.system, process.memory_info().rss
    except psutil.Error:
        return 0.0, 0.0, 0


def boot_time(root: str = "/proc") -> int:
    """When the machine started, in seconds since the epoch."""
    with open(f"{root}/stat", "rb") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(b"btime"))


STATUS: Reading[dict[str, int]] = Reading(status)
"""The status of this process, at most 100 ms old."""
