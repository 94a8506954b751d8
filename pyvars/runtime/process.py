"""`process`: the figures of the kernel for this process. Sources: /proc/self, getrusage(2); psutil off Linux."""

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from pyvars.core.clock import since_boot, wall
from pyvars.runtime.combine import Row, number, total, totals
from pyvars.runtime.proc import STATUS, portable, start_ticks, stat_of, wall_time
from pyvars.runtime.reading import Reading

if sys.platform != "win32":  # pragma: no branch - it is missing on Windows only
    import resource
if TYPE_CHECKING:
    import psutil

__all__ = ("Process",)

_COUNTS = ("cpu_user_seconds", "cpu_system_seconds", "context_switches_voluntary", "context_switches_involuntary")
_GAUGES = ("rss_bytes", "peak_rss_bytes", "open_fds", "max_fds")
_STARTED = ("start_time_seconds", "start_boottime_seconds", "uptime_seconds")
_UNLIMITED = 2**63 - 1
_STEPPED_SECONDS = 2.0
"""If the start that a worker reports differs by more than this, the worker reported it before the clock was set."""

_Read: TypeAlias = Callable[[], dict[str, object]]


class Process:
    """CPU, memory, file descriptors and context switches. `proc` is the mount point of the proc file system."""

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._started = 0.0
        self._pid = 0
        self._figures = Reading(self._read_figures)
        self.missing: Mapping[str, Exception] = {}
        """The figures that are absent, and the exception that each raised."""

    def figures(self) -> dict[str, object]:
        """Returns the figures:

        pid; start_time_seconds since the epoch; start_boottime_seconds since the machine started, and uptime_seconds,
        which do not change when somebody sets the clock; cpu_user_seconds and cpu_system_seconds (ru_utime, ru_stime);
        rss_bytes (VmRSS) and peak_rss_bytes (ru_maxrss); open_fds (/proc/self/fd) and max_fds (RLIMIT_NOFILE; 2**63 - 1
        if unlimited); context_switches_voluntary (ru_nvcsw: the process waited) and context_switches_involuntary
        (ru_nivcsw: it was preempted). A figure is absent if its file cannot be read.
        """
        return self._figures.get()

    @staticmethod
    def combined(rows: Sequence[Row]) -> dict[str, object]:
        """Returns sums over the workers; the pid of the worker that answers; and the start of the first worker.

        Figures that the worker that answers cannot read are absent.
        """
        found = {**rows[0], **totals(rows, (*_COUNTS, *_GAUGES)), **_first(rows)}
        found["max_fds"] = min(total(rows, "max_fds"), _UNLIMITED)
        return {key: value for key, value in found.items() if key in rows[0]}

    @staticmethod
    def kept(rows: Sequence[Row]) -> dict[str, object]:
        """Returns what is kept of workers that ended: CPU seconds, context switches, and the start of the first."""
        return {**totals(rows, _COUNTS), **_first(rows)}

    def _read_figures(self) -> dict[str, object]:
        pid = os.getpid()
        if pid != self._pid:  # also after a fork
            self._pid, self._started = pid, 0.0
        figures: dict[str, object] = {"pid": pid}
        missing: dict[str, Exception] = {}
        for names, read in self._sources(portable(self._proc)):
            try:
                figures |= read()
            except (OSError, KeyError) as error:
                missing |= dict.fromkeys(names, error)
        self.missing = missing
        return figures

    def _sources(self, process: "psutil.Process | None") -> Iterable[tuple[tuple[str, ...], _Read]]:
        """Yields the functions that read the figures, each with the names of its figures that may be missing."""
        yield _STARTED, partial(self._start, process)
        if process is not None:
            yield (), partial(_portable, process)
        else:
            yield (), _usage
            yield ("rss_bytes",), _memory
            yield ("open_fds",), self._open_fds

    def _start(self, process: "psutil.Process | None") -> dict[str, object]:
        if not self._started and process is not None:
            self._started = since_boot() - (wall() - process.create_time())
        elif not self._started:
            self._started = start_ticks(stat_of("self", self._proc)) / os.sysconf("SC_CLK_TCK")
        uptime = max(0.0, round(since_boot() - self._started, 3))
        return dict(zip(_STARTED, (wall_time(self._started), round(self._started, 3), uptime), strict=True))

    def _open_fds(self) -> dict[str, object]:
        path = f"{self._proc}/self/fd"
        # Since Linux 6.2 the size of the directory is the number of open files: one system call for any number.
        count = os.stat(path).st_size or len(os.listdir(path)) - 1  # without that of the listing
        return {"open_fds": count}


def _usage() -> dict[str, object]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return {
        "cpu_user_seconds": usage.ru_utime,
        "cpu_system_seconds": usage.ru_stime,
        "peak_rss_bytes": usage.ru_maxrss * 1024,
        "max_fds": _UNLIMITED if limit == resource.RLIM_INFINITY else limit,
        "context_switches_voluntary": usage.ru_nvcsw,
        "context_switches_involuntary": usage.ru_nivcsw,
    }


def _memory() -> dict[str, object]:
    rss = STATUS.get()["VmRSS"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"rss_bytes": rss, "peak_rss_bytes": max(rss, peak)}  # ru_maxrss may lag behind


def _portable(process: "psutil.Process") -> dict[str, object]:
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


def _first(rows: Sequence[Row]) -> dict[str, object]:
    """The start and uptime of the worker that started first; empty if no worker could read its start."""
    known = [row for row in rows if number(row, "start_boottime_seconds")]
    if not known:
        return {}
    first = min(known, key=lambda row: number(row, "start_boottime_seconds"))
    started = number(first, "start_boottime_seconds")
    # The time that this worker reports, so that all workers show the same one.
    said, now = number(first, "start_time_seconds"), wall_time(started)
    uptime = max(0.0, round(since_boot() - started, 3))
    return dict(zip(_STARTED, (now if abs(said - now) > _STEPPED_SECONDS else said, started, uptime), strict=True))
