"""The built-in variables: figures of the interpreter and of the process, one file each.

`BUILTINS` is the only table. An entry is a name and an import string until the variable is first read or an
integration is made, so an unread figure costs nothing and `import pyvars` brings in none of their modules.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from pyvars.core.functions import Func
from pyvars.core.registry import Registry

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
    "pyvars.workers": "pyvars.workers:Workers",
    "threads": "pyvars.runtime.threads:Threads",
}
"""Name of each built-in variable, and the class that reads it: made without arguments, read with `figures()`.

A class whose figures are of the worker processes together says how by `combined(rows)`, given those of each worker, its
own first; and by `kept(rows)` what stays of workers that have ended, given theirs.
"""

_HELP: Final = {
    "asyncio": "Tasks and lag of the event loops that serve the page",
    "cmdline": "The program, as Go's expvar shows it",
    "gc": "Collections and pauses by generation",
    "memstats": "Memory and garbage collection in the words of Go's runtime.MemStats",
    "process": "CPU, memory, files and context switches as the kernel counts them",
    "python": "Which interpreter runs",
    "pyvars.workers": "The worker processes whose numbers are summed on the page",
    "threads": "Threads of the program",
}


class Builtin(Func):
    """A built-in variable: our own bounded code, so it is read inline; imported when it is first needed."""

    __slots__ = ("_target", "shared")

    shared: Callable[[], object]
    """The figures; the same object for up to 100 ms, or for as long as they are the same."""

    builtin = True
    """So that it may have a name that is reserved."""

    def __init__(self, target: str) -> None:
        self._target = target
        super().__init__(self._load)
        self.shared = self._load

    @property
    def _inline(self) -> bool:
        """True: it is no code of the program's, it bounds its own cost, and it does not raise."""
        return True

    def start(self) -> None:
        """Import the variable, and with it set the hooks that it needs."""
        self._function = self.shared = _figures(self._target)

    def _load(self) -> object:
        self.start()
        return self._function()

    def snapshot(self) -> object:
        """The figures, to keep."""
        return deepcopy(self._function())

    @property
    def target(self) -> str:
        """The import string of its class."""
        return self._target

    def _combined(self, values: Sequence[object]) -> object:
        """What the figures of several workers are together."""
        rows = [cast("Row", value) for value in values if isinstance(value, dict)]
        return _combined(self._target, rows) if len(rows) > 1 else values[0]

    def __repr__(self) -> str:
        return f"<built-in {self._target}>"


@cache
def _class(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


@cache
def _figures(target: str) -> Callable[[], object]:
    figures: Callable[[], object] = _class(target)().figures
    return figures


def _combined(target: str, rows: "Sequence[Row]") -> object:
    combined: Callable[[Sequence[Row]], object] | None = getattr(_class(target), "combined", None)
    return rows[0] if combined is None else combined(rows)


def runtime_figures() -> dict[str, object]:
    """The figures of this process that the page has of all workers together, by import string.

    The values are the same objects for as long as they say the same.
    """
    return {target: _figures(target)() for target in BUILTINS.values() if hasattr(_class(target), "combined")}


def without_names(figures: Mapping[str, object]) -> dict[str, object]:
    """The same without what is never combined and may be long: the names of threads."""
    return {
        target: {key: each for key, each in cast("Row", row).items() if key != "names"}
        if isinstance(row, dict)
        else row
        for target, row in figures.items()
    }


def kept(workers: "Sequence[Mapping[str, Row]]") -> dict[str, object]:
    """What stays of the figures of workers that have ended, given those of each."""
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
    """Publish the built-in variables on `registry`, or `only` those named.

    `cmdline="name"` shows the basename of argv[0]; `"redacted"` the whole command line with what looks like a secret
    masked. A name that is taken on the registry is replaced. Every figure is of the process; a second registry shows
    the same ones.

    Raises:
        ValueError: `cmdline` or a name in `only` is none of the above.
    """
    if cmdline not in ("name", "redacted"):
        raise ValueError(f'cmdline is "name" or "redacted", got {cmdline!r}')
    names = sorted(BUILTINS) if only is None else list(only)
    for name in names:
        if name not in BUILTINS:
            raise ValueError(f"there is no built-in variable {name!r}; there are {', '.join(BUILTINS)}")
    for name in names:
        target = "pyvars.runtime.cmdline:Redacted" if (name, cmdline) == ("cmdline", "redacted") else BUILTINS[name]
        registry.delete(name)
        registry.publish(name, Builtin(target), help=_HELP[name])


def start(registry: Registry) -> None:
    """Set the hooks of the built-in variables on `registry`: gc callbacks, from then on for the life of the process."""
    for var in registry.values():
        if issubclass(type(var), Builtin):  # isinstance would ask the object, which is the program's
            cast("Builtin", var).start()
