"""Int, Float and String, and the base classes of all variables. The other variables are in modules of their own.

Making a variable has no side effect: no page shows it before it is published in a Registry.
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
"""The maximum length of a text on the page, in bytes of UTF-8. A longer one is cut."""


class Var(Protocol):
    """The protocol of what can be published: any object with a method `snapshot()`."""

    def snapshot(self) -> object:
        """Returns the current value as JSON data. If it raises, the page shows null for this variable alone.

        pyvars calls it in a thread of its own, under the deadline of the page, as it calls the function of a Func.
        """
        ...


class Variable:
    """The base class of the variables of pyvars. Readers use its methods, and so need not know the kinds of variables.

    An object that is not a Variable, or whose class overrides these methods, is read as a Func is, because reading it
    runs code of the program.
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
        """Returns one value, given the values of several workers. The first is that of the worker that answers.

        By default it returns that one. It is not called for numbers in cells, which are summed.
        """
        return values[0]


OnChange: TypeAlias = Callable[[str | None, Var | Mapping[str, Var] | None], None]
"""The type of the function that is called when a composite changes: see Composite."""


class Composite(Variable):
    """A variable that holds others by key, and calls a function when one is added, replaced or removed."""

    if not TYPE_CHECKING:  # the subclasses define the slot
        __slots__ = ()

    _on_change: OnChange | None
    """If set, called after each change with the key, and the variable that was under it before, or None.

    When all keys are removed, it is called with None, and all variables that were there, by key. It must neither raise
    nor block.
    """

    def __init__(self) -> None:
        self._on_change = None

    def _child(self, key: str) -> Var | None:
        """The variable under `key`, or None."""
        return (self._children() or {}).get(key)

    def _merged(self, members: Mapping[str, object]) -> Mapping[str, object]:
        """Returns what the page shows. `members` are the values by key, which are already combined over the workers."""
        return members

    def _changed(self, key: str | None, before: Var | Mapping[str, Var] | None) -> None:
        """Call `_on_change`. The arguments are those of `_on_change`."""
        if self._on_change is not None:
            self._on_change(key, before)


@lru_cache(maxsize=1024)
def is_pyvars_code(kind: type) -> bool:
    """Whether reading a variable of this class runs only code of pyvars, and none that the program overrides."""
    if not issubclass(kind, Variable):
        return False
    owners = (
        next(each for each in kind.__mro__ if name in vars(each)) for name in _READ_METHODS if hasattr(kind, name)
    )
    return all(owner.__module__.partition(".")[0] == "pyvars" for owner in owners)


_READ_METHODS = ("snapshot", "_inline", "_children", "_combined", "_merged")


@fast_methods
class Int(IntCell, Variable):
    """A whole number: a count that `add` increases; with `gauge=True` a level, such as the jobs in a queue.

        orders = publish("orders", Int())
        orders.add()

    It is a signed 64-bit integer. Readers compute rates of counts, but not of gauges. When a worker ends, its counts
    are kept, and its gauges are dropped. Thread-safe; exact also in signal handlers, gc callbacks and finalizers.

    `value`, `add` and `set` concern this process; the page shows the sum over all workers. If the process shares its
    numbers, a forked child starts at 0: what was counted before the fork is in the number of its parent. Otherwise the
    child continues from the value at the fork.

    Raises:
        TypeError: `value` is not an integer.
        OverflowError: `value` does not fit into 64 bits.
    """

    __slots__ = ()

    kind = "int"

    def track(self) -> Span:
        """Add 1 while a `with` block runs, or, as a decorator, while a call of the function runs; then subtract 1.

        A call of a coroutine function lasts until the coroutine ends, and a call of a generator function until the
        generator ends.

        Raises:
            TypeError: the Int is not a gauge, and a count must not fall.
        """
        if not self.gauge:
            raise TypeError("track() adds 1 and subtracts it again, so it needs Int(gauge=True); to count, use add()")
        return Span(self.add, lambda _: self.add(-1))

    def __repr__(self) -> str:
        return f"Int({self._value}{', gauge=True' if self.gauge else ''})"


@fast_methods
class Float(FloatCell, Variable):
    """A float: a sum that `add` increases, or with `gauge=True` a level, such as a temperature.

    It is a 64-bit floating point number, so sums are rounded. For threads, forks and workers the same holds as for an
    Int.

    Raises:
        TypeError: `value` is not a number.
        OverflowError: `value` is an integer too large for a float.
    """

    __slots__ = ()

    kind = "float"

    def __repr__(self) -> str:
        return f"Float({self._value}{', gauge=True' if self.gauge else ''})"


class String(Cell, Variable):
    """A text, such as a version or a state, which `set` replaces. Thread-safe.

    The page shows the text of the worker that answers. A text of more than 64 KiB of UTF-8 is cut there and ends in
    `…(cut)`, and U+FFFD replaces each lone surrogate. `value` is always the text as it was set. A forked child has the
    text of its parent at the fork.

    Raises:
        TypeError: `value` is not a str.
    """

    __slots__ = ("_text", "_value", "truncated")

    kind = "string"

    truncated: bool
    """Whether the text is cut on the page; if so, `pyvars.errors` names the variable."""

    def __init__(self, value: str = "") -> None:
        self.set(value)

    @property
    def value(self) -> str:
        """The text as it was set. Read-only: `set` changes it."""
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
        with lock:  # all three change together, so that the page shows the text that was set last
            self._text = text
            self._value = shown
            self.truncated = truncated

    def __repr__(self) -> str:
        return f"String({self._text!r})"


def printable(text: str, limit: int = MAX_STRING_BYTES) -> tuple[str, bool]:
    """Returns `text` as the page shows it, and whether it is cut.

    U+FFFD replaces lone surrogates. A text of more than `limit` bytes of UTF-8 is cut there, and `…(cut)` is appended.
    """
    if len(text) * 4 <= limit and text.isascii():
        return text, False
    data = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()
    if len(data) <= limit:
        return data.decode(), False
    return (data[:limit] + "…(cut)".encode()).decode(errors="ignore"), True  # the cut may have split a character
