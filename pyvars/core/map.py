"""Map: variables by key. `add` makes a number under a new key; `set` puts any variable under a key."""

from collections.abc import Callable, ItemsView, Iterator, Mapping, ValuesView
from typing import SupportsFloat, SupportsIndex, cast

from pyvars.core.cells import Cell, fast_methods
from pyvars.core.counts import OTHER, Counts
from pyvars.core.exact import INT64_MAX, INT64_MIN, exact_float, exact_int
from pyvars.core.functions import variable
from pyvars.core.variables import Composite, Float, Int, Var
from pyvars.errors import UnknownNameError

__all__ = ("OTHER", "Map")

MAX_KEY_BYTES = 255
"""The maximum length of a key, in bytes of UTF-8."""
MAX_KEYS = 1_000_000_000
"""The largest `max_keys`."""


@fast_methods
class Map(Counts, Composite, Mapping[str, object]):
    """Counts by key, such as orders by state. Any other variable can be `set` under a key.

        orders = publish("orders_by_state", Map(label="state"))
        orders.add("paid")

    A Map is a read-only Mapping from keys to plain values; `add`, `set`, `delete` and `clear` change it. `add` makes
    keys until there are `max_keys`. Further keys, and keys that readers refuse (empty, or over 255 bytes of UTF-8), are
    counted under `"__other__"`: keys often come from outside, and counting must neither fail nor take memory without
    limit. `set` makes its key even then. The page of several workers has at most `max_keys` numbers, too, or as many as
    the answering worker has itself; numbers that were put there with `set` are kept first. Thread-safe; counts are
    exact also in signal handlers, gc callbacks and finalizers. In a forked child its numbers start like an Int does.
    Iteration runs over a sorted copy of the keys. Two Maps are equal only if they are the same object.

    In Prometheus each key becomes the value of a label, and `label` is the name of that label: the Map above becomes
    the series `orders_by_state_total{state="paid"}`. Without `label` the name is `key`. But if the Map holds Maps,
    Histograms or registries, its keys become parts of the names of series, such as `http_requests_total`.

    Raises:
        TypeError: `label` is not a str, or `max_keys` not an int.
        ValueError: `max_keys` is not from 1 to 1,000,000,000; or `label` is not an ASCII letter or underscore followed
            by letters, digits and underscores; or Prometheus reserves it: `le`, `quantile`, and all that begin with
            `__`.
    """

    __slots__ = ("_on_change", "_set", "_vars", "label", "max_keys")

    kind = "map"

    max_keys: int
    """The number of keys at which `add` stops making keys, and counts under `"__other__"` instead."""

    label: str
    """The name of the label in Prometheus that has the keys as values; empty if none was given."""

    def __init__(self, *, max_keys: int = 1000, label: str = "") -> None:
        if not isinstance(max_keys, int) or isinstance(max_keys, bool):
            raise TypeError(f"max_keys is an int, got {max_keys!r}")
        if not 1 <= max_keys <= MAX_KEYS:
            raise ValueError(f"max_keys is at least 1 and at most {MAX_KEYS}, got {max_keys}")
        if label != "":
            _check_label(label)
        Counts.__init__(self, max_keys)
        Composite.__init__(self)
        self.max_keys = max_keys
        self.label = label
        self._vars: dict[str, Var] = {}  # the variables that are not exactly Int or Float
        self._set: set[str] = set()  # the keys that `set` made

    def _add(self, key: str, delta: SupportsFloat | SupportsIndex = 1) -> None:
        key = _key(key)
        number = self._number(key, delta)
        if key in self._vars:
            return self._add_to_variable(key, number)
        if not _fits(key):
            key = OTHER
        # The cell is made before `_place` takes the lock: an allocation may collect garbage, which runs finalizers.
        put = self._place(key, Int(number) if isinstance(number, int) else Float(number))
        if put is not None:
            key, before = put
            self._changed(key, cast("Int | None", before))

    def _number(self, key: str, delta: SupportsFloat | SupportsIndex) -> int | float:
        # A Float takes any integer that a float can hold, not only those of 64 bits.
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
        """Put a variable or a function under `key`, replacing what is there. `max_keys` does not limit this.

        Raises:
            TypeError: `key` is not a str, or `var` is neither a variable nor a function.
            ValueError: `key` is empty or over 255 bytes of UTF-8.
        """
        key = _key(key)
        if not _fits(key):
            raise ValueError(f"a key has 1 to {MAX_KEY_BYTES} bytes of UTF-8, got {key[:40]!r}")
        held, before = variable(var, f"set({key!r}, "), self._child(key)
        self._set.add(key)
        if type(held) is Int or type(held) is Float:  # a subclass may have another `add` or `snapshot`
            self._put(key, held)
            self._vars.pop(key, None)
        else:
            self._vars[key] = held
            self._put(key, None)
        self._changed(key, before)

    def delete(self, key: str) -> None:
        """Remove `key` and its variable. A missing key is ignored."""
        key = _key(key)
        before = self._child(key)
        self._put(key, None)
        self._vars.pop(key, None)
        self._set.discard(key)
        self._changed(key, before)

    def clear(self) -> None:
        """Remove all keys."""
        cells = self._clear(self.max_keys)
        held, self._vars, self._set = self._vars, {}, set()
        self._changed(None, {**cells, **held})

    def var(self, key: str) -> Var:
        """Returns the variable under `key` itself. If a float is added to an Int in the Map, a Float replaces that Int.

        Raises:
            UnknownNameError: nothing was counted or set under `key`.
        """
        for held in (self._vars, self._cells):
            if key in held:
                return held[key]
        raise UnknownNameError(f"the Map holds no key {key!r}")

    @property
    def _inline(self) -> bool:
        """Whether the Map holds only numbers, so that `snapshot()` runs no code of the program."""
        return not self._vars

    def _children(self) -> Mapping[str, Var]:
        """The variables by key, unsorted."""
        return {**self._cells.copy(), **self._vars.copy()}

    def _child(self, key: str) -> Var | None:
        """The variable under `key`, or None."""
        return self._vars.get(key) or self._cells.get(key)

    def _merged(self, members: Mapping[str, object]) -> dict[str, object]:
        """Returns `members`, the sums over all workers, cut to `max_keys` numbers, or to as many as this Map has.

        Numbers under keys that `set` made are kept first, then the others, each in the sorted order of their keys. The
        numbers that are cut are added to `"__other__"`.
        """
        numbers = [key for key in sorted(members) if key != OTHER and isinstance(members[key], int | float)]
        numbers.sort(key=lambda key: key not in self._set)
        rest, surplus = members.get(OTHER, 0), numbers[max(self.max_keys, sum(key in self for key in numbers)) :]
        if not surplus or not isinstance(rest, int | float):
            return {**members}
        for key in surplus:
            rest += cast("float", members[key])
        within = {key: member for key, member in members.items() if key not in {*surplus, OTHER}}
        return {**within, OTHER: min(max(rest, INT64_MIN), INT64_MAX) if isinstance(rest, int) else rest}

    def snapshot(self) -> dict[str, object]:
        """Returns the plain values of this process by key, sorted. Raises what a function under a key raises."""
        return {key: _plain(var) for key, var in sorted(self._children().items())}

    def __getitem__(self, key: str) -> object:
        return _plain(self.var(key))

    def __contains__(self, key: object) -> bool:
        return key in self._cells or key in self._vars

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._children()))

    def __len__(self) -> int:
        return len(self._cells) + len(self._vars)

    def items(self) -> ItemsView[str, object]:
        """Returns a copy of the keys and plain values, sorted by key."""
        return self.snapshot().items()

    def values(self) -> ValuesView[object]:
        """Returns a copy of the plain values, in the order of their keys."""
        return self.snapshot().values()

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"Map({dict(sorted(self._children().items()))!r})"


Map._add.__qualname__ = "Map.add"  # the name in the texts of errors: `add` calls it


def _plain(var: Var) -> object:
    return var._value if isinstance(var, Cell) else var.snapshot()


def _check_label(label: str) -> None:
    if not isinstance(label, str):
        raise TypeError(f"a label is a str, got {label!r}")
    if not (label.isascii() and label.isidentifier()) or label.startswith("__") or label in ("le", "quantile"):
        raise ValueError(
            f"{label!r} is no label: give a letter or underscore, then letters, digits and underscores; Prometheus"
            " reserves le, quantile and all labels that begin with __"
        )


def _key(key: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a key of a Map is a str, got {key!r}")
    return str.__str__(key)


def _fits(key: str) -> bool:
    return 0 < len(key.encode(errors="surrogatepass")) <= MAX_KEY_BYTES
