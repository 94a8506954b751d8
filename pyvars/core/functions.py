"""Func, a function as a variable; and `variable`, which turns what a program publishes into a variable."""

from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any, Literal, TypeAlias, TypeGuard, cast
from weakref import WeakSet

from pyvars.core.variables import Var, Variable

__all__ = ("PERIODIC", "Combine", "Func", "called", "is_coroutine_function", "is_delayed", "on_periodic", "variable")

Combine: TypeAlias = Literal["sum", "max", "min"]
"""How the page combines the values of a function in several workers: it shows their sum, maximum or minimum."""

MIN_EVERY = 0.1
"""The smallest `every`, in seconds."""
MAX_EVERY = 86400
"""The largest `every`, in seconds: a day."""

_COMBINE: dict[str, Callable[[Iterable[Any]], object]] = {"sum": sum, "max": max, "min": min}


class Func(Variable):
    """A function without arguments as a variable: each page calls it and shows what it returns.

        publish("queue_depth", jobs.qsize)    # publish makes the Func

    The function runs in a thread of pyvars. Two calls of it never overlap, unless it is published both with and without
    `every`. All functions of a page share one deadline. For a function that misses it the page shows the value of its
    last call, if that is at most 10 s old, else null. If a function raises, or returns a value that has no JSON form,
    only its own variable is null. `help("pyvars.formats.forms")` says what a function may return, and how the page
    shows that.

    With `combine` the page shows the sum, maximum or minimum over all workers; without it, the value of the worker that
    answers.

    With `every`, pages do not call the function: a thread of pyvars calls it every `every` seconds, and pages show the
    latest value. It does so in each process that has an integration, and in the forked children of such a process,
    whether or not anybody reads a page. With `every` the function may be a coroutine function, which runs on an event
    loop of the program.

    Raises:
        TypeError: `function` is not callable, requires arguments, is a generator function, or is a coroutine function
            without `every`.
        ValueError: `combine` is none of "sum", "max", "min" and None, or `every` is not from 0.1 to 86400.
    """

    __slots__ = ("__weakref__", "_function", "combine", "every")

    kind = "func"

    combine: Combine | None
    """How the page combines the values of several workers. None: it shows the value of the worker that answers."""
    every: float | None
    """The seconds between two calls in the background. None: each page calls the function."""

    def __init__(
        self, function: Callable[[], object], *, combine: Combine | None = None, every: float | None = None
    ) -> None:
        if combine not in (None, *_COMBINE):
            raise ValueError(f'combine is "sum", "max" or "min", got {combine!r}')
        if every is not None and not (type(every) in (int, float) and MIN_EVERY <= every <= MAX_EVERY):
            raise ValueError(f"every is the seconds between two calls, from {MIN_EVERY} to {MAX_EVERY}, got {every!r}")
        if not callable(function):
            raise TypeError(f"Func takes a function without arguments, got {function!r}")
        if _code_flags(function) & (_GENERATORS if every is not None else _DELAYED):
            raise TypeError(
                f"{function!r} is a coroutine or generator function, but pages call functions in a thread without an"
                " event loop. Publish a coroutine function with every=10: then it runs on the event loop of the program"
                " every 10 s. Or publish a plain function that reads a value which the coroutine keeps up to date"
            )
        if _required_arguments(function):
            raise TypeError(f"{function!r} takes arguments; give one that takes none, such as a lambda")
        self._function = function
        self.combine = combine
        self.every = every
        if every is not None:
            _add_periodic(self)

    @property
    def _inline(self) -> bool:
        """False: `snapshot()` runs code of the program."""
        return False

    def _combined(self, values: Sequence[object]) -> object:
        """Returns the sum, maximum or minimum of the values that are numbers; for dicts, that of each key.

        If the first value is neither a number nor a dict, or without `combine`, it returns the first value.
        """
        return values[0] if self.combine is None else _combined(_COMBINE[self.combine], values)

    def snapshot(self) -> object:
        """Call the function. Returns its result, and raises what it raises."""
        return called(self._function)

    def _become(self, later: "Func") -> None:
        """Take over the function, `combine` and `every` of a later Func."""
        self.every = later.every or self.every  # first: at no moment may there be a coroutine function without `every`
        self._function = later._function
        self.combine, self.every = later.combine, later.every
        if self.every is None:
            PERIODIC.discard(self)
        else:
            _add_periodic(self)

    def __repr__(self) -> str:
        return f"Func({self._function!r})"


PERIODIC: "WeakSet[Func]" = WeakSet()
"""The Funcs with `every`. The set keeps none alive, so a Func that is deleted from its registry leaves the set, too."""
_wakes: list[Callable[[], None]] = []


