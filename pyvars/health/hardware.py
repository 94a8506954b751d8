"""Disk, memory and CPUs: how much there is, how much is used, and whether that is much. Sources: psutil, cgroups.

Where a container has a limit below what the machine has, the figures are of the container.
"""

import os
from time import monotonic
from typing import NamedTuple

from pyvars.health import cgroup

__all__ = ("CRITICAL_PERCENT", "WARNING_PERCENT", "CPUs", "disk", "ram")

WARNING_PERCENT: float = 80.0
"""From here on the status of disk, memory and CPUs is WARNING."""
CRITICAL_PERCENT: float = 90.0
"""From here on it is CRITICAL."""

WINDOW_SECONDS = 10.0
"""The use of CPUs is the mean over at least so much time, however often it is asked for."""


def disk(path: str = "/") -> dict[str, object]:
    """The file system that `path` is on: `total` and `used` bytes, and `percent` of it as df has it.

    Of what is not used a part is often kept for root; the percentage is of what others can have (psutil.disk_usage).
    """
    import psutil

    found = psutil.disk_usage(path)
    return {"path": path, **_judged(found.total, found.used, found.percent)}


def ram(root: str = "") -> dict[str, object]:
    """Memory: `total` and `used` bytes; what can be given back at once is not used.

    `source` is `machine` (psutil.virtual_memory: total less available), or `cgroup` if one has a limit below that.
    """
    import psutil

    machine = psutil.virtual_memory()
    total, used, source = machine.total, machine.total - machine.available, "machine"
    container = cgroup.memory(root)
    if container is not None and container.limit < total:
        total, used, source = container.limit, min(container.used, container.limit), "cgroup"
    return {"source": source, **_judged(total, used)}


class _Mark(NamedTuple):
    """How much CPU time had been used, and when."""

    of: str | None
    """The cgroup; None for the machine."""
    at: float
    seconds: float


class CPUs:
    """How busy the CPUs are. `figures` is for one thread at a time."""

    def __init__(self, root: str = "") -> None:
        self._root = root
        self._count = os.cpu_count() or 1
        self._older = self._newer = self._begin(self._limit())

    def figures(self) -> dict[str, object]:
        """CPUs: `total` that may be used, such as 1.5; `used`, the mean over 10 s or more; `count` the machine has.

        The mean is since the last answer that is at least 10 s old, so that several readers do not shorten it for one
        another; the first one is since the machine started, or since this was made if a cgroup has a limit.
        `source` is `machine` (psutil.cpu_times: all but idle and iowait), or `cgroup`.
        """
        container = self._limit()
        now = _Mark(container.name, monotonic(), container.seconds) if container else _machine()
        if now.of != self._newer.of:  # it was moved, or its limit was changed
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
        # The clock and the counters of the machine both begin when it starts, but a cgroup does not say when it was
        # made.
        return _Mark(container.name, monotonic(), container.seconds) if container else _Mark(None, 0.0, 0.0)


def _machine() -> _Mark:
    import psutil

    times = psutil.cpu_times()._asdict()
    for part in ("guest", "guest_nice"):  # they are in user and nice, too
        times.pop(part, None)
    return _Mark(None, monotonic(), sum(times.values()) - times["idle"] - times.get("iowait", 0.0))


def _judged(total: float, used: float, percent: float | None = None) -> dict[str, object]:
    shown = round(100 * used / total if percent is None else percent, 1)
    status = "CRITICAL" if shown >= CRITICAL_PERCENT else "WARNING" if shown >= WARNING_PERCENT else "OK"
    return {"total": total, "used": used, "percent": shown, "status": status}
