"""The variables: Int, Float, String, and what every variable is. Map and Func have files of their own.

Making one has no side effect; publishing it in a Registry makes it public.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import (
    TYPE_CHECKING,
    ClassVar,
    Protocol,
    TypeAlias,
)

from pyvars.core.cells import Cell, FloatCell, IntCell, fast_methods, lock
from pyvars.core.spans import Span

__all__ = ("Composite", "Float", "Int", "String", "Var", "Variable", "OnChange", "is_pyvars_code", "printable")

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
    def _inline(self) -> bool:
        """Whether `snapshot()` runs no code of the program's, so that it neither raises nor blocks."""
        return True

    def _children(self) -> Mapping[str, Var] | None:
        """The variables it holds, by key; None when it is a fast_methods."""
        return None

    def _combined(self, values: Sequence[object]) -> object:
        """What the values of several workers are together; the first is the one of the worker that answers.

        Numbers that live in cells are summed before; for anything else the worker that answers stands for all.
        """
        return values[0]


OnChange: TypeAlias = Callable[[str | None, Var | Mapping[str, Var] | None], None]


class Composite(Variable):
    """A variable that holds others by key, and says so when one is put, replaced or taken away."""

    if not TYPE_CHECKING:  # each has a place for `_on_change`
        __slots__ = ()

    _on_change: OnChange | None
    """Called after each such change with the key and what stood there before, or with None and all there was before.

    Must neither raise nor block.
    """

    def __init__(self) -> None:
        self._on_change = None

    def _child(self, key: str) -> Var | None:
        """The variable under `key`, or None."""
        return (self._children() or {}).get(key)

    def _merged(self, members: Mapping[str, object]) -> Mapping[str, object]:
        """What the page shows, given what is shown under each key; of several workers, that is their sum."""
        return members

    def _changed(self, key: str | None, before: Var | Mapping[str, Var] | None) -> None:
        """Say that `key` holds something else than before."""
        if self._on_change is not None:
            self._on_change(key, before)


@lru_cache(maxsize=1024)
def is_pyvars_code(kind: type) -> bool:
    """Whether reading a variable of this class runs code of pyvars only: a subclass may say something else."""
    if not issubclass(kind, Variable):
        return False
    owners = (
        next(each for each in kind.__mro__ if name in vars(each)) for name in _READ_METHODS if hasattr(kind, name)
    )
    return all(owner.__module__.partition(".")[0] == "pyvars" for owner in owners)


_READ_METHODS = ("snapshot", "_inline", "_children", "_combined", "_merged")


@fast_methods
class Int(IntCell, Variable):
    """A signed 64-bit integer: a count, or with `gauge=True` a level that rises and falls.

    The difference matters to readers that compute rates, and when a worker process ends: its counts are kept, its
    levels go with it. Thread-safe; exact also from signal handlers, gc callbacks and finalizers.

    `value`, `add` and `set` are about this process's share; the page shows the sum over all worker processes. A forked
    child starts from zero if its parent shows the page, since the parent goes on to show what was counted so far; else
    it goes on from the value at the fork, on its own.

    Raises:
        TypeError: `value` is no integer.
        OverflowError: `value` does not fit into 64 bits.
    """

    __slots__ = ()

    kind = "int"

    def track(self) -> Span:
        """Up by one while a block runs, or each call of a function: `with` it, or decorate with it.

        Of a coroutine function that is the whole run of the coroutine, and of a generator its whole life.

        Raises:
            TypeError: it is no gauge: counts do not go down.
        """
        if not self.gauge:
            raise TypeError("track() goes up and down again, so it is for Int(gauge=True); add() counts")
        return Span(self.add, lambda _: self.add(-1))

    def __repr__(self) -> str:
        return f"Int({self._value}{', gauge=True' if self.gauge else ''})"


@fast_methods
class Float(FloatCell, Variable):
    """A 64-bit float: a sum, or with `gauge=True` a level that rises and falls. Thread-safe as Int is.

    Raises:
        TypeError: `value` is no number.
    """

    __slots__ = ()

    kind = "float"

    def __repr__(self) -> str:
        return f"Float({self._value}{', gauge=True' if self.gauge else ''})"


class String(Cell, Variable):
    """A text, such as a version or a state. Thread-safe.

    On the page a text of more than 64 KiB is cut and ends in `…(cut)`, and what is not valid Unicode (a lone surrogate)
    is U+FFFD; `value` is always the text as it was set.

    Raises:
        TypeError: `value` is no str.
    """

    __slots__ = ("_text", "_value")

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


def printable(text: str, limit: int = MAX_STRING_BYTES) -> str:
    """`text` as valid Unicode of at most `limit` bytes of UTF-8, a cut one marked."""
    if len(text) * 4 <= limit and text.isascii():
        return text
    data = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()
    if len(data) > limit:
        data = data[:limit] + "…(cut)".encode()
    return data.decode(errors="ignore")  # the cut may have split a character
