"""The texts of errors say what was expected and what to write, and contain no internal names."""

import re
from collections.abc import Callable
from typing import Any

import pytest

import pyvars
from pyvars import Float, Func, Histogram, Int, Map, Registry, String
from pyvars.asgi import CountRequests, DebugApp
from pyvars.health import check, delete
from pyvars.prometheus import PyvarsCollector
from pyvars.runtime import install

pytestmark = pytest.mark.usefixtures("both_kinds")

Mistake = Callable[[], object]


async def coroutine() -> None:
    """A coroutine function, which a page cannot wait for."""


def assigned(var: object, name: str, value: object) -> Mistake:
    return lambda: setattr(var, name, value)


def mistakes() -> list[tuple[Any, str, str]]:
    """Wrong calls, with the exception and its text, for the current kind of cells."""
    registry, wrong = Registry(), "a"
    return [
        *[
            (lambda x=x: x.add(wrong), "TypeError", f"a number is needed, such as 1.5, got '{wrong}'")
            for x in (Float(), Float(gauge=True))
        ],
        (lambda: Histogram().observe("a"), "TypeError", "a number is needed, such as 1.5, got 'a'"),
        (lambda: Histogram().observe(None), "TypeError", "a number is needed, such as 1.5, got None"),
        (lambda: Map().add("key", "a"), "TypeError", "a number is needed, such as 1.5, got 'a'"),
        (lambda: Int().add("a"), "TypeError", "an Int takes whole numbers, got 'a'"),
        (lambda: Int().set(None), "TypeError", "an Int takes whole numbers, got None"),
        (lambda: Int(1.5), "TypeError", "an Int takes whole numbers, got 1.5; a Float takes fractions"),
        (assigned(Int(), "value", 1), "AttributeError", "Int.value is read-only; write .set(1), or count with .add()"),
        (
            assigned(Float(), "value", 1),
            "AttributeError",
            "Float.value is read-only; write .set(1), or count with .add()",
        ),
        (assigned(String(), "value", "a"), "AttributeError", "String.value is read-only; write .set('a')"),
        (assigned(Int(), "total", 1), "AttributeError", "'Int' object has no attribute 'total'"),
        (lambda: Float().inc(), "AttributeError", "'Float' object has no attribute 'inc'"),
        (lambda: Int(gauge=1), "TypeError", "gauge is True or False, got 1"),
        (lambda: Float(gauge="no"), "TypeError", "gauge is True or False, got 'no'"),
        (lambda: Map(max_keys="5"), "TypeError", "max_keys is an int, got '5'"),
        (lambda: Map(max_keys=1.5), "TypeError", "max_keys is an int, got 1.5"),
        (lambda: Map(max_keys=True), "TypeError", "max_keys is an int, got True"),
        (lambda: Map(max_keys=2**70), "ValueError", "max_keys is at least 1 and at most"),
        (lambda: Map(label=5), "TypeError", "a label is a str, got 5"),
        (
            lambda: Histogram().time()(5),
            "TypeError",
            "this decorates a function, or is used in a with statement; got 5",
        ),
        (lambda: registry.publish("x", Int(), unit=5), "TypeError", "publish('x', …, unit=5): unit is a str"),
        (lambda: registry.publish("x", unit=5), "TypeError", "publish('x', …, unit=5): unit is a str"),
        (lambda: registry.publish("x", Int(), help=None), "TypeError", "publish('x', …, help=None): help is a str"),
        (
            lambda: pyvars.publish("x", Int(), exist_ok="no"),
            "TypeError",
            "publish('x', …, exist_ok='no'): exist_ok is a bool",
        ),
        (lambda: registry.delete(5), "TypeError", "delete(name): the name is a str, got 5"),
        (lambda: delete([]), "TypeError", "delete(name): the name is a str, got []"),
        (lambda: Func(lambda a: a), "TypeError", "takes arguments; give one that takes none, such as a lambda"),
        (lambda: check("db")(coroutine), "TypeError", "asyncio.run_coroutine_threadsafe(coroutine(), loop).result()"),
        (lambda: check("db")(5), "TypeError", "@check('db') decorates a function without arguments, got 5"),
        (lambda: check("db", exist_ok=1), "TypeError", "exist_ok is True or False, got 1"),
        *[
            (lambda each=each: each(5), "TypeError", "registry is a Registry, such as pyvars.default_registry, got 5")
            for each in (DebugApp, PyvarsCollector, install, lambda five: CountRequests(print, registry=five))
        ],
        (
            lambda: install(registry, only="gc"),
            "TypeError",
            "only is a collection of names, such as [\"gc\"], got 'gc'",
        ),
        (lambda: install(registry, only=5), "TypeError", 'only is a collection of names, such as ["gc"], got 5'),
    ]


def test_each_mistake_says_what_to_write() -> None:
    for mistake, kind, text in mistakes():
        with pytest.raises(Exception, match=re.escape(text)) as caught:
            mistake()
        assert type(caught.value).__name__ == kind
        said = str(caught.value).replace("and no __dict__ for setting new attributes", "")  # of Python 3.13
        assert not re.search(r"[._]_|core|Cell|Buckets|Counts", said), said


CALLS: list[Callable[[], object]] = [
    lambda: Int(1, 2),
    lambda: Int().add(1, 2),
    lambda: Int(unit="s"),
    lambda: Float(1, 2),
    lambda: Float().set(),
    lambda: Map().add(),
    lambda: Map().add("a", 1, 2),
    lambda: Histogram().observe(),
    lambda: Histogram().observe(1, 2),
]


@pytest.mark.parametrize("place", range(len(CALLS)))
def test_wrong_arguments_are_told_by_the_name_that_was_called(place: int) -> None:
    with pytest.raises(TypeError) as caught:
        CALLS[place]()
    assert not re.search(r"\b_(?!_init__)|core|Cell|Buckets|Counts", str(caught.value)), caught.value


@pytest.mark.parametrize("fails", [Int, Int().add, Int().set, lambda number: Map().add("a", number)])
def test_the_error_of_a_number_of_the_program_is_the_cause(fails: Any) -> None:
    class Number:
        def __index__(self) -> int:
            raise TypeError("no connection")

    with pytest.raises(TypeError, match="an Int takes whole numbers") as raised:
        fails(Number())
    assert str(raised.value.__cause__) == "no connection"


def test_the_error_of_a_bound_of_the_program_is_the_cause() -> None:
    class Number:
        def __float__(self) -> float:
            raise TypeError("no connection")

    with pytest.raises(TypeError, match="bounds are a collection of numbers") as raised:
        Histogram(bounds=(Number(),))  # type: ignore[arg-type]
    assert str(raised.value.__cause__) == "no connection"


@pytest.mark.parametrize("makes", [Int, lambda number: Map().add("a", number)])
def test_a_number_that_is_not_made_is_not_called_unchanged(makes: Any) -> None:
    with pytest.raises(OverflowError) as raised:
        makes(2**70)
    assert str(raised.value) == "the number does not fit into 64 bits with a sign"


def test_what_is_refused_changes_nothing() -> None:
    registry = Registry()
    orders = registry.publish("orders", Int(3))
    with pytest.raises(AttributeError):
        orders.value += 1
    with pytest.raises(TypeError):
        registry.publish("other", Int(), unit=5)
    assert registry.snapshot() == {"orders": 3}


def test_a_subclass_may_have_attributes_of_its_own() -> None:
    class Orders(Int):
        def __init__(self) -> None:
            super().__init__()
            self.shop = "x"

    assert Orders().shop == "x"
