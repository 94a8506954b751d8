"""The built-in variables: runtime figures of the interpreter and of the process.

A built-in variable is published like any other: `pyvars.delete("cmdline")` removes it from the page, and
`install(registry)` publishes them all in a registry of your own. The variables with their figures, units and sources:

cmdline                             a list that holds the name of the program: the basename of a script, the package of
                                    `python -m package` (sys.argv[0], sys.orig_argv, __main__.__spec__)

memstats                            memory and garbage collection under the names of Go's runtime.MemStats
  Alloc, HeapAlloc          bytes   memory that the program uses: blocks of pymalloc, and glibc's mallinfo2 (uordblks,
                                    hblkhd)
  HeapIdle                  bytes   memory that the process holds and that the next allocation can take: free blocks
                                    and pools of pymalloc, and mallinfo2 fordblks
  HeapInuse                 bytes   HeapSys - HeapIdle
  HeapSys                   bytes   anonymous memory, with the stacks of all threads but the main one: RssAnon +
                                    VmSwap - VmStk of /proc/self/status, less BuckHashSys
  StackInuse, StackSys      bytes   the stack of the main thread: VmStk
  OtherSys                  bytes   code, libraries and shared memory: RssFile + RssShmem
  BuckHashSys               bytes   the tables of tracemalloc while it traces: tracemalloc.get_tracemalloc_memory()
  Sys                       bytes   resident and swapped memory: HeapSys + StackSys + OtherSys + BuckHashSys
  HeapObjects               blocks  blocks of memory in use: sys.getallocatedblocks()
  Mallocs, Frees            blocks  how much HeapObjects rose and fell from reading to reading, in all: lower bounds
  TotalAlloc                bytes   how much HeapAlloc rose from reading to reading, in all: a lower bound
  NumGC                             collections of all generations since recording began, when the first integration was
                                    made or the variable was first read: gc.callbacks
  NumForcedGC                       collections that are known to be of gc.collect(): a lower bound
  PauseTotalNs              ns      all pauses together: gc.callbacks, time.perf_counter_ns()
  PauseNs, PauseEnd         ns      the last 256 pauses, and when each ended; the newest is at (NumGC + 255) % 256
  LastGC                    ns      when the last collection ended, since 1970
  GCCPUFraction             0 to 1  the share of the time since recording began that collections took
  EnableGC, DebugGC                 gc.isenabled(); whether gc.get_debug() is not 0
  Lookups, HeapReleased, MSpan*, MCache*, GCSys, NextGC, BySize
                                    0 or empty: CPython has no such figures

gc
  enabled                           gc.isenabled()
  gen0, gen1, gen2                  of each generation: collections, collected and uncollectable objects
                                    (gc.get_stats()), threshold (gc.get_threshold()), pause_total_ns and pause_max_ns
                                    (gc.callbacks)

threads
  count, daemon, names              threads of Python: threading.enumerate(); at most 100 names
  native                            all threads of the process: Threads in /proc/self/status

process
  pid                               os.getpid()
  start_time_seconds        s       when the process started, since 1970: /proc/self/stat and the wall clock
  start_boottime_seconds    s       the same, counted from the start of the machine: /proc/self/stat
  uptime_seconds            s       the time since the process started: CLOCK_BOOTTIME
  cpu_user_seconds, cpu_system_seconds
                            s       CPU time: getrusage(RUSAGE_SELF)
  rss_bytes                 bytes   resident memory: VmRSS in /proc/self/status
  peak_rss_bytes            bytes   the most that rss_bytes has been: ru_maxrss of getrusage
  open_fds, max_fds                 open file descriptors: /proc/self/fd; the limit on them: RLIMIT_NOFILE
  context_switches_voluntary        how often the process waited, for example for I/O: getrusage
  context_switches_involuntary      how often the kernel gave its CPU to another thread: getrusage

python
  version, implementation           of Python: the module platform
  platform                          sys.platform
  pyvars                            the version of pyvars
  native                            whether pyvars counts with its C extension
  gil                               whether the GIL is on: sys._is_gil_enabled()

asyncio
  loops                             open event loops of the program on which an integration has run, or which pyvars
                                    found running
  tasks                             tasks that are not done: asyncio.all_tasks()
  lag_seconds               s       the lag of the event loop. Once a second pyvars sends each loop a probe, a callback
                                    (call_soon_threadsafe); the lag is the time until the loop runs it, and grows as
                                    long as the loop is blocked. With several loops this is the longest of their lags
  lag_max_seconds           s       the longest lag so far

asyncio_lag_seconds                 a Histogram of the lags of all probes; published once there is an event loop

pyvars.workers                      the worker processes: help("pyvars.workers")
  live, retired                     workers that run; workers that have ended, whose counts are kept
  blocked, stopped, silent          live workers in these states
  shared                            whether the sums on the page contain the numbers of all workers
  threads                           whether this process runs the threads of pyvars
  reason                            why `shared` or `threads` is false, or a hint that a process of the program is not
                                    on the page; mostly empty

pyvars reads costly figures at most every 100 ms, and less often if that would take more than 1 % of a CPU: figures that
take 5 ms to read are read every 500 ms. On a system without /proc, it reads the figures that psutil has.

HeapAlloc never exceeds HeapSys. Without pymalloc (PYTHONMALLOC=malloc), HeapAlloc is the memory in use that malloc
reports. If malloc reports nothing (musl, jemalloc), HeapAlloc is HeapSys less the free memory of pymalloc. Under
tracemalloc it is an upper bound.

If the file in /proc that a figure is read from is missing, the page lacks the figure; in `memstats` it is 0, because
readers of `memstats` need every key. If reading fails for another reason, the whole variable is null. In both cases
`pyvars.errors` names the figure or the variable.

`BUILTINS` is the only table of the built-in variables. pyvars imports their modules when a variable is first read or an
integration is made, so `import pyvars` imports none of these modules, and a variable that is not read costs nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from pyvars.core.functions import Func
from pyvars.core.names import is_builtin
from pyvars.core.registry import Registry, checked_registry
from pyvars.errors import warn_caller

if TYPE_CHECKING:
    from pyvars.runtime.combine import Row

__all__ = ("BUILTINS", "Builtin", "install", "kept", "start", "runtime_figures", "without_names")

BUILTINS: Final = {
    "asyncio": "pyvars.runtime.event_loop:EventLoop",
    "cmdline": "pyvars.runtime.cmdline:Cmdline",
    "gc": "pyvars.runtime.gc:GC",
    "memstats": "pyvars.runtime.memstats:MemStats",
    "process": "pyvars.runtime.process:Process",
    "python": "pyvars.runtime.python:Python",
    "pyvars.workers": "pyvars.workers.membership.census:Workers",
    "threads": "pyvars.runtime.threads:Threads",
}
"""The name of each built-in variable, and the import string of the class that reads it.

