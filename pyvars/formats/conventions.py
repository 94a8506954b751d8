"""The metric families of the built-ins.

Names that begin with `process_` follow the conventions of Prometheus
(https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics), names that begin with `python_` are
those of prometheus_client, and all other names begin with `pyvars_`.
"""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, TypeAlias, cast

from pyvars.formats.families import Family, Kind, Labels, Sample
from pyvars.runtime.combine import Row

__all__ = ("CONVENTIONS", "conventional")

_Read: TypeAlias = Callable[[Row], Iterable[tuple[Labels, object]]]


class _Named(NamedTuple):
    name: str
    kind: Kind
    unit: str
    read: _Read
    """Returns labels and values, given the runtime figures of the built-in."""
    help: str


def _plain(key: str) -> _Read:
    return lambda row: [({}, row.get(key))]


def _of_generations(key: str, divisor: int = 1) -> _Read:
    def read(row: Row) -> Iterable[tuple[Labels, object]]:
        for generation in ("0", "1", "2"):
            part = row.get(f"gen{generation}")
            if isinstance(part, dict):
                number: object = cast("Row", part).get(key)
                if divisor != 1 and isinstance(number, int | float):
                    number /= divisor
                yield {"generation": generation}, number

    return read


def _switches(row: Row) -> Iterable[tuple[Labels, object]]:
    return [({"type": each}, row.get(f"context_switches_{each}")) for each in ("voluntary", "involuntary")]


def _cpu_seconds(row: Row) -> Iterable[tuple[Labels, object]]:
    parts = [row.get(key) for key in ("cpu_user_seconds", "cpu_system_seconds")]
    numbers = [part for part in parts if isinstance(part, int | float)]
    return [({}, sum(numbers))] if len(numbers) == len(parts) else []


def _info(row: Row) -> Iterable[tuple[Labels, object]]:
    version = str(row.get("version"))
    major, minor, patchlevel = (*version.split(".", 2), "", "")[:3]
    labels = {"version": version, "implementation": str(row.get("implementation"))}
    return [({**labels, "major": major, "minor": minor, "patchlevel": patchlevel}, 1)]


CONVENTIONS: Final[dict[str, tuple[_Named, ...]]] = {
    "pyvars.runtime.process:Process": (
        _Named("process_cpu_seconds", "counter", "seconds", _cpu_seconds, "Total user and system CPU time."),
        _Named("process_resident_memory_bytes", "gauge", "bytes", _plain("rss_bytes"), "Resident memory size."),
        _Named("process_open_fds", "gauge", "", _plain("open_fds"), "Number of open file descriptors."),
        _Named("process_max_fds", "gauge", "", _plain("max_fds"), "Maximum number of open file descriptors."),
        _Named(
            *("process_start_time_seconds", "gauge", "seconds", _plain("start_time_seconds")),
            help="Start time of the process, or the first of its workers, since unix epoch.",
        ),
        _Named(
            *("pyvars_context_switches", "counter", "", _switches),
            help="Number of times that the process waited (voluntary) or was preempted (involuntary).",
        ),
    ),
    "pyvars.runtime.gc:GC": (
        _Named(
            *("python_gc_objects_collected", "counter", "", _of_generations("collected")),
            help="Objects collected during gc.",
        ),
        _Named(
            *("python_gc_objects_uncollectable", "counter", "", _of_generations("uncollectable")),
            help="Uncollectable objects found during gc.",
        ),
        _Named(
            *("python_gc_collections", "counter", "", _of_generations("collections")),
            help="Number of times this generation was collected.",
        ),
        _Named(
            *("pyvars_gc_pause_seconds", "counter", "seconds", _of_generations("pause_total_ns", 1_000_000_000)),
            help="Time that collections took.",
        ),
        _Named(
            *("pyvars_gc_pause_max_seconds", "gauge", "seconds", _of_generations("pause_max_ns", 1_000_000_000)),
            help="Time that the longest collection took.",
        ),
    ),
    "pyvars.runtime.python:Python": (_Named("python_info", "gauge", "", _info, "Python platform information."),),
    "pyvars.runtime.memstats:MemStats": (
        _Named("pyvars_memory_in_use_bytes", "gauge", "bytes", _plain("HeapAlloc"), "Memory in use by the program."),
        _Named(
            *("pyvars_memory_idle_bytes", "gauge", "bytes", _plain("HeapIdle")),
            help="Memory held from the system, free for the next allocation.",
        ),
        _Named("pyvars_memory_sys_bytes", "gauge", "bytes", _plain("Sys"), "Resident and swapped memory."),
        _Named("pyvars_memory_blocks", "gauge", "", _plain("HeapObjects"), "Blocks of memory in use."),
        _Named(
            *("pyvars_memory_allocated_bytes", "counter", "bytes", _plain("TotalAlloc")),
            help="Sum of the increases of the memory in use between readings, a lower bound of the memory allocated.",
        ),
    ),
    "pyvars.runtime.threads:Threads": (
        _Named("pyvars_threads", "gauge", "", _plain("count"), "Threads of Python."),
        _Named("pyvars_native_threads", "gauge", "", _plain("native"), "All threads, including those of C libraries."),
    ),
    "pyvars.runtime.event_loop:EventLoop": (
        _Named("pyvars_asyncio_loops", "gauge", "", _plain("loops"), "Event loops of the program."),
        _Named("pyvars_asyncio_tasks", "gauge", "", _plain("tasks"), "Tasks of these loops that are not done."),
        _Named(
            *("pyvars_asyncio_lag_seconds", "gauge", "seconds", _plain("lag_seconds")),
            help="Longest current lag of these loops.",
        ),
        _Named(
            *("pyvars_asyncio_lag_max_seconds", "gauge", "seconds", _plain("lag_max_seconds")),
            help="Longest lag of an event loop so far.",
        ),
    ),
    "pyvars.workers.membership.census:Workers": (
        _Named("pyvars_workers_live", "gauge", "", _plain("live"), "Worker processes that run."),
        _Named("pyvars_workers_retired", "counter", "", _plain("retired"), "Worker processes that have ended."),
        _Named(
            *("pyvars_workers_blocked", "gauge", "", _plain("blocked")),
            help="Worker processes whose event loop has not run for 1 s, or with no loop and a request of over 30 s.",
        ),
        _Named("pyvars_workers_stopped", "gauge", "", _plain("stopped"), "Worker processes that a signal stopped."),
        _Named("pyvars_workers_silent", "gauge", "", _plain("silent"), "Worker processes that do not answer."),
        _Named(
            *("pyvars_workers_shared", "gauge", "", _plain("shared")),
            help="Whether the sums contain the numbers of all worker processes.",
        ),
    ),
}
"""The metric families of each built-in, by its import string."""


def conventional(target: str, figures: object) -> list[Family]:
    """The metric families of a built-in, given its runtime figures.

    A figure that is not a number has no sample: figures of a peer are not checked. The list is empty if `figures` is
    not a dict.
    """
    if not isinstance(figures, dict):
        return []
    row = cast("Row", figures)
    families: list[Family] = []
    for named in CONVENTIONS.get(target, ()):
        suffix = "_total" if named.kind == "counter" else ""
        samples = [Sample(suffix, labels, each) for labels, each in named.read(row) if isinstance(each, int | float)]
        families.append(Family(named.name, named.kind, named.help, named.unit, samples))
    return families
