"""The variables: Int, Float, String, Func, and what every variable is. Map has a file of its own.

Making one has no side effect; publishing it in a Registry makes it public.
"""

from collections.abc import Callable, Coroutine, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, ClassVar, Protocol, SupportsFloat, SupportsIndex, TypeGuard

from pyvars.cells import Cell, FloatCell, IntCell, lock

__all__ = ("Float", "Func", "Int", "String", "Var", "Variable", "variable")

MAX_STRING_BYTES = 64 * 1024


class Var(Protocol):
    """What can be published: any object with a method `snapshot()`."""

    def snapshot(self) -> object:
        """The value now, as plain JSON data. It may run code, and it may raise: that costs the page only this value."""
        ...


class Variable:
    """What the variables of pyvars say of themselves, so that no reader needs to know the kinds.

    An object that is no Variable, or overrides what is said here, is read like a Func: that is code of the program's.
    """

    __slots__ = ()

    kind: ClassVar[str]
    """The word for it: int, float, string, map, func, registry."""

    if TYPE_CHECKING:  # each has its own

        def snapshot(self) -> object: ...  # noqa: D102

    @property
    def inline(self) -> bool:
        """Whether `snapshot()` runs no code of the program's, so that it neither raises nor blocks."""
        return True

    def children(self) -> Mapping[str, Var] | None:
        """The variables it holds, by key; None when it is a leaf."""
        return None

    def shared(self) -> object:
        """What `snapshot()` says as an object that nobody may change, the same one as long as it says the same.

        A reader can so keep what it made of it. None where there is no such object.
        """
        return None


@lru_cache(maxsize=1024)
def is_own(kind: type) -> bool:
    """Whether reading a variable of this class runs code of pyvars only: a subclass may say something else."""
    if not issubclass(kind, Variable):
        return False
    owners = (next(each for each in kind.__mro__ if name in vars(each)) for name in _SAID)
    return all(owner.__module__.partition(".")[0] == "pyvars" for owner in owners)


_SAID = ("snapshot", "inline", "children", "shared")


class Int(IntCell, Variable):
    """A signed 64-bit integer: a count, or with `gauge=True` a level that rises and falls.

    The difference matters to readers that compute rates, and when a worker process ends: its counts are kept, its
    levels go with it. Thread-safe; exact also from signal handlers, gc callbacks and finalizers. A forked child goes
    on from the value at the fork, on its own.

    Raises:
        TypeError: `value` is no integer.
        OverflowError: `value` does not fit into 64 bits.
    """

    __slots__ = ("gauge",)

    kind = "int"

    gauge: bool
    """Whether it is a level, not a count."""

    def __init__(self, value: SupportsIndex = 0, *, gauge: bool = False) -> None:
        super().__init__(value)
        self.gauge = gauge

    def __repr__(self) -> str:
        return f"Int({self._value}{', gauge=True' if self.gauge else ''})"


class Float(FloatCell, Variable):
    """A 64-bit float: a sum, or with `gauge=True` a level that rises and falls. Thread-safe as Int is.

    Raises:
        TypeError: `value` is no number.
    """

    __slots__ = ("gauge",)

    kind = "float"

    gauge: bool
    """Whether it is a level, not a sum."""

    def __init__(self, value: SupportsFloat | SupportsIndex = 0.0, *, gauge: bool = False) -> None:
        super().__init__(value)
        self.gauge = gauge

    def __repr__(self) -> str:
        return f"Float({self._value}{', gauge=True' if self.gauge else ''})"


class String(Cell, Variable):
    """A text, such as a version or a state. Thread-safe.

    On the page a text of more than 64 KiB is cut and ends in `…(cut)`, and what is not valid Unicode (a lone surrogate)
    is U+FFFD; `value` is always the text as it was set.

    Raises:
        TypeError: `value` is no str.
    """

    __slots__ = ("_text",)

    kind = "string"

    def __init__(self, value: str = "") -> None:
        self.set(value)

    @property
    def value(self) -> str:
        """The text as it was set. Read-only: `set` it."""
        return self._text

    def set(self, value: str) -> None:
        """Replace the text.

        Raises:
            TypeError: `value` is no str. The old text stays.
        """
        if not isinstance(value, str):
            raise TypeError(f"a String takes a str, got {value!r}")
        text = str.__str__(value)
        shown = printable(text)
        with lock:  # both or none: the last to set is the one that is shown
            self._text = text
            self._value = shown

    def __repr__(self) -> str:
        return f"String({self._text!r})"


