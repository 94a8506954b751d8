"""Cells: each holds one number, in private memory of this process or, if bound, in memory shared with its peers.

There are two implementations, which behave the same. The cells in C (_cells.c) are over ten times as fast, and this
module exports them if the C extension was built. The cells in Python are defined here; PYVARS_NATIVE=0 in the
environment selects them.

A bound cell in Python keeps its number in the cell, and writes each new number to its word of shared memory, too. It
never reads the word, and nothing else writes there. A store of 8 aligned bytes through a memoryview is one machine
store, so a reader in another process sees either the old number or the new one.

The cells in Python follow one rule: nothing is called while the lock is held. CPython runs signal handlers, hands the
GIL to another thread and (before 3.12) collects garbage only at calls, backward jumps and allocations of containers,
never between the plain loads, additions, comparisons and stores used here. So no code of the program can run in the
middle of an update, and a signal handler, a gc callback or a finalizer may count without deadlock. The exception is a
trace or profile function (sys.settrace, sys.setprofile) that counts while it traces this file: the count that it
interrupts can be lost.
"""

import os
from contextlib import suppress
from threading import RLock
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Never, SupportsFloat, SupportsIndex, TypeAlias, TypeVar

from pyvars.core import resources
from pyvars.core.exact import BITS, exact_bool, exact_float, exact_int

__all__ = (
    "Cell",
    "FloatCell",
    "IntCell",
    "NumberCell",
    "Words",
    "lock",
    "native",
    "fast_methods",
    "refuse_value",
)

Words: TypeAlias = "memoryview[Any]"
"""Shared memory as an array of 64-bit numbers: integers for an IntCell, floats for a FloatCell."""


# One lock serves all cells of the process. Under the GIL no other thread runs while a thread holds it (see the rule
# above), so there is no contention. A lock for each cell would cost 88 bytes a variable (threading.Lock and its
# semaphore).
#
# It is an RLock, because a `with` block ends with a call of `__exit__` with three Nones, and CPython 3.11 may collect
# garbage when it makes the tuple of these arguments. A gc callback that counts then finds the lock held by its own
# thread. The update is complete by then, so the callback may go on.
lock: Any = RLock()
"""Guards the cells and Maps in Python, the text of each String, and publishing in a Registry."""

resources.hold(__name__, "lock of the cells", first_in_child=lock._at_fork_reinit)  # as threading and logging do


def refuse_value(cell: object, value: object) -> Never:
    """The setter of `value`: it says what to write instead.

    Raises:
        AttributeError: always.
    """
    hint = ", or count with .add()" if isinstance(cell, NumberCell) else ""
    raise AttributeError(f"{type(cell).__name__}.value is read-only; write .set({value!r}){hint}")


class Cell:
    """Holds one value, which is plain JSON data at all times, so that the page encodes it without a check."""

    __slots__ = ()

    _value: Any

    def snapshot(self) -> object:
        """The value, as plain JSON data."""
        return self._value


class NumberCell(Cell):
    """Holds a number of 8 bytes, which can be bound to a word of shared memory."""

    if not TYPE_CHECKING:  # the subclasses define the slots
        __slots__ = ()

    _code: ClassVar[Literal["q", "d"]]
    """The type of the number, as a format character of the struct module: q (integer) or d (double)."""
    gauge: bool
    """Whether the number is a gauge, which rises and falls, and not a count."""
    _words: "memoryview[Any] | None"
    _index: int

    if TYPE_CHECKING:

        def _bind(self, words: Words, index: int) -> None: ...

        def _unbind(self) -> None: ...

        def _restart(self) -> None: ...


class PythonCell(NumberCell):
    """The base class of the cells in Python."""

    __slots__ = ("_index", "_value", "_words", "gauge")

    def _bind(self, words: Words, index: int) -> None:
        """Keep the number in `words[index]` from now on. No other cell may use that word.

        Raises:
            TypeError: `words` is not a memoryview, or `index` is not an int.
            ValueError: `words` is not a writable contiguous array of words of the cell's type, or has no such index.
        """
        if not isinstance(words, memoryview) or not isinstance(index, int):
            raise TypeError("_bind() takes a memoryview and an index")
        one_row = words.ndim == 1 and words.c_contiguous and not words.readonly and words.format == self._code
        if not one_row or not 0 <= index < len(words):
            raise ValueError(
                f"_bind() takes a writable contiguous one-dimensional memoryview of the format {self._code}, and an"
                " index in it"
            )
        with lock:
            words[index] = self._value
            self._words, self._index = words, index

    def _unbind(self) -> None:
        """Keep the number in private memory again. The value is unchanged."""
        self._words = None

    def _restart(self) -> None:
        """Keep the number in private memory again, and set it to 0.

        A forked child does this with the numbers that its parent still shows.
        """
        zero = 0 if self._code == "q" else 0.0
        with lock:
            self._words = None
            self._value = zero


