"""`memstats`: every key of Go's runtime.MemStats, with the corresponding figure of CPython or of the kernel.

Readers of Go's expvar require every key with Go's type, so a figure that CPython does not have is 0; the docstring of
`MemStats.figures` lists these. Equations between Go's figures, such as HeapSys = HeapIdle + HeapInuse, hold on every
page.
"""

import errno
import gc
import os
import sys
import tracemalloc
from collections.abc import Mapping, Sequence
from functools import partial
from time import perf_counter_ns
from typing import NamedTuple, cast

from pyvars.runtime.allocators import malloc, pymalloc
from pyvars.runtime.combine import Row, largest, total, totals
from pyvars.runtime.gc import PAUSES, RING
from pyvars.runtime.proc import STATUS, booted, status
from pyvars.runtime.reading import Reading

__all__ = ("MemStats",)

_UINT32 = 0xFFFFFFFF
_COUNTS = ("TotalAlloc", "Mallocs", "Frees", "PauseTotalNs")
_GAUGES = ("Alloc", "Sys", "HeapAlloc", "HeapSys", "HeapIdle", "HeapInuse", "HeapObjects", "StackInuse", "StackSys")
_MORE_GAUGES = ("BuckHashSys", "OtherSys")
_OF_STATUS = ("HeapIdle", "HeapInuse", "HeapSys", "OtherSys", "StackInuse", "StackSys", "Sys")
_OF_ALLOCATORS = ("Alloc", "HeapAlloc", "TotalAlloc")
_FOR_NOW = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Memory(NamedTuple):
    """The memory figures of one reading, in bytes; `mallocs` and `frees` in blocks."""

    alloc: int
    total_alloc: int
    sys: int
    heap_sys: int
    heap_idle: int
    stack: int
    profiler: int
    other: int
    mallocs: int
    frees: int


