"""Limits and use of memory and CPUs in a container: the cgroups, versions 1 and 2, that this process is in.

The limit of a cgroup also holds for all cgroups below it. So the limit of this process is the lowest one of its cgroup
and the cgroups above, up to the mount point. https://docs.kernel.org/admin-guide/cgroup-v2.html and cgroup-v1/,
cgroups(7)
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from pyvars.core.own_file import read

__all__ = ("CPUs", "Memory", "cpus", "memory")


class Memory(NamedTuple):
    """The memory of the cgroup with the lowest limit, in bytes."""

    limit: int
    """memory.max; in version 1 memory.limit_in_bytes, which is larger than any memory if there is no limit."""
    used: int
    """memory.current less inactive_file of memory.stat; in version 1 memory.usage_in_bytes less total_inactive_file.

    The kernel counts cached files as memory of the cgroup, but frees the inactive ones before it kills a process. The
    difference is what kubelet calls the working set.
    """


class CPUs(NamedTuple):
    """The CPUs of the cgroup with the lowest limit."""

    limit: float
    """A number of CPUs: the quota of cpu.max, or cpu.cfs_quota_us, by its period; or the size of the cpuset."""
    seconds: float
    """CPU time that the cgroup has used: usage_usec of cpu.stat; in version 1 cpuacct.usage."""
    name: str
    """The path of the cgroup below the mount point."""


def memory(root: str = "") -> Memory | None:
    """The lowest limit on memory, and the use; None if there is no limit. `root` is the directory above /proc."""
    found: list[Memory] = []
    for folder in _folders(root, "memory").values():
        limit = _number(folder, "memory.max", "memory.limit_in_bytes")
        used = _number(folder, "memory.current", "memory.usage_in_bytes")
        if limit and used is not None:
            stat = _figures(folder, "memory.stat")
            # Version 1 has both keys; only total_inactive_file includes the cgroups below.
            files = stat.get("total_inactive_file", stat.get("inactive_file", 0))
            found.append(Memory(limit, max(0, used - files)))
    return min(found, default=None)


def cpus(root: str = "") -> CPUs | None:
    """The lowest limit on CPUs, and the time used; None if there is no limit, or the time used is unknown.

    `root` is the directory above /proc.
    """
    accounts = _folders(root, "cpuacct")
    limits = [(quota, name) for name, folder in _folders(root, "cpu").items() if (quota := _quota(folder))]
    for name, folder in _folders(root, "cpuset").items():
        listed = _text(folder, "cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus")
        if listed:
            limits.append((float(_listed(listed)), name))
            break  # an outer cpuset has at least the CPUs of the inner one
    found = [
        CPUs(limit, seconds, name)
        for limit, name in limits
        if name in accounts and (seconds := _seconds(accounts[name])) is not None
    ]
    return min(found, default=None)


def _folders(root: str, controller: str) -> dict[str, str]:
    """The directories of the cgroups that this process is in, by name, the innermost first; empty if there are none."""
    own = dict(_memberships(root))
    version1 = controller in own
    for line in _lines(f"{root}/proc/self/mountinfo"):
        mount, _, kind = line.partition(" - ")
        kinds = kind.split(" ")  # file system, source, options
        if kinds[0] != ("cgroup" if version1 else "cgroup2") or (version1 and controller not in kinds[-1].split(",")):
            continue
        within, point = map(_unescaped, mount.split(" ")[3:5])
        path = own.get(controller if version1 else "", "")
        # In a container the mount point is often the cgroup of the container, but /proc/self/cgroup has the path as the
        # machine sees it, or the reverse. If the two do not match, the mount point is taken for the cgroup.
        inside = path.removeprefix(within.rstrip("/")) if f"{path}/".startswith(f"{within.rstrip('/')}/") else ""
        names = [inside.rstrip("/")]
        while names[-1]:
            names.append(names[-1].rpartition("/")[0])
        return {name: f"{root}{point}{name}" for name in names}
    return {}


def _memberships(root: str) -> Iterator[tuple[str, str]]:
    """Pairs of a controller and the path of its cgroup; the controller is an empty text for version 2."""
    for line in _lines(f"{root}/proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path


def _quota(folder: str) -> float:
    """The quota as a number of CPUs; 0 if there is no limit."""
    quota, _, period = _text(folder, "cpu.max").partition(" ")
    if not period:
        quota, period = _text(folder, "cpu.cfs_quota_us"), _text(folder, "cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else 0.0


def _seconds(folder: str) -> float | None:
    used = _number(folder, "cpuacct.usage")
    if used is not None:
        return used / 1e9
    used = _figures(folder, "cpu.stat").get("usage_usec")
    return None if used is None else used / 1e6


def _listed(text: str) -> int:
    """The number of CPUs in a list such as `0-3,7`."""
    ranges = [part.partition("-") for part in text.split(",")]
    return sum(int(last or first) - int(first) + 1 for first, _, last in ranges)


def _number(folder: str, *names: str) -> int | None:
    """The number in the first of the files that exists; None if it is `max`, or no file exists."""
    text = _text(folder, *names)
    return int(text) if text.isdecimal() else None


def _figures(folder: str, name: str) -> dict[str, int]:
    """The numbers in a file with a key and a number on each line; empty if the file is missing."""
    words = (line.split(" ") for line in _lines(f"{folder}/{name}"))
    return {key: int(number) for key, number in words}


def _text(folder: str, *names: str) -> str:
    """The text of the first of the files that is not empty, in one line; empty if there is none."""
    return next((" ".join(lines) for name in names if (lines := _lines(f"{folder}/{name}"))), "")


def _lines(path: str) -> list[str]:
    try:
        return read(path).decode(errors="surrogateescape").splitlines()
    except OSError:
        return []


def _unescaped(text: str) -> str:
    r"""Decodes a path in mountinfo, where a space is \040 (proc_pid_mountinfo(5))."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