The class is called without arguments. Its `figures()` returns the figures of this process, or raises if they cannot be
read now: a count that the page showed as 0 for a moment would look like a restart. Figures whose file is missing are
absent, or 0 if readers need them, and the attribute `missing` names them. If a text in the figures can be too long, the
attribute `truncated` tells whether a text was cut. If the page combines the figures of all workers, the class has
`combined(rows)`: it gets a row of figures for each worker, and the first row is that of the worker that answers. If
figures of dead workers are kept, the class has `kept(rows)`, which gets a row for each dead worker.
"""

_HELP: Final = {
    "asyncio": "Tasks and lag of the event loops of the program",
    "cmdline": "The program, as Go's expvar shows it",
    "gc": "Collections and pauses by generation",
    "memstats": "Memory and garbage collection, with the names of Go's runtime.MemStats",
    "process": "CPU, memory, files and context switches as the kernel counts them",
    "python": "Which interpreter runs",
    "pyvars.workers": "The worker processes whose numbers are summed on the page",
    "threads": "Threads of the program",
}


class Builtin(Func):
    """A built-in variable. Its class is imported when it is first needed. It is read inline, as its cost is bounded."""

    __slots__ = ("_reader", "_target", "shared")

    shared: Callable[[], object]
    """Returns the figures without a copy: the same object for up to 100 ms, or until the figures change. May raise."""

    builtin = True
    """Allows a reserved name, and lets a variable of the program replace this one."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._reader: object = None
        super().__init__(self._load)
        self.shared = self._load

    @property
    def _inline(self) -> bool:
        """True: it runs no code of the program, and bounds its own cost."""
        return True

    def start(self) -> None:
        """Import the class and make the object that reads the figures, which sets the hooks that it needs."""
        reader = _reader(self._target)
        self._reader, self._function, self.shared = reader, reader.figures, reader.figures

    def _load(self) -> object:
        self.start()
        return self._function()

    def snapshot(self) -> object:
        """Returns a copy of the figures. Raises the exception that reading them raised."""
        return deepcopy(self._function())

    @property
    def truncated(self) -> bool:
        """Whether the latest reading of the figures cut a text that was too long."""
        return getattr(self._reader, "truncated", False)

    @property
    def missing(self) -> Mapping[str, Exception]:
        """The figures that the latest reading could not read, and the exception that each raised."""
        return getattr(self._reader, "missing", {})

    @property
    def target(self) -> str:
        """The import string of its class."""
        return self._target

    def _combined(self, values: Sequence[object]) -> object:
        """Returns the figures of several workers together."""
        rows = [cast("Row", value) for value in values if isinstance(value, dict)]
        return _combined(self._target, rows) if len(rows) > 1 else values[0]

    def __repr__(self) -> str:
        return f"<built-in {self._target}>"


