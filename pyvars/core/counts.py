"""Where numbers by key live: the part of a Map that counts, in Python, or in C as the cells are (_cells.c)."""

from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsIndex

from pyvars.core.cells import INT64_MAX, INT64_MIN, NumberCell, lock, native

__all__ = ("OTHER", "Counts")

OTHER = "__other__"
"""The key under which is counted what has no place of its own."""


class Counts:
    """Numbers by key: the part of a Map that counts. It takes `free` keys, and `"__other__"`."""

    __slots__ = ("_cells", "_free")

    _cells: "dict[str, Any]"

    def __init__(self, free: int) -> None:
        self._cells = {}  # changed only under the lock
        self._free = free

    if TYPE_CHECKING:  # a Map's

        def _add(self, key: str, delta: SupportsFloat | SupportsIndex = 1) -> None: ...

    def add(self, key: str, delta: SupportsFloat | SupportsIndex = 1) -> None:
        """Add `delta` to the number under `key`, which starts at 0.

        An integer that meets a float becomes a float; nothing is lost. Under a key that was `set` to another variable
        with an `add` method, that method is called.

        Raises:
            TypeError: `key` is no str, `delta` is no number, or the variable under `key` does not count.
            OverflowError: an integer sum does not fit into 64 bits. The value is unchanged.
        """
        if type(key) is str and type(delta) is int:  # exact types: their hash, == and + run no code of the program's
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
        """Count what `new` holds under the key, or put `new` there: then key and what stood there before come back.

        Raises:
            OverflowError: the sum does not fit into 64 bits. The value is unchanged.
        """
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
        """Have this one under the key, or none."""
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
        del old  # not under the lock: its end may run code

    def _clear(self, free: int) -> "dict[str, Any]":
        """Take every key away; what was there comes back."""
        cells: dict[str, Any] = {}
        with lock:
            cells, self._cells = self._cells, cells
            self._free = free
        return cells


if not TYPE_CHECKING and native:
    from pyvars.core._cells import Counts
