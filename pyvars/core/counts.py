"""Counts: numbers by key, the base class of a Map. It is implemented in Python here, and in C in _cells.c."""

from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsIndex

from pyvars.core.cells import NumberCell, lock, native
from pyvars.core.exact import INT64_MAX, INT64_MIN

__all__ = ("OTHER", "Counts")

OTHER = "__other__"
"""The key under which a Map counts for all keys for which it has no room, and for keys that readers refuse."""


class Counts:
    """Numbers by key: the part of a Map that counts. It holds up to `free` keys, and also `"__other__"`."""

    __slots__ = ("_cells", "_free")

    _cells: "dict[str, Any]"

    def __init__(self, free: int) -> None:
        self._cells = {}  # changed only under the lock
        self._free = free

    if TYPE_CHECKING:  # Map implements it

        def _add(self, key: str, delta: SupportsFloat | SupportsIndex = 1) -> None: ...

    def add(self, key: str, delta: SupportsFloat | SupportsIndex = 1) -> None:
        """Add `delta` to the number under `key`, which starts at 0.

        Adding a float to an integer turns it into a float; nothing that was counted is lost. If `key` was `set` to
        another variable that has a method `add`, that method is called.

        Raises:
            TypeError: `key` is not a str, `delta` is not a number, or the variable under `key` has no method `add`.
            OverflowError: the sum of integers does not fit into 64 bits. The value is unchanged.
        """
        if type(key) is str and type(delta) is int:  # not subclasses, whose hash, == and + may run code of the program
            with lock:
                cells = self._cells
                if key in cells:
                    cell = cells[key]
                    value = cell._value + delta
                    if -0x8000000000000000 <= value <= 0x7FFFFFFFFFFFFFFF:
                        cell._value = value
                        if cell._words is not None:
                            cell._words[cell._index] = value
                        return
        self._add(key, delta)

    def _place(self, key: str, new: NumberCell) -> tuple[str, NumberCell | None] | None:
        """Add the number of the cell `new` to the number under `key`, or put `new` itself under `key`.

        If `key` is missing and there is no room for it, `"__other__"` stands for it. If the key is missing, or an
        integer becomes a float, `new` is put there, and the key and the cell that it replaces (or None) are returned.
        Otherwise the number is added, and None is returned.

        Raises:
            TypeError: `key` is not a str, or `new` is no cell.
            OverflowError: the sum does not fit into 64 bits. The value is unchanged.
        """
        if not isinstance(new, NumberCell):
            raise TypeError(f"_place() takes an Int or a Float, got {new!r}")
        key = str.__str__(key)  # a plain str: hashing and comparing it runs no code of the program
        number = new._value
        with lock:
            cells = self._cells
            if key not in cells and self._free <= 0:
                key = OTHER
            if key not in cells:
                cells[key] = new
                if key != OTHER:
                    self._free -= 1
                value, cell, put = number, None, True
            else:
                cell = cells[key]
                value = cell._value + number
                put = cell._code == "q" and new._code == "d"
                if put:
                    new._value = value
                    new.gauge = cell.gauge
                    cells[key] = new
                elif cell._code == "d" or INT64_MIN <= value <= INT64_MAX:
                    cell._value = value
                    if cell._words is not None:
                        cell._words[cell._index] = value
                    return None
        if put:
            return key, cell
        raise OverflowError(f"{key!r}: {value} does not fit into 64 bits with a sign; the value is unchanged")

    def _put(self, key: str, new: NumberCell | None) -> None:
        """Put the cell `new` under `key`; None removes the key.

        Raises:
            TypeError: `key` is not a str, or `new` is neither a cell nor None.
        """
        if new is not None and not isinstance(new, NumberCell):
            raise TypeError(f"_put() takes an Int, a Float or None, got {new!r}")
        key = str.__str__(key)
        old = None
        with lock:
            if key in self._cells:
                old = self._cells[key]
                del self._cells[key]
                if key != OTHER:
                    self._free += 1
            if new is not None:
                self._cells[key] = new
                if key != OTHER:
                    self._free -= 1
        del old  # outside the lock: destroying it may run code of the program

    def _clear(self, free: int) -> "dict[str, Any]":
        """Remove all keys, and hold up to `free` keys from now on. Returns the cells that were there, by key."""
        cells: dict[str, Any] = {}
        with lock:
            cells, self._cells = self._cells, cells
            self._free = free
        return cells


if not TYPE_CHECKING and native:
    from pyvars.core._cells import Counts
