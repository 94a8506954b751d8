"""Registry: variables by name."""

from collections.abc import Callable, Coroutine, ItemsView, Iterator, Mapping, ValuesView
from typing import Any, NamedTuple, Never, TypeVar, cast, overload

from pyvars.core.cells import lock
from pyvars.core.functions import Combine, Func, variable
from pyvars.core.names import OF_GO, checked_name, is_builtin, misread, prefixes
from pyvars.core.sharing import moved, same_kind, stays
from pyvars.core.variables import Composite, Var
from pyvars.errors import DuplicateNameError, UnknownNameError, warn_caller

__all__ = ("MISSING", "Metadata", "Registry", "checked_registry")

V = TypeVar("V", bound=Var)
F = TypeVar("F", bound=Callable[[], object])

MISSING: Any = object()
"""The default of the argument `var` of `publish`: no variable was passed, so `publish` returns a decorator."""


class Metadata(NamedTuple):
    """The description of a variable, given when it is published."""

    help: str = ""
    """One line on what the variable counts; empty if none was given. Prometheus shows it."""
    unit: str = ""
    """The unit, such as bytes, seconds or eur; empty if none was given. Prometheus has it in the name of the series."""


class Registry(Composite, Mapping[str, Var]):
    """Variables by name. A registry is a variable itself, so it can be published in another one.

        database = Registry()
        queries = database.publish("queries", Int())
        publish("db", database)

    A Registry is a read-only Mapping from names to variables; `publish` and `delete` change it. Iteration runs over a
    copy of the names, sorted by code point, as Go sorts them. Thread-safe; the function of a variable, a signal
    handler, a gc callback or a finalizer may use it, too. A forked child has a copy of it. Two registries are equal
    only if they are the same object.
    """

    kind = "registry"

    def __init__(self) -> None:
        super().__init__()
        # These change by single dict operations, or under the lock of the cells. While that is held, no code of the
        # program can run (see cells.py), so a signal handler or a finalizer never waits for a lock of its own thread.
        self._vars: dict[str, Var] = {}
        self._metadata: dict[str, Metadata] = {}
        self._prefixes: dict[str, int] = {}  # how many names begin with "a." or "a.b.", as "a.b.c" does
        self._version = object()

    _version: object
    """An object that each publish and delete replaces by a new one, so that readers notice when to compute anew."""

    @overload
    def publish(self, name: str, var: V, *, help: str = "", unit: str = "", exist_ok: bool = False) -> V: ...
    @overload
    def publish(
        self,
        name: str,
        var: Callable[[], Coroutine[Any, Any, Any]],
        *,
        help: str = "",
        unit: str = "",
        exist_ok: bool = False,
        combine: Combine | None = None,
    ) -> Never: ...
    @overload
    def publish(
        self,
        name: str,
        var: Callable[[], object],
        *,
        help: str = "",
        unit: str = "",
        exist_ok: bool = False,
        combine: Combine | None = None,
        every: float | None = None,
    ) -> Func: ...
    @overload
    def publish(
        self,
        name: str,
        *,
        help: str = "",
        unit: str = "",
        exist_ok: bool = False,
        combine: Combine | None = None,
        every: float | None = None,
    ) -> Callable[[F], F]: ...

    def publish(
        self,
        name: str,
        var: object = MISSING,
        *,
        help: str = "",
        unit: str = "",
        exist_ok: bool = False,
        combine: Combine | None = None,
        every: float | None = None,
    ) -> object:
        """Publish a variable, a function or any object with `snapshot()` under `name`. Returns the variable.

        Without `var` it returns a decorator for a function without arguments; the decorator returns that function
        unchanged. `help` is one line on what the variable counts, and `unit` its unit; Prometheus shows both. `combine`
        ("sum", "max" or "min") tells the page how to combine the values of a function in several workers; without it
        the page shows the value of the worker that answers. `every` is the number of seconds between two calls of a
        function in the background, from 0.1 to 86400: then no page calls it, and it may be a coroutine function (see
        Func).

        With `exist_ok=True` the name may already be taken by a variable of the same kind, as when a module runs twice.
        If that is a number, String, Map, Histogram or Registry, it stays, with its help and unit, and is returned; the
        new one is dropped. If it is a function, or another object with `snapshot()`, the new one replaces it, with the
        new `combine` and `every`; `help` and `unit` change only if they are given. A Func stays the same object then,
        and calls the new function.

        Raises:
            TypeError: `name`, `help` or `unit` is not a str, or `exist_ok` is not a bool; or `var` is not a variable
                (the text says what to write); or it is a generator function, or a coroutine function without `every`;
                or `combine` or `every` is given for something other than a function.
            ValueError: `name` is empty, over 255 bytes of UTF-8, or reserved: memstats, cmdline, pyvars and pyvars.* in
                upper or lower case (once memstats or cmdline is deleted, a function may be published under that name).
                Or `combine` is none of the three, or `every` is out of its range.
            DuplicateNameError: the name is taken; with `exist_ok=True`, it is taken by a variable of another kind.

        Warns:
            PyvarsWarning: the variable replaces a variable of pyvars itself, such as `gc` or `http`; or with
                `exist_ok=True` it replaces a function or object that has another qualified name or is defined in
                another file; or a known reader refuses the name, or mistakes it for another one. Such a name has
                characters that are not printable ASCII; has an empty or blank part (`a..b`, `.a`, `a.`), or over 18
                parts; contains `memstats`; or is `build`, `crypto` or `system`. Two names clash if one is the other
                with a dot and more, as `http.requests` is to `http`.
        """
        if not isinstance(name, str):
            hint = '; write @publish("name") with the name' if callable(name) and var is MISSING else ""
            raise TypeError(f"publish(name, variable): the name comes first and is a str, got {name!r}{hint}")
        for key, given, kind in (("help", help, str), ("unit", unit, str), ("exist_ok", exist_ok, bool)):
            if not isinstance(given, kind):
                raise TypeError(f"publish({name!r}, …, {key}={given!r}): {key} is a {kind.__name__}")
        if var is MISSING:

            def decorate(function: F) -> F:
                var = variable(function, f"publish({name!r}, ", combine, every)
                self._publish(name, var, Metadata(help, unit), exist_ok)
                return function

            return decorate
        var = variable(var, f"publish({name!r}, ", combine, every)
        return self._publish(name, var, Metadata(help, unit), exist_ok)

    def _publish(self, name: str, var: Var, metadata: Metadata, exist_ok: bool) -> Var:
        name = checked_name(name, var)
        self._warn(name)  # before anything is published: where warnings are errors, nothing is
        present = self._vars.get(name)
        if is_builtin(present) and not is_builtin(var) and name not in OF_GO:
            warn_caller(
                f"{name!r} was a variable of pyvars itself, which this one replaces; write delete({name!r}) before it"
                " to avoid this warning"
            )
            self.delete(name)
        with lock:
            taken = name in self._vars
            if not taken:
                self._vars[name] = var
        if taken:
            present = self._vars.get(name, var)
            if exist_ok and same_kind(present, var):
                return present if present is var or stays(present) else self._later(name, present, var, metadata)
            hint = (
                "exist_ok=True takes only a variable of the same kind, and a Histogram only with the same bounds"
                if exist_ok
                else "take another name, delete it first, or use it too with exist_ok=True"
                " (a module that is run and also imported publishes twice)"
            )
            raise DuplicateNameError(f"{name!r} is already published as {present!r}; {hint}")
        for prefix in prefixes(name):
            self._prefixes[prefix] = self._prefixes.get(prefix, 0) + 1
        if metadata != Metadata():
            self._metadata[name] = metadata
        self._version = object()
        self._changed(name, None)
        return var

    def _later(self, name: str, present: Var, var: Var, metadata: Metadata) -> Var:
        """Replace the function or object that is there by a later one. A Func stays, and calls the later function."""
        text = moved(name, present, var)
        if text:
            warn_caller(text)  # before anything is replaced: where warnings are errors, nothing is
        kept = present if type(present) is type(var) is Func else var
        with lock:
            unchanged = name in self._vars and self._vars[name] is present
            if unchanged:
                self._vars[name] = kept
        if not unchanged:  # deleted or replaced meanwhile, perhaps by code that the warning ran
            return self._publish(name, var, metadata, True)
        if kept is var:
            self._version = object()
            self._changed(name, present)
        else:
            cast("Func", present)._become(cast("Func", var))
        before = self._metadata.get(name, Metadata())
        self._metadata[name] = Metadata(metadata.help or before.help, metadata.unit or before.unit)
        return kept

    def _warn(self, name: str) -> None:
        if name in self._vars:
            return
        for text in misread(name):
            warn_caller(text)
        clash = next((prefix for prefix in prefixes(name) if prefix in self._vars), None)
        if clash is None and name in self._prefixes:
            clash = next((other for other in self if other.startswith(name + ".")), None)
        if clash is not None:
            warn_caller(
                f"{name!r} beside {clash!r}: Elasticsearch refuses a page where a name is both a value and a prefix"
            )

    def delete(self, name: str) -> None:
        """Remove `name` from the registry. A missing name is ignored. The variable itself is unchanged.

        Raises:
            TypeError: `name` is not a str.
        """
        if not isinstance(name, str):
            raise TypeError(f"delete(name): the name is a str, got {name!r}")
        before = self._vars.pop(name, None)
        if before is None:
            return
        self._metadata.pop(name, None)
        for prefix in prefixes(name):
            left = self._prefixes.get(prefix, 0) - 1
            if left > 0:
                self._prefixes[prefix] = left
            else:
                self._prefixes.pop(prefix, None)
        self._version = object()
        self._changed(name, before)

    def metadata(self, name: str) -> Metadata:
        """Returns the help and the unit with which the variable was published.

        Raises:
            UnknownNameError: nothing is published under `name`.
        """
        self[name]
        return self._metadata.get(name, Metadata())

    @property
    def _inline(self) -> bool:
        """False: its variables are read one by one."""
        return False

    def _children(self) -> Mapping[str, Var]:
        """The variables by name, unsorted."""
        return self._vars.copy()

    def _child(self, key: str) -> Var | None:
        """The variable published as `key`, or None."""
        return self._vars.get(key)

    def snapshot(self) -> dict[str, object]:
        """Returns the plain values of this process by name, sorted. Raises what a function in it raises."""
        return {name: var.snapshot() for name, var in self.items()}

    def __getitem__(self, name: str) -> Var:
        var = self._vars.get(name)
        if var is None:
            raise UnknownNameError(f"nothing is published as {name!r}")
        return var

    def __contains__(self, name: object) -> bool:
        return name in self._vars

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._vars.copy()))

    def __len__(self) -> int:
        return len(self._vars)

    def items(self) -> ItemsView[str, Var]:
        """Returns a copy of the names and variables, sorted by name."""
        variables = self._vars.copy()
        return {name: variables[name] for name in sorted(variables)}.items()

    def values(self) -> ValuesView[Var]:
        """Returns a copy of the variables, in the order of their names."""
        return dict(self.items()).values()

    def __bool__(self) -> bool:
        return True  # even if empty, so that `registry or default_registry` is the registry

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<Registry of {len(self)} variables>"


def checked_registry(thing: object) -> Registry:
    """Returns `thing`, an argument `registry`.

    Raises:
        TypeError: it is not a Registry.
    """
    if not isinstance(thing, Registry):
        raise TypeError(f"registry is a Registry, such as pyvars.default_registry, got {thing!r}")
    return thing