def on_periodic(wake: Callable[[], None]) -> None:
    """Register `wake`, which makes a thread look at PERIODIC: it is called when a Func has been added."""
    _wakes.append(wake)


def _add_periodic(func: Func) -> None:
    PERIODIC.add(func)
    for wake in _wakes:
        wake()


def is_coroutine_function(function: object) -> bool:
    """Whether a call of the function makes a coroutine."""
    return bool(_code_flags(function) & _COROUTINE)


def _combined(together: Callable[[Iterable[Any]], object], values: Sequence[object]) -> object:
    first = values[0]
    if isinstance(first, dict):
        dicts = [cast("dict[str, object]", value) for value in values if isinstance(value, dict)]
        keys = {key: None for each in dicts for key in each}
        return {key: _combined(together, [each[key] for each in dicts if key in each]) for key in keys}
    numbers = [value for value in values if isinstance(value, int | float)]
    return together(numbers) if isinstance(first, int | float) else first


def called(function: Callable[[], object]) -> object:
    """Call `function`. Returns its result, and raises what it raises.

    Raises:
        TypeError: the function returned a coroutine, which is closed and never runs.
    """
    value = function()
    if isinstance(value, Coroutine):
        value.close()  # or Python warns later that it was never awaited
        raise TypeError("it returned a coroutine")
    return value


def variable(thing: object, call: str, combine: Combine | None = None, every: float | None = None) -> Var:
    """Returns `thing` as a variable: itself if it has a method `snapshot()`, a Func if it is a function.

    Error texts show `call`: the beginning of the call with which the program passed `thing`, such as
    `publish("orders", `.

    Raises:
        TypeError: `thing` is neither, or it is a coroutine or generator function; or `combine` or `every` is given,
            and `thing` is not a function. The text says what to write instead.
        ValueError: `combine` is none of "sum", "max", "min" and None, or `every` is not from 0.1 to 86400.
    """
    plain = isinstance(thing, type) or not callable(thing) or _has_snapshot(thing)
    if combine is not None and plain:
        raise TypeError(
            f"{call}{thing!r}, combine={combine!r}): combine is for functions; numbers are summed over all workers, and"
            " of any other variable the page shows the value of the worker that answers"
        )
    if every is not None and plain:
        raise TypeError(f"{call}{thing!r}, every={every!r}): every is for functions; numbers are always up to date")
    if isinstance(thing, type):
        raise TypeError(f"{call}{thing.__name__}) got the class, not a variable; write {call}{thing.__name__}())")
    if _has_snapshot(thing):
        if is_delayed(thing.snapshot):
            raise TypeError(
                f"{call}{thing!r}): its snapshot() is a coroutine or generator function; make it a plain one"
            )
        return thing
    if callable(thing):
        return Func(thing, combine=combine, every=every)
    raise TypeError(
        f"{call}{thing!r}): {type(thing).__name__} is no variable; give it an Int(), Float(), String() or Map(),"
        " a function without arguments, or an object with a method snapshot()"
    )


# Bits of co_flags, https://docs.python.org/3/library/inspect.html#code-objects-bit-flags (importing inspect imports 30
# modules)
_COROUTINE = 0x80
_GENERATORS = 0x20 | 0x100 | 0x200  # GENERATOR, ITERABLE_COROUTINE, ASYNC_GENERATOR
_DELAYED = _COROUTINE | _GENERATORS


def is_delayed(function: object) -> bool:
    """Whether a call of the function makes a coroutine or a generator, and so does not run its code yet."""
    return _code_flags(function) & _DELAYED != 0


def _code_flags(function: object) -> int:
    while isinstance(function, partial):
        function = function.func
    if not hasattr(function, "__code__") and not hasattr(function, "__func__"):
        function = getattr(type(function), "__call__", None)  # noqa: B004 - its code is needed, not whether it exists
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    flags: int = getattr(code, "co_flags", 0)
    return flags


def _required_arguments(function: object) -> int:
    """Returns how many arguments a Python function requires; 0 if that is unknown, as for built-in functions."""
    plain = getattr(function, "__func__", function)
    code = getattr(plain, "__code__", None)
    if code is None:
        return 0
    bound = plain is not function
    positional: int = code.co_argcount - bound - len(getattr(plain, "__defaults__", None) or ())
    keywords: int = code.co_kwonlyargcount - len(getattr(plain, "__kwdefaults__", None) or ())
    return max(0, positional) + max(0, keywords)


def _has_snapshot(thing: object) -> TypeGuard[Var]:
    return callable(getattr(thing, "snapshot", None))
