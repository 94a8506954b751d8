"""Total and use of disk, memory and CPUs, with a status. Sources: psutil, cgroups.

If the container has a limit below the total of the machine, the figures of memory and CPUs are those of the container.
"""

import os
from typing import NamedTuple

from pyvars.collect.functions import type_name
from pyvars.core.clock import monotonic
from pyvars.runtime import cgroup

__all__ = ("CRITICAL_PERCENT", "WARNING_PERCENT", "CPUs", "disk", "ram")

WARNING_PERCENT: float = 80.0
"""The use in percent from which the status of disk, memory and CPUs is WARNING."""
CRITICAL_PERCENT: float = 90.0
"""The use in percent from which the status is CRITICAL."""

WINDOW_SECONDS = 10.0
"""The minimum time that a mean use of the CPUs covers, except the first one."""


def disk(path: str = "/") -> dict[str, object]:
    """The file system that `path` is on: `total` and `used` in bytes, `percent` as `df` shows it, and `status`.

    The percentage leaves out the blocks that are reserved for root (psutil.disk_usage).
    """
    import psutil

    found = psutil.disk_usage(path)
    return {"path": path, **_judged(found.total, found.used, found.percent)}


def ram(root: str = "") -> dict[str, object]:
    """Memory: `total` and `used` in bytes, `percent` and `status`. Memory that the kernel can free at once is not used.

    `source` is `machine` (psutil.virtual_memory: `used` is total less available), or `cgroup` if a cgroup has a lower
    limit. If psutil cannot read the use, `used` and `percent` are missing, the status is UNKNOWN, and `error` is the
    class of the exception.
    """
    try:
        import psutil

        machine = psutil.virtual_memory()
        total, found = machine.total, _judged(machine.total, machine.total - machine.available)
    except Exception as error:  # there is no /proc/meminfo, for example
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        found = _unknown(total, error)
    container = cgroup.memory(root)
    if container is not None and container.limit < total:
        return {"source": "cgroup", **_judged(container.limit, min(container.used, container.limit))}
    return {"source": "machine", **found}


class _Mark(NamedTuple):
    """The CPU time used up to a moment."""

    of: str | None
    """The name of the cgroup; None for the machine."""
    at: float
    """The moment, on the clock of `time.monotonic`."""
    seconds: float
    """The CPU time used until then."""


class CPUs:
    """The use of the CPUs. Not thread-safe: `figures` is for one thread at a time."""

    def __init__(self, root: str = "") -> None:
        self._root = root
        self._count = os.cpu_count() or 1
        self._older = self._newer = self._begin(self._limit())

    def figures(self) -> dict[str, object]:
        """CPUs: `total` that may be used, such as 1.5; mean `used`; `count` of the machine; `percent` and `status`.

        The mean begins at an earlier call, at least 10 s ago, however many readers there are.
        The first mean begins at the start of the machine, or, if a cgroup has a limit, when this object was made.
        `source` is `machine` (psutil.cpu_times: all but idle and iowait), or `cgroup` if a cgroup has a lower limit. If
        psutil cannot read the use, the result is as in `ram`.
        """
        container = self._limit()
        try:
            now = _Mark(container.name, monotonic(), container.seconds) if container else _machine()
        except Exception as error:  # there is no /proc/stat, for example
            return {"source": "machine", "count": self._count, **_unknown(float(self._count), error)}
        if now.of != self._newer.of:  # the process was moved to another cgroup, or the limit was changed
            self._older = self._newer = self._begin(container)
        if now.at - self._newer.at >= WINDOW_SECONDS:
            self._older, self._newer = self._newer, now
        total = container.limit if container else float(self._count)
        passed = max(now.at - self._older.at, 0.001)
        used = min(max(0.0, (now.seconds - self._older.seconds) / passed), total)
        source = "cgroup" if container else "machine"
        return {"source": source, "count": self._count, **_judged(total, round(used, 3), 100 * used / total)}

    def _limit(self) -> "cgroup.CPUs | None":
        found = cgroup.cpus(self._root)
        return found if found is not None and found.limit < self._count else None

    @staticmethod
    def _begin(container: "cgroup.CPUs | None") -> _Mark:
        # The clock and the CPU times of the machine both begin at its start, but when a cgroup began is unknown.
        return _Mark(container.name, monotonic(), container.seconds) if container else _Mark(None, 0.0, 0.0)


def _machine() -> _Mark:
    import psutil

    times = psutil.cpu_times()._asdict()
    for part in ("guest", "guest_nice"):  # user and nice include them
        times.pop(part, None)
    return _Mark(None, monotonic(), sum(times.values()) - times["idle"] - times.get("iowait", 0.0))


def _judged(total: float, used: float, percent: float | None = None) -> dict[str, object]:
    shown = round(100 * used / total if percent is None else percent, 1)
    status = "CRITICAL" if shown >= CRITICAL_PERCENT else "WARNING" if shown >= WARNING_PERCENT else "OK"
    return {"total": total, "used": used, "percent": shown, "status": status}


def _unknown(total: float, error: Exception) -> dict[str, object]:
    return {"total": total, "status": "UNKNOWN", "error": type_name(error)}
