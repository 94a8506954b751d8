"""Where a number lives: private memory of this process, and a word of memory shared with its peer workers if bound.

There are two kinds of cells, which say and do the same. Those in C (_cells.c) are five times as fast, and are what this
module exports where that was built; those in Python are here. PYVARS_NATIVE=0 in the environment takes these.

A bound cell in Python writes each new value through to its word; the value here stays the truth, and nobody else writes
the word. A store of 8 aligned bytes through a memoryview is one machine store: a reader in another process sees the old
number or the new one.

The rule of the cells in Python: nothing is called while the lock is held. CPython runs signal handlers, hands the GIL
to another thread and (before 3.12) collects garbage only at calls, backward jumps and allocations of containers, never
between the plain loads, additions, comparisons and stores used here. So no code of the program's can run in the middle
of an update, and a signal handler, a gc callback or a finalizer may itself count without deadlock. Not covered: a trace
or profile function (sys.settrace, sys.setprofile) that counts while it is tracing this file.
"""

import os
from contextlib import suppress
from operator import index
from threading import RLock
from typing import TYPE_CHECKING, Any, ClassVar, Literal, SupportsFloat, SupportsIndex, TypeAlias, TypeVar

from pyvars.core import resources

__all__ = (
    "INT64_MAX",
    "INT64_MIN",
    "Cell",
    "FloatCell",
    "IntCell",
    "NumberCell",
    "Words",
    "exact_float",
    "exact_int",
    "lock",
    "native",
    "fast_methods",
)

Words: TypeAlias = "memoryview[Any]"
"""Shared memory as 64-bit numbers, of the cell's own kind."""

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1

_BITS = "64 bits with a sign; the value is unchanged"

# One lock for every cell of the process. It is held for five bytecodes and, under the GIL, never while another thread
# runs, so it does not contend; a lock for each cell would cost 88 bytes a variable (threading.Lock and its semaphore).
#
# `with` ends with a call that is handed three Nones, and CPython 3.11 may collect garbage when it makes the tuple for
# them: a gc callback that counts then finds the lock held by its own thread. The update is complete by then, so the
# lock lets it in (RLock).
lock: Any = RLock()

resources.hold(__name__, "lock of the cells", first_in_child=lock._at_fork_reinit)  # as in threading, logging


class Cell:
    """One value that is plain JSON data at every moment, so that a page reads it without a check."""

    __slots__ = ()

    _value: Any

    def snapshot(self) -> object:
        """The value, as plain JSON data."""
        return self._value


class NumberCell(Cell):
    """A number of 8 bytes, which can be bound to a word of shared memory."""

    if not TYPE_CHECKING:  # each has a place for these
        __slots__ = ()

    _code: ClassVar[Literal["q", "d"]]
    """What the word holds, in the letters of the struct module."""
    gauge: bool
    """Whether it is a level, not a count."""
    _words: "memoryview[Any] | None"
    _index: int

    if TYPE_CHECKING:

        def _bind(self, words: Words, index: int) -> None: ...

        def _unbind(self) -> None: ...

        def _restart(self) -> None: ...


class PythonCell(NumberCell):
    """What the numbers in Python have in common."""

    __slots__ = ("_index", "_value", "_words", "gauge")

    def _bind(self, words: Words, index: int) -> None:
        """From now on `words[index]` is what the value is. The word must be this cell's alone."""
        with lock:
            words[index] = self._value
            self._words, self._index = words, index

    def _unbind(self) -> None:
        """Private again, with the value that it has."""
        self._words = None

    def _restart(self) -> None:
        """Private again, from zero: what a forked child does with numbers that its parent goes on to show."""
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
        self.gauge = gauge

    @property
    def value(self) -> int:
        """The number now. Read-only: count with `add`, or `set` it."""
        number: int = self._value
        return number

    def add(self, delta: SupportsIndex = 1) -> None:
        """Add `delta`, which may be negative. Exact from any thread, signal handler, gc callback or finalizer.

        Raises:
            TypeError: `delta` is no integer. The value is unchanged.
            OverflowError: the sum does not fit into 64 bits. The value is unchanged.
        """
        if type(delta) is int:
            with lock:
                value = self._value + delta
                if -0x8000000000000000 <= value <= 0x7FFFFFFFFFFFFFFF:  # literals: a name costs 5 ns each
                    self._value = value
                    words = self._words
                    if words is not None:
                        words[self._index] = value
                    return
        else:
            return IntCell.add(self, exact_int(delta))
        raise OverflowError(f"{self._value} and what was added do not fit into {_BITS}")

    def set(self, value: SupportsIndex) -> None:
        """Replace the number.

        Raises:
            TypeError: `value` is no integer.
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
        self.gauge = gauge

    @property
    def value(self) -> float:
        """The number now. Read-only: count with `add`, or `set` it."""
        number: float = self._value
        return number

    def add(self, delta: SupportsFloat | SupportsIndex = 1.0) -> None:
        """Add `delta`, which may be negative. Safe from any thread, signal handler, gc callback or finalizer.

        Raises:
            TypeError: `delta` is no number. The value is unchanged.
        """
        if type(delta) is not float:
            delta = exact_float(delta)
        with lock:
            value = self._value + delta
            self._value = value
            if self._words is not None:
                self._words[self._index] = value

    def set(self, value: SupportsFloat | SupportsIndex) -> None:
        """Replace the number. NaN and the infinities are kept, and are `null` on the page.

        Raises:
            TypeError: `value` is no number.
        """
        number = exact_float(value)
        with lock:
            self._value = number
            if self._words is not None:
                self._words[self._index] = number


def exact_int(value: SupportsIndex) -> int:
    """`value` as a plain int of 64 bits: adding it runs no code of a subclass.

    Raises:
        TypeError: it is no integer.
        OverflowError: it does not fit into 64 bits.
    """
    try:
        number = int.__pos__(index(value))
    except TypeError:
        raise TypeError(f"an Int counts in whole numbers, got {value!r}; publish a Float for fractions") from None
    if not INT64_MIN <= number <= INT64_MAX:
        raise OverflowError(f"the number does not fit into {_BITS}")  # which may have too many digits to be shown
    return number


def exact_float(value: SupportsFloat | SupportsIndex) -> float:
    """`value` as a plain float: adding it runs no code of a subclass.

    Raises:
        TypeError: it is no number (text is refused, although float() would parse it).
        OverflowError: it is an integer too large for a float.
    """
    if not hasattr(value, "__float__") and not hasattr(value, "__index__"):
        raise TypeError(f"a Float takes a number, got {value!r}")
    return float.__pos__(float(value))


C = TypeVar("C")


def fast_methods(kind: C) -> C:
    """Decorates the classes that programs count with: those in C are given what makes them the fastest."""
    return kind


native: bool = False
"""Whether the cells are those in C."""

if not TYPE_CHECKING and os.environ.get("PYVARS_NATIVE") != "0":
    with suppress(ImportError):  # it was installed without a compiler
        from pyvars.core import _cells

        native = True
        fast_methods = _cells.fast_methods

        @fast_methods
        class IntCell(_cells.IntCell, NumberCell):
            """A signed 64-bit integer."""

            __slots__ = ()

            _code = "q"

        @fast_methods
        class FloatCell(_cells.FloatCell, NumberCell):
            """A 64-bit floating point number."""

            __slots__ = ()

            _code = "d"
