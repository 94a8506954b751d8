"""The cells in C: when they are used, which arguments they refuse, and their memory."""

import gc
import math
import os
import sys
import sysconfig
from array import array
from pathlib import Path
from typing import Any

import pytest

import pyvars
from pyvars import Float, Histogram, Int, Map, String
from tests.programs import output
from tests.tools import tool

native = pytest.mark.skipif(not pyvars.native, reason="the extension is not there: no compiler, or PYVARS_NATIVE=0")


def test_it_is_built_where_it_can_be() -> None:
    tool("compiler")
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    assert pyvars.native == (headers.exists() and os.environ.get("PYVARS_NATIVE") != "0")


@pytest.mark.parametrize("kind", ["0", "1"])
def test_the_environment_chooses(kind: str) -> None:
    code = """
import pyvars
print(pyvars.native, pyvars.get("python").snapshot()["native"])
"""
    expected = kind == "1" and pyvars.native
    assert output(code, PYVARS_NATIVE=kind) == f"{expected} {expected}\n"


@native
def test_an_int_takes_48_bytes_and_no_time_of_the_collector() -> None:
    for number in (Int(5), Float(5)):
        assert sys.getsizeof(number) == 48
        assert not gc.is_tracked(number)


@native
def test_methods_take_what_python_would() -> None:
    number, total, states = Int(), Float(), Map()
    number.add(delta=2)
    total.add(delta=2)
    states.add(key="a", delta=2)
    states.add("a", delta=2)
    states.add(key="a")
    assert (number.value, total.value, states["a"]) == (2, 2.0, 5)
    for call in (
        lambda: number.add(1, 2),
        lambda: number.add(other=1),
        lambda: total.add(1, delta=2),
        lambda: states.add(),
        lambda: states.add("a", 1, 2),
        lambda: number.set(),
        lambda: Int(1, 2),
        lambda: Float(other=1),
        lambda: Histogram().observe(),
    ):
        with pytest.raises(TypeError):
            call()  # type: ignore[call-arg,no-untyped-call]
    assert (number.value, total.value, states["a"]) == (2, 2.0, 5)


@native
def test_an_integer_that_a_float_adds_up() -> None:
    total = Float(0.5)
    total.add(2**60)
    assert total.value == 2**60 + 0.5
    states = Map()
    states.add("a", 0.5)
    states.add("a", 3)
    states.add("a", -(2**63))
    assert states["a"] == 3.5 - 2**63


@native
def test_shared_memory_is_checked() -> None:
    """pyvars itself passes valid memory; other memory must be refused, since cells write to it."""
    number: Any = Int(7)
    words = memoryview(array("q", range(4)))
    for wrong, index in (
        (words, 4),
        (words, -1),
        (words, 2**70),
        (words.toreadonly(), 0),
        (memoryview(bytearray(8)), 0),
        (memoryview(bytearray(17))[1:].cast("q"), 0),
        (array("q", range(4)), 0),
    ):
        with pytest.raises((TypeError, ValueError, OverflowError)):
            number._bind(wrong, index)
    with pytest.raises(TypeError):
        number._bind(words)
    assert (number.value, number._words, number._index) == (7, None, 0)
    number._bind(words, 2)
    number.add()
    assert (words.tolist(), number._words is words, number._index) == ([0, 1, 8, 3], True, 2)
    number._unbind()
    number.add()
    assert (words[2], number.value) == (8, 9)
    number._bind(words, 0)
    number._restart()
    assert (words[0], number.value) == (9, 0)


@pytest.mark.usefixtures("both_kinds")
def test_what_is_bound_is_written_through() -> None:
    ints, floats = memoryview(array("q", [0] * 3)), memoryview(array("d", [0.0] * 3))
    number, total, states = Int(1), Float(0.5), Map()
    states.add("a")
    states.add("half", 0.5)
    for bound, words, index in (
        (number, ints, 1),
        (total, floats, 1),
        (states.var("a"), ints, 2),
        (states.var("half"), floats, 2),
    ):
        bound._bind(words, index)  # type: ignore[attr-defined]
    assert (ints.tolist(), floats.tolist()) == ([0, 1, 1], [0.0, 0.5, 0.5])
    number.add()
    number.add(True)
    total.add()
    states.add("a")
    states.add("a", True)
    states.add("half", 1)
    assert (ints.tolist(), floats.tolist()) == ([0, 3, 3], [0.0, 1.5, 1.5])
    number.set(7)
    total.set(7)
    assert (ints.tolist(), floats.tolist()) == ([0, 7, 3], [0.0, 7.0, 1.5])
    states.add("a", 0.5)  # now a Float, which has no shared memory yet
    assert states["a"] == 3.5
    assert ints[2] == 3