class MemStats:
    """Memory and garbage collection. `proc` is the mount point of the proc file system."""

    def __init__(self, proc: str = "/proc") -> None:
        PAUSES.start()
        self._status = STATUS.renew if proc == "/proc" else partial(status, proc)
        self._pid = os.getpid()
        self._alloc = self._total_alloc = self._blocks = self._mallocs = self._frees = 0
        self._memory = Reading(self._read)
        self._key: tuple[object, ...] = ()
        self._figures: dict[str, object] = {}
        self.missing: Mapping[str, Exception] = {}
        """The figures that are 0 because their file is missing, and the exception that each raised."""

    def figures(self) -> dict[str, object]:
        """Returns the figures, in bytes unless stated otherwise.

        Alloc, HeapAlloc: memory in use by the program: pymalloc's blocks + malloc's chunks and mapped blocks.
        HeapIdle: memory not returned to the system, and free for the next allocation: pymalloc's free blocks and pools
            + malloc's free chunks.
        HeapInuse: HeapSys - HeapIdle.
        HeapSys: anonymous memory, resident or swapped (RssAnon + VmSwap - VmStk of /proc/self/status, less
            BuckHashSys). It includes the stacks of threads other than the main thread.
        Sys: all memory that is resident or swapped: HeapSys + StackSys + BuckHashSys + OtherSys. Not the virtual size.
        StackInuse, StackSys: the stack of the main thread (VmStk).
        OtherSys: mapped files and shared memory, such as code and libraries (RssFile + RssShmem).
        BuckHashSys: the tables of tracemalloc while it traces (tracemalloc.get_tracemalloc_memory).
        HeapObjects: blocks in use (sys.getallocatedblocks; 0 under PYTHONMALLOC=malloc), always Mallocs - Frees.
        Mallocs, Frees, TotalAlloc: CPython does not count these. They are the rises and falls of HeapObjects, and the
            rises of HeapAlloc, from reading to reading: lower bounds that never fall.
        NumGC: collections of all generations since recording began, modulo 2**32; NumForcedGC: those that can only
            have come from gc.collect(), a lower bound.
        PauseTotalNs: the sum of their pauses in ns; PauseNs, PauseEnd: the last 256 pauses in ns, and their ends in ns
            since the epoch, the newest at (NumGC+255)%256; LastGC: the end of the newest.
        GCCPUFraction: the share of the time since recording began that was spent in collections.
        EnableGC: gc.isenabled(); DebugGC: whether gc.get_debug() is not 0.
        Without /proc/self/status the figures that come from it are 0.
        These are always 0, because CPython has no such figure: Lookups, HeapReleased (memory that was returned is no
            longer in HeapSys), MSpan*, MCache*, GCSys, NextGC (CPython's thresholds count objects: see `gc`). BySize is
            empty.
        """
        key = self._memory.get(), PAUSES.totals, gc.isenabled(), gc.get_debug(), int(booted() * 1e9)
        if key != self._key:
            self._figures, self._key = self._combine(key[0], *key[2:]), key
        return self._figures

    @staticmethod
    def combined(rows: Sequence[Row]) -> dict[str, object]:
        """Returns sums over the workers, so that Go's identities hold, and the last 256 pauses of all workers.

        GCCPUFraction is the mean over the workers that have not ended.
        """
        collections = int(total(rows, "NumGC")) & _UINT32
        live = [row for row in rows if not row.get("retired")]
        pauses, ends = _newest(rows, collections)
        return {
            **rows[0],
            **totals(rows, (*_COUNTS, *_GAUGES, *_MORE_GAUGES)),
            "LastGC": largest(rows, "LastGC"),
            "PauseNs": pauses,
            "PauseEnd": ends,
            "NumGC": collections,
            "NumForcedGC": int(total(rows, "NumForcedGC")) & _UINT32,
            "GCCPUFraction": total(live, "GCCPUFraction") / max(1, len(live)),
        }

    @staticmethod
    def kept(rows: Sequence[Row]) -> dict[str, object]:
        """Returns the figures that are kept of ended workers: counts, and the last pauses. Frees equals Mallocs."""
        pauses, ends = _newest(rows, int(total(rows, "NumGC")) & _UINT32)
        return {
            **totals(rows, (*_COUNTS, "NumGC", "NumForcedGC")),
            "PauseNs": pauses,
            "PauseEnd": ends,
            "Frees": total(rows, "Mallocs"),
            "LastGC": largest(rows, "LastGC"),
            "retired": True,
        }

    def _combine(self, memory: Memory, enabled: bool, debug: int, epoch: int) -> dict[str, object]:
        pauses, ring, ends = PAUSES.read()
        alive_ns = max(1, perf_counter_ns() - PAUSES.started_ns)
        return {
            "Alloc": memory.alloc,
            "TotalAlloc": memory.total_alloc,
            "Sys": memory.sys,
            "Lookups": 0,
            "Mallocs": memory.mallocs,
            "Frees": memory.frees,
            "HeapAlloc": memory.alloc,
            "HeapSys": memory.heap_sys,
            "HeapIdle": memory.heap_idle,
            "HeapInuse": memory.heap_sys - memory.heap_idle,
            "HeapReleased": 0,
            "HeapObjects": memory.mallocs - memory.frees,
            "StackInuse": memory.stack,
            "StackSys": memory.stack,
            "MSpanInuse": 0,
            "MSpanSys": 0,
            "MCacheInuse": 0,
            "MCacheSys": 0,
            "BuckHashSys": memory.profiler,
            "GCSys": 0,
            "OtherSys": memory.other,
            "NextGC": 0,
            "LastGC": pauses.last_end_ns and pauses.last_end_ns + epoch,
            "PauseTotalNs": pauses.total_ns,
            "PauseNs": ring,
            "PauseEnd": [end and end + epoch for end in ends],
            "NumGC": pauses.collections & _UINT32,
            "NumForcedGC": pauses.forced & _UINT32,
            "GCCPUFraction": pauses.total_ns / alive_ns,
            "EnableGC": enabled,
            "DebugGC": bool(debug),
            "BySize": [],
        }

    def _read(self) -> Memory:
        """Returns a new reading. The Reading calls it in one thread at a time."""
        if self._pid != os.getpid():  # a forked child begins its counts at 0
            self._pid = os.getpid()
            self._alloc = self._total_alloc = self._blocks = self._mallocs = self._frees = 0
        fields, missing = self._fields()
        tracing = tracemalloc.is_tracing()
        profiler = tracemalloc.get_tracemalloc_memory() if tracing else 0
        stack = fields.get("VmStk", 0)
        other = fields.get("RssFile", 0) + fields.get("RssShmem", 0)
        heap_sys = max(0, fields.get("RssAnon", 0) + fields.get("VmSwap", 0) - stack - profiler)

        small, large = pymalloc(), malloc()
        free = sum(heap.free for heap in (small, large) if heap is not None)
        if large is not None and small is not None:
            alloc = small.used + large.used
        elif large is not None and tracing:
            # While tracemalloc wraps pymalloc, pymalloc reports nothing, so the traced memory stands for it. Traced
            # memory that came from malloc counts twice: the result is an upper bound.
            alloc = tracemalloc.get_traced_memory()[0] + large.used
        elif large is not None:
            alloc = large.used  # PYTHONMALLOC=malloc: all memory is from malloc
        else:
            alloc = heap_sys - free
        alloc = max(alloc, 0)
        if missing is None:
            alloc = min(alloc, heap_sys)
            self.missing = {}
        else:
            self.missing = dict.fromkeys(_OF_STATUS if large is not None else _OF_STATUS + _OF_ALLOCATORS, missing)
        idle = min(free, max(0, heap_sys - alloc))

        blocks = sys.getallocatedblocks()
        self._mallocs += max(0, blocks - self._blocks)
        self._frees += max(0, self._blocks - blocks)
        self._total_alloc += max(0, alloc - self._alloc)
        self._blocks, self._alloc = blocks, alloc
        total = heap_sys + stack + profiler + other
        return Memory(
            alloc, self._total_alloc, total, heap_sys, idle, stack, profiler, other, self._mallocs, self._frees
        )

    def _fields(self) -> tuple[dict[str, int], OSError | None]:
        """The fields of /proc/self/status; if there is no such file, no fields, and the exception."""
        try:
            return self._status(), None
        except OSError as error:
            if error.errno in _FOR_NOW:  # a failure that will pass: figures of 0 would be taken for real ones
                raise
            return {}, error


def _newest(rows: Sequence[Row], collections: int) -> tuple[list[int], list[int]]:
    """Returns the rings of the pauses of all workers: the newest at (collections + 255) % 256, older ones before it."""
    found: list[tuple[int, int]] = []
    for row in rows:
        pauses, ends = row.get("PauseNs"), row.get("PauseEnd")
        if isinstance(pauses, list) and isinstance(ends, list):
            pairs = zip(cast("list[int]", ends), cast("list[int]", pauses), strict=False)
            found += [(end, pause) for end, pause in pairs if end]
    found.sort(reverse=True)
    pauses, ends = [0] * RING, [0] * RING
    for age, (end, pause) in enumerate(found[: min(RING, collections)]):
        ends[(collections - 1 - age) % RING], pauses[(collections - 1 - age) % RING] = end, pause
    return pauses, ends
