"""Map: variables by key. Numbers appear as they are counted; any other variable can be set under a key."""

from collections.abc import Callable, ItemsView, Iterator, Mapping, ValuesView
from typing import SupportsFloat, SupportsIndex

from pyvars.cells import Cell, exact_float, exact_int, lock
from pyvars.errors import UnknownNameError
from pyvars.functions import variable
from pyvars.variables import Container, Float, Int, Var

__all__ = ("OTHER", "Map")

OTHER = "__other__"
MAX_KEY_BYTES = 255


class Map(Container, Mapping[str, object]):
    """Variables by key, such as orders by state. A read-only Mapping of plain values that is changed by its own verbs.

    It holds at most `max_keys` counted keys. What is counted under further ones, and under a key that no reader could
    take (empty, or over 255 bytes), is counted under `"__other__"`: keys often come from outside, and counting must
    neither fail nor grow without bound. Thread-safe, and exact also from signal handlers, gc callbacks and finalizers.
    Iteration is over the keys of that moment, sorted. Two Maps are equal only if they are the same one.

    Raises:
        ValueError: `max_keys` is less than 1.
    """

    __slots__ = ("_cells", "_free", "_vars", "max_keys")

    kind = "map"

    max_keys: int
    """How many different keys are counted before `"__other__"` takes the rest."""

    def __init__(self, *, max_keys: int = 1000) -> None:
        if max_keys < 1:
            raise ValueError(f"max_keys must be at least 1, got {max_keys}")
        super().__init__()
        self.max_keys = max_keys
        self._free = max_keys
        self._cells: dict[str, Int | Float] = {}  # numbers, changed and replaced only under the lock
        self._vars: dict[str, Var] = {}  # whatever else was set

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

    def _add(self, key: str, delta: SupportsFloat | SupportsIndex) -> None:
        key = _key(key)
        number = self._number(key, delta)
        if key in self._vars:
            return self._add_to_variable(key, number)
        if not _fits(key):
            key = OTHER
        # New cells are made before the lock is taken: an allocation may collect garbage, and that runs finalizers.
        new: Int | Float = Int(number) if isinstance(number, int) else Float(number)
        promoted = Float()
        with lock:
            cells = self._cells
            if key not in cells and self._free <= 0:
                key = OTHER
            if key not in cells:
                cells[key] = new
                if key != OTHER:
                    self._free -= 1
                value, changed, cell = number, True, None
            else:
                cell = cells[key]
                value = cell._value + number
                changed = cell.__class__ is Int and new.__class__ is Float
                if changed:
                    promoted._value = value
                    promoted.gauge = cell.gauge
                    cells[key] = promoted
                elif cell.__class__ is Float or -0x8000000000000000 <= value <= 0x7FFFFFFFFFFFFFFF:
                    cell._value = value
                    if cell._words is not None:
                        cell._words[cell._index] = value
                    return
        if not changed:
            raise OverflowError(f"{key!r}: {value} does not fit into 64 bits with a sign; the value is unchanged")
        self.changed(key, cell)

    def _number(self, key: str, delta: SupportsFloat | SupportsIndex) -> int | float:
        # What counts as a float already takes an integer of any size that a float takes.
        if not hasattr(delta, "__index__") or isinstance(self._cells.get(key), Float):
            return exact_float(delta)
        return exact_int(delta)  # type: ignore[arg-type]

    def _add_to_variable(self, key: str, number: float) -> None:
        held = self._vars.get(key)
        add: Callable[[float], None] | None = getattr(held, "add", None)
        if add is None:
            raise TypeError(f"the variable under {key!r} does not count: {held!r}")
        add(number)

    def set(self, key: str, var: Var | Callable[[], object]) -> None:
        """Put a variable, or a function, under `key` in place of what is there.

        Raises:
            TypeError: `key` is no str, or `var` is neither a variable nor a function.
            ValueError: `key` is empty or over 255 bytes of UTF-8.
        """
        key = _key(key)
        if not _fits(key):
            raise ValueError(f"a key has 1 to {MAX_KEY_BYTES} bytes of UTF-8, got {key[:40]!r}")
        held, before = variable(var, f"set({key!r}, "), self.child(key)
        if type(held) is Int or type(held) is Float:  # a subclass may have another `add` or `snapshot`
            self._replace(key, held)
            self._vars.pop(key, None)
        else:
            self._vars[key] = held
            self._replace(key, None)
        self.changed(key, before)

    def delete(self, key: str) -> None:
        """Take `key` away with what it holds. An unknown key is no error."""
        key = _key(key)
        before = self.child(key)
        self._replace(key, None)
        self._vars.pop(key, None)
        self.changed(key, before)

    def _replace(self, key: str, new: Int | Float | None) -> None:
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

    def clear(self) -> None:
        """Take every key away."""
        cells: dict[str, Int | Float] = {}
        with lock:
            cells, self._cells = self._cells, cells
            self._free = self.max_keys
        held, self._vars = self._vars, {}
        self.changed(None, {**cells, **held})

    def var(self, key: str) -> Var:
        """The variable under `key`, live. An Int under a key that later meets a float is replaced by a Float.

        Raises:
            UnknownNameError: nothing is counted or set under `key`.
        """
        for held in (self._vars, self._cells):
            if key in held:
                return held[key]
        raise UnknownNameError(f"the Map holds no key {key!r}")

    @property
    def inline(self) -> bool:
        """Whether it holds numbers only."""
        return not self._vars

    def children(self) -> Mapping[str, Var]:
        """The variables it holds, by key, in no order."""
        return {**self._cells.copy(), **self._vars.copy()}

    def child(self, key: str) -> Var | None:
        """The variable under `key`, or None."""
        return self._vars.get(key) or self._cells.get(key)

    def snapshot(self) -> dict[str, object]:
        """The plain values by key, sorted. Raises what a function set under a key raises."""
        return {key: _plain(var) for key, var in sorted(self.children().items())}

    def __getitem__(self, key: str) -> object:
        return _plain(self.var(key))

    def __contains__(self, key: object) -> bool:
        return key in self._cells or key in self._vars

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.children()))

    def __len__(self) -> int:
        return len(self._cells) + len(self._vars)

    def items(self) -> ItemsView[str, object]:
        """Keys and plain values of this moment, sorted by key."""
        return self.snapshot().items()

    def values(self) -> ValuesView[object]:
        """The plain values of this moment, in the order of their keys."""
        return self.snapshot().values()

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"Map({dict(sorted(self.children().items()))!r})"


def _plain(var: Var) -> object:
    return var._value if isinstance(var, Cell) else var.snapshot()


def _key(key: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a key of a Map is a str, got {key!r}")
    return str.__str__(key)


def _fits(key: str) -> bool:
    return 0 < len(key.encode(errors="surrogatepass")) <= MAX_KEY_BYTES
