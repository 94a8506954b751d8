"""`process`: the figures of the kernel for this process. Sources: /proc/self, getrusage(2); psutil off Linux."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pyvars.runtime.combine import Row, numbers, total, totals
from pyvars.runtime.proc import STATUS, boot_time
from pyvars.runtime.reading import Reading

if sys.platform != "win32":  # pragma: no branch - it is missing on Windows only
    import resource
if TYPE_CHECKING:
    import psutil

__all__ = ("Process",)

_COUNTS = ("cpu_user_seconds", "cpu_system_seconds", "context_switches_voluntary", "context_switches_involuntary")
_GAUGES = ("rss_bytes", "peak_rss_bytes", "open_fds", "max_fds")
_UNLIMITED = 2**63 - 1


class Process:
    """CPU, memory, file descriptors and context switches. `proc` is the mount point of the proc file system."""

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._start_time = 0.0
        self._pid = 0
        linux = os.path.exists(f"{proc}/self/stat")
        self._read: Callable[[], dict[str, object]] = self._read_linux if linux else _read_portable
        self._figures = Reading(self._read_figures)

    def figures(self) -> dict[str, object]:
        """Returns the figures:

        pid; start_time_seconds since the epoch; uptime_seconds; cpu_user_seconds and cpu_system_seconds (ru_utime,
        ru_stime); rss_bytes (VmRSS) and peak_rss_bytes (ru_maxrss); open_fds (/proc/self/fd) and max_fds
        (RLIMIT_NOFILE; 2**63 - 1 if unlimited); context_switches_voluntary (ru_nvcsw: the process waited) and
        context_switches_involuntary (ru_nivcsw: it was preempted).
        """
        return self._figures.get()

    @staticmethod
    def combined(rows: Sequence[Row]) -> dict[str, object]:
        """Returns sums over the workers; `pid` is that of the worker that answers, the start time the earliest."""
        started = min((start for start in numbers(rows, "start_time_seconds") if start), default=0.0)
        return {
            **rows[0],
            **totals(rows, (*_COUNTS, *_GAUGES)),
            "start_time_seconds": started,
            "uptime_seconds": max(0.0, round(time.time() - started, 3)),
            "max_fds": min(total(rows, "max_fds"), _UNLIMITED),
        }

    @staticmethod
    def kept(rows: Sequence[Row]) -> dict[str, object]:
        """Returns what is kept of workers that ended: CPU seconds, context switches, and the earliest start time."""
        started = min((start for start in numbers(rows, "start_time_seconds") if start), default=0.0)
        return {**totals(rows, _COUNTS), "start_time_seconds": started}

    def _read_figures(self) -> dict[str, object]:
        pid = os.getpid()
        if pid != self._pid:  # also after a fork
            self._pid, self._start_time = pid, self._started()
        return {
            "pid": pid,
            "start_time_seconds": self._start_time,
            "uptime_seconds": max(0.0, round(time.time() - self._start_time, 3)),
            **self._read(),
        }

    def _started(self) -> float:
        if self._read is _read_portable:
            return float(_psutil_process().create_time())
        with open(f"{self._proc}/self/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])  # field 22; field 2, the name, may hold anything
        return boot_time(self._proc) + ticks / os.sysconf("SC_CLK_TCK")

    def _read_linux(self) -> dict[str, object]:
        rss = STATUS.get()["VmRSS"]
        usage = resource.getrusage(resource.RUSAGE_SELF)
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return {
            "cpu_user_seconds": usage.ru_utime,
            "cpu_system_seconds": usage.ru_stime,
            "rss_bytes": rss,
            "peak_rss_bytes": max(rss, usage.ru_maxrss * 1024),  # the kernel updates ru_maxrss late
            "open_fds": self._count_fds(),
            "max_fds": _UNLIMITED if limit == resource.RLIM_INFINITY else limit,
            "context_switches_voluntary": usage.ru_nvcsw,
            "context_switches_involuntary": usage.ru_nivcsw,
        }

    def _count_fds(self) -> int:
        path = f"{self._proc}/self/fd"
        # Since Linux 6.2 the size of the directory is the count: one system call however many files are open.
        return os.stat(path).st_size or len(os.listdir(path)) - 1  # less the file descriptor that lists them


def _read_portable() -> dict[str, object]:
    process = _psutil_process()
    with process.oneshot():
        cpu, memory, switches = process.cpu_times(), process.memory_info(), process.num_ctx_switches()
        return {
            "cpu_user_seconds": cpu.user,
            "cpu_system_seconds": cpu.system,
            "rss_bytes": memory.rss,
            "peak_rss_bytes": max(memory.rss, getattr(memory, "peak_wset", 0)),
            "open_fds": process.num_fds() if hasattr(process, "num_fds") else 0,  # Windows has handles
            "max_fds": _UNLIMITED,
            "context_switches_voluntary": switches.voluntary,
            "context_switches_involuntary": switches.involuntary,
        }


def _psutil_process() -> "psutil.Process":
    import psutil

    return psutil.Process()