@cache
def _class(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


@cache
def _reader(target: str) -> Any:
    return _class(target)()


def _combined(target: str, rows: "Sequence[Row]") -> object:
    combined: Callable[[Sequence[Row]], object] | None = getattr(_class(target), "combined", None)
    return rows[0] if combined is None else combined(rows)


def runtime_figures() -> dict[str, object]:
    """Returns the figures of this process that the page shows for all workers together, by import string.

    A value is the same object until the figures are read anew and differ. Figures that cannot be read now are missing.
    """
    found: dict[str, object] = {}
    for target in BUILTINS.values():
        with suppress(Exception):  # the page names a variable that cannot be read
            if hasattr(_class(target), "combined"):
                found[target] = _reader(target).figures()
    return found


def without_names(figures: Mapping[str, object]) -> dict[str, object]:
    """Returns the figures without the names of threads, which are never combined and may be long."""
    return {
        target: {key: each for key, each in cast("Row", row).items() if key != "names"}
        if isinstance(row, dict)
        else row
        for target, row in figures.items()
    }


def kept(workers: "Sequence[Mapping[str, Row]]") -> dict[str, object]:
    """Returns what is kept of the figures of workers that ended, given the figures of each, by import string."""
    found: dict[str, object] = {}
    for target in BUILTINS.values():
        rows = [figures[target] for figures in workers if target in figures]
        keep: Callable[[Sequence[Row]], object] | None = getattr(_class(target), "kept", None)
        if rows and keep is not None:
            found[target] = keep(rows)
    return found


def install(
    registry: Registry, *, cmdline: Literal["name", "redacted"] = "name", only: Iterable[str] | None = None
) -> None:
    """Publish the built-in variables in `registry`, or only those named in `only`.

    `cmdline="name"` shows only the name of the program (the basename of a script, the package of `python -m package`);
    `"redacted"` shows the whole command line, and masks what looks like a secret. If the program has published a
    variable under one of the names, that variable stays, and a PyvarsWarning says so. The figures are those of the
    process, so they are the same in every registry.

    Raises:
        TypeError: `registry` is no Registry, or `only` no collection of names.
        ValueError: `cmdline` is neither of these, or a name in `only` is not that of a built-in variable.
    """
    checked_registry(registry)
    if only is not None and (isinstance(only, str) or not isinstance(only, Iterable)):
        raise TypeError(f'only is a collection of names, such as ["gc"], got {only!r}')
    if cmdline not in ("name", "redacted"):
        raise ValueError(f'cmdline is "name" or "redacted", got {cmdline!r}')
    names = sorted(BUILTINS) if only is None else list(only)
    for name in names:
        if name not in BUILTINS:
            raise ValueError(f"there is no built-in variable {name!r}; there are {', '.join(BUILTINS)}")
    for name in names:
        target = "pyvars.runtime.cmdline:Redacted" if (name, cmdline) == ("cmdline", "redacted") else BUILTINS[name]
        present = registry.get(name)
        if present is not None and not is_builtin(present):
            warn_caller(f"{name!r} is published by the program, so the built-in variable of that name is left out")
            continue
        registry.delete(name)
        registry.publish(name, Builtin(target), help=_HELP[name])


def start(registry: Registry) -> None:
    """Start the built-in variables in `registry`. This sets gc callbacks until the process ends.

    Each variable is read once now, so that its modules are imported now: a later page might find no free file
    descriptor to import them with.
    """
    for var in registry.values():
        if issubclass(type(var), Builtin):  # isinstance may run code of the program: __class__
            with suppress(Exception):  # each page reads the variable again, and names it if that fails
                cast("Builtin", var).start()
                cast("Builtin", var).shared()