@pytest.mark.usefixtures("both_kinds")
def test_two_that_come_to_a_bucket_first_share_its_cell() -> None:
    seconds = Histogram()
    assert seconds._first(7) is seconds._first(7)


@native
def test_what_no_program_should_call_is_refused_and_not_a_crash() -> None:
    from pyvars.core import _cells

    states = Map()
    wrong: Any
    states._cells["a"] = "text"  # type: ignore[assignment]
    with pytest.raises(TypeError):
        states.add("a")
    with pytest.raises(TypeError):
        _cells.Buckets(Int(), None)  # type: ignore[arg-type]
    for bounds in (3, [1.0], "1", (1,), (1.0, None), (1.0,) * 513):
        with pytest.raises(TypeError):
            _cells.Buckets(Float(), bounds)  # type: ignore[arg-type]
    again = Histogram(bounds=(1, 2))
    for own in ((math.nan, 3.0, -1.0), (), None, (5.0,) * 512):
        _cells.Buckets.__init__(again, Float(), own)
        again.observe(4)
    with pytest.raises((TypeError, AttributeError)):
        _cells.Buckets.__new__(_cells.Buckets).observe(1.0)
    with pytest.raises(TypeError):
        again._bucket("3")  # type: ignore[arg-type]
    for wrong in (5, int, String):
        with pytest.raises(TypeError):
            _cells.fast_methods(wrong)
    heads, ends = b"{a: ", array("I", [4])
    for arguments in (
        (heads, ends, [], str),
        (heads, array("I", [9]), [1], str),
        (heads, array("I", [4, 2]), [1, 2], str),
        (b"", array("I"), [], str),
        (heads, ends, [None], str),
        (heads, ends, [None], len),
    ):
        with pytest.raises((TypeError, ValueError)):
            _cells.join(*arguments)  # type: ignore[arg-type]
    between = memoryview(b"." + array("I", [4, 8]).tobytes())[1:]  # a view that is not aligned
    assert _cells.join(b"{a: ,b: ", between, [1, 2], str) == b"{a: 1,b: 2\n}\n"  # type: ignore[arg-type]


@native
def test_a_value_that_changes_the_page_while_it_is_written() -> None:
    from pyvars.core import _cells

    values: list[object] = [1, None, 3]

    def encode(data: object) -> bytes:
        values.clear()
        return b"x" * 1000

    with pytest.raises(ValueError, match="changed"):
        _cells.join(b"a:b:c:", array("I", [2, 4, 6]), values, encode)
    assert _cells.join(b"a:b:c:", array("I", [2, 4, 6]), [-5, None, b"text"], lambda _: b"y" * 1000) == (
        b"a:-5b:" + b"y" * 1000 + b"c:text\n}\n"
    )


@native
def test_what_counts_is_freed() -> None:
    """Cells, Maps and Histograms are freed, also if they are part of reference cycles."""

    def count(times: int) -> None:
        for _ in range(times):
            states, seconds = Map(), Histogram()
            states.add("a")
            states.add("a", 0.5)
            states.set("me", states.snapshot)
            for value in (0, 0.5, 3, 1e300):
                seconds.observe(value)
            states.set("seconds", seconds)
            words = memoryview(array("q", [0]))
            number = Int()
            number._bind(words, 0)
            with pytest.raises(OverflowError):
                number.add(2**63)

    def blocks_after(times: int) -> int:
        count(times)
        gc.collect()
        return sys.getallocatedblocks()

    def growth() -> int:
        before = blocks_after(2000)  # after that, one-time allocations and free lists exist
        return blocks_after(2000) - before

    # What is not freed is there each time; another thread may allocate something in one of them.
    assert min(growth() for _ in range(3)) < 500