class Func(Variable):
    """A function without arguments, called for each page.

    It runs in a thread of pyvars, never two calls at once, under one deadline for all functions of a page. What it
    raises, and what JSON cannot hold, costs the page only this value.

    Raises:
        TypeError: `function` is no callable, or it is a coroutine or generator function.
    """

    __slots__ = ("_function",)

    kind = "func"

    def __init__(self, function: Callable[[], object]) -> None:
        if not callable(function):
            raise TypeError(f"Func takes a function without arguments, got {function!r}")
        if _code_flags(function) & _DELAYED:
            raise TypeError(
                f"{function!r} is a coroutine or generator function: it is called in a thread that has no event loop."
                " Publish a plain function that reads a value which the coroutine keeps up to date"
            )
        if _required_arguments(function):
            raise TypeError(f"{function!r} takes arguments; publish a function without, a lambda that gives them say")
        self._function = function

    @property
    def inline(self) -> bool:
        """False: it is code of the program's."""
        return False

    def snapshot(self) -> object:
        """Call the function and hand back what it returns. Raises what it raises."""
        return called(self._function)

    def __repr__(self) -> str:
        return f"Func({self._function!r})"


def called(function: Callable[[], object]) -> object:
    """What the function returns. Raises what it raises, and TypeError if that is a coroutine."""
    value = function()
    if isinstance(value, Coroutine):
        value.close()  # or it would warn later that it was never awaited
        raise TypeError("it returned a coroutine")
    return value


def variable(thing: object, call: str) -> Var:
    """`thing` as a variable: itself if it has `snapshot()`, a Func if it is a function.

    `call` is the call to show in the text of an error, up to the thing: `publish("orders", `.

    Raises:
        TypeError: it is neither; the text says what to write instead.
    """
    if isinstance(thing, type):
        raise TypeError(f"{call}{thing.__name__}) was given the class; give it a variable: {call}{thing.__name__}())")
    if _has_snapshot(thing):
        if _code_flags(thing.snapshot) & _DELAYED:
            raise TypeError(
                f"{call}{thing!r}): its snapshot() is a coroutine or generator function; make it a plain one"
            )
        return thing
    if callable(thing):
        return Func(thing)
    raise TypeError(
        f"{call}{thing!r}): {type(thing).__name__} is no variable; give it an Int(), Float(), String() or Map(),"
        " a function without arguments, or an object with a method snapshot()"
    )


def printable(text: str, limit: int = MAX_STRING_BYTES) -> str:
    """`text` as valid Unicode of at most `limit` bytes of UTF-8, a cut one marked."""
    if len(text) * 4 <= limit and text.isascii():
        return text
    data = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()
    if len(data) > limit:
        data = data[:limit] + "…(cut)".encode()
    return data.decode(errors="ignore")  # the cut may have split a character


# Bits of co_flags, https://docs.python.org/3/library/inspect.html#code-objects-bit-flags (inspect itself costs 30
# modules)
_DELAYED = 0x20 | 0x80 | 0x100 | 0x200  # GENERATOR, COROUTINE, ITERABLE_COROUTINE, ASYNC_GENERATOR


def _code_flags(function: object) -> int:
    while isinstance(function, partial):
        function = function.func
    if not hasattr(function, "__code__") and not hasattr(function, "__func__"):
        function = getattr(type(function), "__call__", None)  # noqa: B004 - its code is wanted, not whether it is there
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    flags: int = getattr(code, "co_flags", 0)
    return flags


def _required_arguments(function: object) -> int:
    """How many arguments a Python function must be given; 0 for what does not tell, such as built-in functions."""
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
