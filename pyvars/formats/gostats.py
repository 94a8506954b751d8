"""The JSON document of golang-stats-api-handler, from `memstats` and `threads`; Mackerel, Munin and Zabbix can read it.

Keys, types and order are those of its Go struct (https://github.com/fukata/golang-stats-api-handler, handler.go). In Go
the three figures of recent collections cover the time since the previous request of any reader, so that with two
readers each gets wrong figures, and `gc_pause_per_second` is not divided by seconds. Here they cover the last 60
seconds for every reader.
"""

import os
import platform
import sys
from collections.abc import Callable, Mapping
from typing import cast

from pyvars.runtime.combine import Row, number
from pyvars.runtime.gc import RING
from pyvars.runtime.python import gil_enabled

__all__ = ("WINDOW_SECONDS", "stats")

WINDOW_SECONDS: int = 60
"""The window of `gc_per_second`, `gc_pause_per_second` and `gc_pause`: Mackerel requests the document once a minute."""

_UINT32 = 0xFFFFFFFF
_INT64 = 2**63 - 1
_NS = 1_000_000_000
_NS_IN_MS = 1_000_000

# Go's names of systems and architectures, where Python's differ: https://go.dev/doc/install/source#environment
_GOOS = {"win32": "windows"}
_GOARCH = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386"}

_MEMORY = {
    "memory_alloc": "Alloc",
    "memory_total_alloc": "TotalAlloc",
    "memory_sys": "Sys",
    "memory_lookups": "Lookups",
    "memory_mallocs": "Mallocs",
    "memory_frees": "Frees",
    "memory_stack": "StackInuse",
    "heap_alloc": "HeapAlloc",
    "heap_sys": "HeapSys",
    "heap_idle": "HeapIdle",
    "heap_inuse": "HeapInuse",
    "heap_released": "HeapReleased",
    "heap_objects": "HeapObjects",
    "gc_next": "NextGC",
    "gc_last": "LastGC",
}
"""The keys whose value is a figure of memstats, unchanged, and the name of that figure."""

_cpu_count: Callable[[], int | None] = getattr(os, "process_cpu_count", os.cpu_count)  # the former since Python 3.13


def stats(memstats: Row, threads: Row, now_ns: int) -> dict[str, object]:
    """The document, given the variables `memstats` and `threads`, and the time in ns since the epoch.

    time: now_ns. go_version: interpreter and version, `cpython3.11.7`. go_os, go_arch: Go's names. cpu_num: CPUs.
    goroutine_num: `threads.count`. gomaxprocs: 1 where there is a GIL, else the CPUs. cgo_call_num: 0.
    memory_*, heap_*, gc_next, gc_last: the figures of memstats, in bytes, objects and ns. gc_num: NumGC modulo 2**32.
    gc_pause: pauses in ms that ended in the last 60 s, the newest first, at most 256. gc_per_second and
        gc_pause_per_second: the number of these pauses, and their sum in ms, divided by 60; if there are 256 of them,
        divided by the seconds since the oldest ended.
    Counts are integers from 0 to 2**63 - 1, whatever `memstats` holds; a missing figure is 0.
    """
    cpus = _cpu_count() or 1
    system, machine = _told(lambda: sys.platform), _told(platform.machine)
    recent = _recent(memstats, now_ns)
    full = len(recent) == RING
    seconds = max(1, now_ns - recent[-1][0]) / _NS if full else WINDOW_SECONDS
    pauses = [pause / _NS_IN_MS for _, pause in recent]
    return {
        "time": now_ns,
        "go_version": f"{_told(platform.python_implementation)}{_told(platform.python_version)}".lower(),
        "go_os": _GOOS.get(system, system),
        "go_arch": _GOARCH.get(machine, machine.lower()),
        "cpu_num": cpus,
        "goroutine_num": _count(threads, "count"),
        "gomaxprocs": 1 if gil_enabled() else cpus,
        "cgo_call_num": 0,
        **{key: _count(memstats, name) for key, name in _MEMORY.items()},
        "gc_num": _count(memstats, "NumGC") & _UINT32,
        "gc_per_second": len(recent) / seconds,
        "gc_pause_per_second": sum(pauses) / seconds,
        "gc_pause": pauses,
    }


def _told(read: Callable[[], object]) -> str:
    """A text about the interpreter; empty if reading it fails, since the program may have replaced what is read."""
    try:
        found = read()
    except Exception:
        return ""
    return found if isinstance(found, str) else ""


def _count(row: Row, key: str) -> int:
    """The figure as an int64 that is not negative: for any other number Go's decoder refuses the whole document."""
    return min(max(0, int(number(row, key))), _INT64)


def _recent(memstats: Mapping[str, object], now_ns: int) -> list[tuple[int, int]]:
    """End and length, in ns, of each pause that ended in the window, the newest first."""
    ends, pauses = memstats.get("PauseEnd"), memstats.get("PauseNs")
    if not isinstance(ends, list) or not isinstance(pauses, list):
        return []
    pairs = zip(cast("list[object]", ends), cast("list[object]", pauses), strict=False)
    # The clock may have been set by up to a second since memstats last looked at it.
    found = [
        (end, pause)
        for end, pause in pairs
        if isinstance(end, int)
        and isinstance(pause, int)
        and pause >= 0
        and -_NS <= now_ns - end < WINDOW_SECONDS * _NS
    ]
    return sorted(found, reverse=True)[:RING]
