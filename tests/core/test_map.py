"""Map: counting by key, max_keys, other variables under a key, and the methods of a Mapping."""

from collections.abc import Mapping

import pytest

from pyvars import Float, Int, Map, Registry, String, UnknownNameError

pytestmark = pytest.mark.usefixtures("both_kinds")


def test_a_map_counts_by_key() -> None:
    by_state = Map()
    by_state.add("paid")
    by_state.add("paid", 4)
    by_state.add("eur", 9.5)
    assert by_state["paid"] == 5
    assert by_state["eur"] == 9.5
    assert by_state.snapshot() == {"eur": 9.5, "paid": 5}


def test_an_int_that_meets_a_float_becomes_one_and_nothing_is_lost() -> None:
    amounts = Map()
    amounts.add("a", 2)
    amounts.add("a", 0.5)
    amounts.add("a", 1)
    assert amounts["a"] == 3.5
    assert isinstance(amounts.var("a"), Float)
    amounts.add("b", 0.5)
    amounts.add("b", 2)
    assert amounts["b"] == 2.5


def test_a_gauge_that_becomes_a_float_stays_a_gauge() -> None:
    levels = Map()
    levels.set("open", Int(gauge=True))
    levels.add("open", 0.5)
    assert repr(levels.var("open")) == "Float(0.5, gauge=True)"


def test_a_float_takes_integers_of_any_size() -> None:
    numbers = Map()
    numbers.add("a", 1.5)
    numbers.add("a", 10**30)
    assert numbers["a"] == 1e30 + 1.5


def test_what_is_no_key_and_no_number_is_refused() -> None:
    numbers = Map()
    numbers.add("a")
    for key in (1, None, b"a", ("a",)):
        for refuse in (numbers.add, numbers.delete, lambda key: numbers.set(key, Int())):
            with pytest.raises(TypeError, match="a key of a Map is a str"):
                refuse(key)  # type: ignore[arg-type]
    for delta in ("1", None, [1]):
        with pytest.raises(TypeError):
            numbers.add("a", delta)  # type: ignore[arg-type]
    assert dict(numbers) == {"a": 1}