class IntCell(PythonCell):
    """A signed 64-bit integer."""

    __slots__ = ()

    _code: ClassVar[Literal["q", "d"]] = "q"

    def __init__(self, value: SupportsIndex = 0, *, gauge: bool = False) -> None:
        self._words = None
        self._value = exact_int(value)
        self.gauge: bool = exact_bool(gauge)

    @property
    def value(self) -> int:
        """The current number in this process. Read-only: `add` and `set` change it."""
        number: int = self._value
        return number

    if not TYPE_CHECKING:
        value = value.setter(refuse_value)

    def add(self, delta: SupportsIndex = 1) -> None:
        """Add `delta`, which may be negative. No count is lost, also in threads, signal handlers and finalizers.

        Raises:
            TypeError: `delta` is not an integer. The value is unchanged.
            OverflowError: the sum does not fit into 64 bits. The value is unchanged.
        """
        if type(delta) is int:
            with lock:
                value = self._value + delta
                if -0x8000000000000000 <= value <= 0x7FFFFFFFFFFFFFFF:  # literals: each name would cost 5 ns
                    self._value = value
                    words = self._words
                    if words is not None:
                        words[self._index] = value
                    return
        else:
            return IntCell.add(self, exact_int(delta))
        raise OverflowError(f"{self._value} and what was added do not fit into {BITS}; the value is unchanged")

    def set(self, value: SupportsIndex) -> None:
        """Replace the number.

        Raises:
            TypeError: `value` is not an integer. The old value stays.
            OverflowError: `value` does not fit into 64 bits. The old value stays.
        """
        number = exact_int(value)
        with lock:
            self._value = number
            if self._words is not None:
                self._words[self._index] = number


class FloatCell(PythonCell):
    """A 64-bit floating point number."""

    __slots__ = ()

    _code: ClassVar[Literal["q", "d"]] = "d"

    def __init__(self, value: SupportsFloat | SupportsIndex = 0.0, *, gauge: bool = False) -> None:
        self._words = None
        self._value = exact_float(value)
        self.gauge: bool = exact_bool(gauge)

    @property
    def value(self) -> float:
        """The current number in this process. Read-only: `add` and `set` change it."""
        number: float = self._value
        return number

    if not TYPE_CHECKING:
        value = value.setter(refuse_value)

    def add(self, delta: SupportsFloat | SupportsIndex = 1.0) -> None:
        """Add `delta`, which may be negative. No addition is lost, also in threads, signal handlers and finalizers.

        Raises:
            TypeError: `delta` is not a number. The value is unchanged.
            OverflowError: `delta` is an integer too large for a float. The value is unchanged.
        """
        if type(delta) is not float:
            delta = exact_float(delta)
        with lock:
            value = self._value + delta
            self._value = value
            if self._words is not None:
                self._words[self._index] = value

    def set(self, value: SupportsFloat | SupportsIndex) -> None:
        """Replace the number. NaN and infinities are stored as they are; the page shows them as `null`.

        Raises:
            TypeError: `value` is not a number. The old value stays.
            OverflowError: `value` is an integer too large for a float. The old value stays.
        """
        number = exact_float(value)
        with lock:
            self._value = number
            if self._words is not None:
                self._words[self._index] = number


C = TypeVar("C", bound=type)


def fast_methods(kind: C) -> C:
    """Decorate a class that programs count with, so that CPython calls its C methods at full speed.

    Without the C extension the class is returned as it is. Only the methods that it inherits are renamed, so that the
    texts of errors show the name of the class: `Int.add()`, not `IntCell.add()`.
    """
    for method in vars(kind.__bases__[0]).values():
        if isinstance(method, FunctionType):
            method.__qualname__ = f"{kind.__name__}.{method.__name__}"
    return kind


native: bool = False
"""Whether the cells are implemented in C."""

if not TYPE_CHECKING and os.environ.get("PYVARS_NATIVE") != "0":
    with suppress(ImportError):  # pyvars was installed without a C compiler
        from pyvars.core import _cells

        native = True

        def fast_methods(kind: C) -> C:
            """Decorate a class that programs count with, so that CPython calls its C methods at full speed."""
            fast = _cells.fast_methods(kind)
            fast.__name__ = kind.__name__  # without the module, which the texts of errors would show
            return fast

        def _set(cell: object, name: str, value: object) -> None:
            if name == "value":
                refuse_value(cell, value)
            object.__setattr__(cell, name, value)

        @fast_methods
        class IntCell(_cells.IntCell, NumberCell):
            """A signed 64-bit integer."""

            __slots__ = ()

            _code = "q"
            __setattr__ = _set  # only the program gets here: the cells themselves are changed in C

        @fast_methods
        class FloatCell(_cells.FloatCell, NumberCell):
            """A 64-bit floating point number."""

            __slots__ = ()

            _code = "d"
            __setattr__ = _set
