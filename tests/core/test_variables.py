"""Int, Float, String, Func: arguments, values, and refused arguments."""

import asyncio
import functools
import math
import types

import pytest

from pyvars import Float, Func, Int, String, Var
from pyvars.core.variables import Composite

pytestmark = pytest.mark.usefixtures("both_kinds")


def test_an_int_counts() -> None:
    orders = Int()
    orders.add()
    orders.add(5)
    orders.add(-2)
    assert orders.value == 4
    assert orders.snapshot() == 4
    orders.set(-7)
    assert orders.value == -7
    assert Int(3).value == 3


def test_an_int_takes_every_kind_of_integer_and_keeps_a_plain_one() -> None:
    class Odd(int):
        def __radd__(self, other: object) -> int:
            raise AssertionError("code of a subclass ran inside add")

    class Index:
        def __index__(self) -> int:
            return 3

    number = Int()
    for delta in (True, Odd(2), Index()):
        number.add(delta)
    assert number.value == 6
    assert type(number.value) is int
    number.set(True)
    assert type(number.value) is int


@pytest.mark.parametrize("wrong", [1.5, "1", None, b"1", 1.0])
def test_an_int_refuses_what_is_no_integer(wrong: object) -> None:
    number = Int(4)
    for refuse in (number.add, number.set, Int):
        with pytest.raises(TypeError, match="whole numbers"):
            refuse(wrong)  # type: ignore[arg-type]
    assert number.value == 4


def test_an_int_is_64_bits_wide() -> None:
    number = Int(2**63 - 1)
    with pytest.raises(OverflowError, match="unchanged"):
        number.add()
    with pytest.raises(OverflowError):
        number.add(2**80)
    with pytest.raises(OverflowError):
        number.add(10**5000)  # too many digits to be shown in the error
    with pytest.raises(OverflowError):
        number.set(2**63)
    assert number.value == 2**63 - 1
    number.set(-(2**63))
    with pytest.raises(OverflowError):
        number.add(-1)
    assert number.value == -(2**63)
    with pytest.raises(OverflowError):
        Int(2**63)


@pytest.mark.parametrize("variable", [Int(), Float(), String()])
def test_a_value_is_read_only(variable: Int) -> None:
    with pytest.raises(AttributeError):
        variable.value = 1  # type: ignore[misc]


def test_a_float_sums() -> None:
    revenue = Float()
    revenue.add(9.5)
    revenue.add(3)
    revenue.add()
    assert revenue.value == 13.5
    assert type(revenue.value) is float
    revenue.set(2)
    assert type(revenue.value) is float


def test_a_float_keeps_nan_and_infinities() -> None:
    number = Float(math.inf)
    assert number.value == math.inf
    number.set(math.nan)
    assert math.isnan(number.value)


@pytest.mark.parametrize("wrong", ["1", None, b"1", 1j])
def test_a_float_refuses_what_is_no_number(wrong: object) -> None:
    number = Float(4)
    for refuse in (number.add, number.set, Float):
        with pytest.raises(TypeError, match="a number is needed"):
            refuse(wrong)  # type: ignore[arg-type]
    with pytest.raises(OverflowError):
        number.add(10**400)
    assert number.value == 4


def test_a_string_holds_text() -> None:
    state = String("starting")
    state.set("ready")
    assert state.value == "ready"
    assert state.snapshot() == "ready"
    assert String().value == ""
    for wrong in (b"x", 1, None):
        with pytest.raises(TypeError, match="takes a str"):
            state.set(wrong)  # type: ignore[arg-type]
    assert state.value == "ready"


def test_a_string_is_valid_and_bounded_on_the_page_and_whole_in_the_program() -> None:
    broken = String("a\ud800b")
    assert broken.snapshot() == "a\ufffdb"
    assert broken.value == "a\ud800b"
    for text in ("x" * 10_000_000, "ü" * 100_000, "\U0001f600" * 100_000):
        long = String(text)
        shown = long.snapshot()
        assert isinstance(shown, str)
        assert shown.endswith("…(cut)")
        assert text.startswith(shown.removesuffix("…(cut)"))
        assert 64 * 1024 - 4 <= len(shown.removesuffix("…(cut)").encode()) <= 64 * 1024
        assert long.value == text


def test_a_function_is_called_for_each_snapshot() -> None:
    calls: list[int] = []
    function = Func(lambda: calls.append(1) or len(calls))
    assert [function.snapshot(), function.snapshot()] == [1, 2]


def test_functions_that_would_not_run_are_refused() -> None:
    async def coroutine() -> int:
        return 1

    async def async_generator():
        yield 1

    def generator():
        yield 1

    class Callable:
        async def __call__(self) -> int:
            return 1

        async def method(self) -> int:
            return 1

    @types.coroutine
    def old_coroutine():
        yield

    delayed = (coroutine, async_generator, generator, old_coroutine, Callable(), Callable().method)
    for function in (*delayed, functools.partial(functools.partial(coroutine))):
        with pytest.raises(TypeError, match="coroutine or generator function"):
            Func(function)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="takes a function"):
        Func(3)  # type: ignore[arg-type]


def test_a_function_may_be_anything_that_can_be_called() -> None:
    class Pool:
        def in_use(self) -> int:
            return 3

        def __call__(self) -> int:
            return 4

    for function, value in ((Pool().in_use, 3), (Pool(), 4), (functools.partial(int, "5"), 5), ([1, 2].__len__, 2)):
        assert Func(function).snapshot() == value


def test_a_coroutine_that_comes_back_is_closed() -> None:
    async def coroutine() -> int:
        return 1

    returned = coroutine()
    with pytest.raises(TypeError, match="returned a coroutine"):
        Func(lambda: returned).snapshot()
    with pytest.raises(RuntimeError, match="cannot reuse"):  # it is closed; an open one would run
        asyncio.run(returned)


def test_a_variable_says_what_the_values_of_several_workers_are_together() -> None:
    assert String("mine")._combined(["mine", "theirs"]) == "mine"
    assert Func(lambda: 1)._combined([1, 2]) == 1
    assert Func(lambda: 1, combine="sum")._combined([1, 2]) == 3


def test_a_composite_is_asked_for_a_child() -> None:
    """Methods that a composite does not implement are derived from its children."""

    class Pair(Composite):
        def snapshot(self) -> dict[str, object]:
            return {"one": 1, "two": 2}

        def _children(self) -> dict[str, Var]:
            return {"one": Int(1), "two": Int(2)}

    two = Pair()._child("two")
    assert two is not None
    assert two.snapshot() == 2
    assert Pair()._child("three") is None


def test_variables_show_what_they_are() -> None:
    assert repr(Int(5)) == "Int(5)"
    assert repr(Int(5, gauge=True)) == "Int(5, gauge=True)"
    assert repr(Float(0.5)) == "Float(0.5)"
    assert repr(Float(0.5, gauge=True)) == "Float(0.5, gauge=True)"
    assert repr(String("1.4")) == "String('1.4')"
    assert repr(Func(len)).startswith("Func(<built-in function len>)")  # type: ignore[arg-type]
