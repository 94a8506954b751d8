"""Int, Float and String, and the base classes of all variables. The other variables have files of their own.

Making a variable has no side effect; publishing it in a Registry makes it public.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import (
    TYPE_CHECKING,
    ClassVar,
    Protocol,
    TypeAlias,
)

from pyvars.core.cells import Cell, FloatCell, IntCell, fast_methods, lock, refuse_value
from pyvars.core.spans import Span

__all__ = ("Composite", "Float", "Int", "String", "Var", "Variable", "OnChange", "is_pyvars_code", "printable")

MAX_STRING_BYTES = 64 * 1024


class Var(Protocol):
    """Any object with a method `snapshot()`: it can be published."""

    def snapshot(self) -> object:
        """Returns the current value as plain JSON data. May run any code. If it raises, only this value is `null`."""
        ...


class Variable:
    """The base class of the variables of pyvars: how each kind is read, so that no reader needs to know the kinds.

    An object that is not a Variable, or overrides the methods here, is read like a Func: it is code of the program.
    """

    __slots__ = ()

    kind: ClassVar[str]
    """The name of the kind: int, float, string, map, histogram, func or registry."""

    if TYPE_CHECKING:  # each kind has its own

        def snapshot(self) -> object: ...  # noqa: D102

    @property
    def _inline(self) -> bool:
        """Whether `snapshot()` runs no code of the program, so that it neither raises nor blocks."""
        return True

    def _children(self) -> Mapping[str, Var] | None:
        """The variables it holds, by key; None if it is not a composite."""
        return None

    def _combined(self, values: Sequence[object]) -> object:
        """Returns one value for the values of several workers, of which the first is that of the worker that answers.

        It is not called for numbers in cells, which are summed. By default the first value stands for all.
        """
        return values[0]


OnChange: TypeAlias = Callable[[str | None, Var | Mapping[str, Var] | None], None]
"""Is called when a composite changes: see Composite."""


class Composite(Variable):
    """A variable that holds others by key, and calls a function when one is added, replaced or removed."""

    if not TYPE_CHECKING:  # the subclasses define the slot
        __slots__ = ()

    _on_change: OnChange | None
    """Called after each change with the key and the variable that was there before, or None.

    When all keys are removed, it is called with None and all variables that were there, by key. It must neither raise
    nor block.
    """

    def __init__(self) -> None:
        self._on_change = None

    def _child(self, key: str) -> Var | None:
        """The variable under `key`, or None."""
        return (self._children() or {}).get(key)

    def _merged(self, members: Mapping[str, object]) -> Mapping[str, object]:
        """Returns what the page shows, given the value under each key, which is combined over the workers already."""
        return members

    def _changed(self, key: str | None, before: Var | Mapping[str, Var] | None) -> None:
        """Call `_on_change`. The arguments are those of `_on_change`."""
        if self._on_change is not None:
            self._on_change(key, before)


@lru_cache(maxsize=1024)
def is_pyvars_code(kind: type) -> bool:
    """Whether reading a variable of this class runs code of pyvars only: a subclass of the program may override it."""
    if not issubclass(kind, Variable):
        return False
    owners = (
        next(each for each in kind.__mro__ if name in vars(each)) for name in _READ_METHODS if hasattr(kind, name)
    )
    return all(owner.__module__.partition(".")[0] == "pyvars" for owner in owners)


_READ_METHODS = ("snapshot", "_inline", "_children", "_combined", "_merged")


@fast_methods
class Int(IntCell, Variable):
    """Count with `add`; or with `gauge=True` keep a number that rises and falls, such as the jobs in a queue.

        orders = publish("orders", Int())
        orders.add()

    It is a signed 64-bit integer. Readers compute rates of counts, not of gauges; and when a worker ends, its counts
    are kept and its gauges are dropped. Thread-safe; exact also from signal handlers, gc callbacks and finalizers.

    `value`, `add` and `set` are about this process; the page shows the sum over all workers. A forked child starts from
    zero if its parent shows the page, since the parent goes on to show what was counted so far. Otherwise it goes on
    from the value at the fork, on its own.

    Raises:
        TypeError: `value` is not an integer.
        OverflowError: `value` does not fit into 64 bits.
    """

    __slots__ = ()

    kind = "int"

    def track(self) -> Span:
        """Add 1 while a block runs (use it with `with`), or while each call of a function runs (as a decorator).

        For a coroutine function that is the whole run of the coroutine, and for a generator its whole life.

        Raises:
            TypeError: the Int is not a gauge: counts do not go down.
        """
        if not self.gauge:
            raise TypeError("track() goes up and down again, so it is for Int(gauge=True); add() counts")
        return Span(self.add, lambda _: self.add(-1))

    def __repr__(self) -> str:
        return f"Int({self._value}{', gauge=True' if self.gauge else ''})"


@fast_methods
class Float(FloatCell, Variable):
    """Sum up with `add`; or with `gauge=True` keep a number that rises and falls, such as a temperature.

    It is a 64-bit floating point number, so sums are rounded. Threads, forks and workers are handled as for Int.

    Raises:
        TypeError: `value` is not a number.
        OverflowError: `value` is an integer too large for a float.
    """

    __slots__ = ()

    kind = "float"

    def __repr__(self) -> str:
        return f"Float({self._value}{', gauge=True' if self.gauge else ''})"


class String(Cell, Variable):
    """Show a text, such as a version or a state, and replace it with `set`. Thread-safe.

    On the page a text of more than 64 KiB of UTF-8 is cut and ends in `…(cut)`, and U+FFFD replaces what is not valid
    Unicode (a lone surrogate). `value` is always the text as it was set.

    Raises:
        TypeError: `value` is not a str.
    """

    __slots__ = ("_text", "_value", "truncated")

    kind = "string"

    truncated: bool
    """Whether the text is cut on the page, where `pyvars.errors` then names it."""

    def __init__(self, value: str = "") -> None:
        self.set(value)

    @property
    def value(self) -> str:
        """The text as it was set. Read-only: `set` it."""
        return self._text

    if not TYPE_CHECKING:
        value = value.setter(refuse_value)

    def set(self, value: str) -> None:
        """Replace the text.

        Raises:
            TypeError: `value` is not a str. The old text stays.
        """
        if not isinstance(value, str):
            raise TypeError(f"a String takes a str, got {value!r}")
        text = str.__str__(value)
        shown, truncated = printable(text)
        with lock:  # they change together, so that the page shows the text that was set last
            self._text = text
            self._value = shown
            self.truncated = truncated

    def __repr__(self) -> str:
        return f"String({self._text!r})"


def printable(text: str, limit: int = MAX_STRING_BYTES) -> tuple[str, bool]:
    """Returns `text` as valid Unicode, and whether it is cut: after `limit` bytes of UTF-8, with `…(cut)` behind it."""
    if len(text) * 4 <= limit and text.isascii():
        return text, False
    data = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()
    if len(data) <= limit:
        return data.decode(), False
    return (data[:limit] + "…(cut)".encode()).decode(errors="ignore"), True  # the cut may have split a character
