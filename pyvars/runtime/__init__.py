"""The built-in variables: figures of the interpreter and of the process, one file each.

`BUILTINS` is the only table. An entry is a name and an import string until the variable is first read or a carrier is
made, so an unread figure costs nothing and `import pyvars` brings in none of their modules.
"""

from collections.abc import Callable, Iterable
from copy import deepcopy
from functools import cache
from importlib import import_module
from typing import Final, Literal, cast

from pyvars.registry import Registry
from pyvars.variables import Func

__all__ = ("BUILTINS", "Builtin", "install", "start")

BUILTINS: Final = {
    "asyncio": "pyvars.runtime.event_loop:EventLoop",
    "cmdline": "pyvars.runtime.cmdline:Cmdline",
    "gc": "pyvars.runtime.gc:GC",
    "memstats": "pyvars.runtime.memstats:MemStats",
    "process": "pyvars.runtime.process:Process",
    "python": "pyvars.runtime.python:Python",
    "threads": "pyvars.runtime.threads:Threads",
}
"""Name of each built-in variable, and the class that reads it: made without arguments, read with `figures()`."""

_HELP: Final = {
    "asyncio": "Tasks and lag of the event loops that serve the page",
    "cmdline": "The program, as Go's expvar shows it",
    "gc": "Collections and pauses by generation",
    "memstats": "Memory and garbage collection in the words of Go's runtime.MemStats",
    "process": "CPU, memory, files and context switches as the kernel counts them",
    "python": "Which interpreter runs",
    "threads": "Threads of the program",
}


class Builtin(Func):
    """A built-in variable: our own bounded code, so it is read inline; imported when it is first needed."""

    __slots__ = ("_target",)

    def __init__(self, target: str) -> None:
        self._target = target
        super().__init__(self._load)

    @property
    def inline(self) -> bool:
        """True: it is no code of the program's, it bounds its own cost, and it does not raise."""
        return True

    def start(self) -> None:
        """Import the variable, and with it set the hooks that it needs."""
        self._function = _figures(self._target)

    def _load(self) -> object:
        self.start()
        return self._function()

    def shared(self) -> object:
        """The figures; the same object for up to 100 ms, or for as long as they are the same."""
        return self._function()

    def snapshot(self) -> object:
        """The figures, to keep."""
        return deepcopy(self._function())

    def __repr__(self) -> str:
        return f"<built-in {self._target}>"


@cache
def _figures(target: str) -> Callable[[], object]:
    module, _, name = target.partition(":")
    figures: Callable[[], object] = getattr(import_module(module), name)().figures
    return figures


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