def test_subclasses_of_str_and_int_run_no_code_inside_the_map() -> None:
    class Key(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            raise AssertionError

        def __hash__(self) -> int:
            raise AssertionError

    class Delta(int):
        def __radd__(self, other: object) -> int:
            raise AssertionError

    numbers = Map()
    numbers.add(Key("a"))
    numbers.add(Key("a"), Delta(2))
    numbers.add("a", True)
    assert numbers.snapshot() == {"a": 4}
    assert type(next(iter(numbers))) is str


def test_integers_are_64_bits_wide() -> None:
    numbers = Map()
    numbers.add("a", 2**63 - 1)
    with pytest.raises(OverflowError, match="unchanged"):
        numbers.add("a")
    with pytest.raises(OverflowError):
        numbers.add("b", 2**63)
    assert numbers.snapshot() == {"a": 2**63 - 1}


def test_keys_beyond_the_bound_are_counted_together() -> None:
    paths = Map(max_keys=2)
    for key in ("a", "b", "c", "d", "a"):
        paths.add(key)
    paths.add("e", 0.5)
    assert paths.snapshot() == {"a": 2, "b": 1, "__other__": 2.5}
    paths.delete("a")
    paths.delete("never counted")
    paths.add("f")
    assert paths.snapshot() == {"b": 1, "f": 1, "__other__": 2.5}
    paths.delete("__other__")
    paths.add("g")
    paths.add("__other__")
    assert paths.snapshot() == {"b": 1, "f": 1, "__other__": 2}
    with pytest.raises(ValueError, match="at least 1"):
        Map(max_keys=0)
    full = Map()
    for number in range(1500):
        full.add(str(number))
    assert len(full) == 1001
    assert full["__other__"] == 500


def test_a_key_that_no_reader_takes_is_counted_under_other() -> None:
    paths = Map()
    paths.add("")
    paths.add("x" * 256)
    paths.add("ü" * 128)
    paths.add("x" * 255)
    assert paths.snapshot() == {"x" * 255: 1, "__other__": 3}


def test_other_variables_can_be_set_under_a_key() -> None:
    database = Map()
    queries = Int(2)
    database.set("queries", queries)
    database.set("state", String("up"))
    database.set("lag", lambda: 0.5)
    queries.add()
    database.add("queries")
    assert queries.value == 4
    assert database.var("queries") is queries
    assert database.snapshot() == {"lag": 0.5, "queries": 4, "state": "up"}
    assert database["state"] == "up"
    with pytest.raises(TypeError, match="does not count"):
        database.add("state")
    with pytest.raises(TypeError, match=r"set\('x', Int\(\)\)"):
        database.set("x", Int)  # type: ignore[arg-type]
    for key in ("", "x" * 256):
        with pytest.raises(ValueError, match="1 to 255 bytes"):
            database.set(key, Int())


def test_add_reaches_a_variable_that_counts_in_its_own_way() -> None:
    class Twice(Int):
        def add(self, delta: int = 1) -> None:  # type: ignore[override]
            super().add(2 * delta)

    inner = Map()
    outer = Map()
    outer.set("twice", Twice())
    outer.add("twice", 3)
    assert outer["twice"] == 6
    outer.set("inner", inner)
    with pytest.raises(TypeError):
        outer.add("inner")


def test_set_replaces_what_was_there() -> None:
    numbers = Map(max_keys=1)
    numbers.add("a", 5)
    numbers.set("a", String("text"))
    assert numbers.snapshot() == {"a": "text"}
    numbers.set("a", Int(1))
    numbers.set("a", Int(2))
    assert numbers.snapshot() == {"a": 2}
    assert len(numbers) == 1
    numbers.add("b")  # set uses one of the keys, as add does
    assert numbers.snapshot() == {"a": 2, "__other__": 1}


def test_the_other_key_takes_no_place_of_its_own() -> None:
    numbers = Map(max_keys=1)
    numbers.set("__other__", Int(5))
    numbers.add("a")
    numbers.add("b")
    assert numbers.snapshot() == {"__other__": 6, "a": 1}


def test_delete_and_clear() -> None:
    numbers = Map(max_keys=2)
    for key in ("a", "b", "c"):
        numbers.add(key)
    numbers.set("text", String("x"))
    numbers.delete("a")
    numbers.delete("text")
    numbers.delete("unknown")
    assert dict(numbers) == {"b": 1, "__other__": 1}
    numbers.clear()
    assert dict(numbers) == {}
    for key in ("a", "b", "c"):
        numbers.add(key)
    assert dict(numbers) == {"a": 1, "b": 1, "__other__": 1}


def test_it_is_a_mapping_of_plain_values_sorted_by_key() -> None:
    numbers = Map()
    for key in ("b", "a", "c"):
        numbers.add(key)
    numbers.set("aa", String("x"))
    assert isinstance(numbers, Mapping)
    assert list(numbers) == list(numbers.keys()) == ["a", "aa", "b", "c"]
    assert list(numbers.items()) == [("a", 1), ("aa", "x"), ("b", 1), ("c", 1)]
    assert list(numbers.values()) == [1, "x", 1, 1]
    assert "a" in numbers
    assert "aa" in numbers
    assert "d" not in numbers
    assert numbers.get("d") is None
    for look in (numbers.var, numbers.__getitem__):
        with pytest.raises(UnknownNameError, match="no key 'd'"):
            look("d")


def test_maps_are_told_apart_by_identity_and_always_true() -> None:
    one, other = Map(), Map()
    assert one != other
    assert one == one
    assert one
    assert Registry()
    assert len({one, other, one}) == 2
    assert repr(one) == "Map({})"
    one.add("a")
    assert repr(one) == "Map({'a': Int(1)})"
