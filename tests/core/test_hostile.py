"""Hostile memory, keys and code: cells refuse them or raise, and write nowhere else."""

import mmap
import os
import sys
from array import array
from collections.abc import Callable
from typing import Any

import pytest

import pyvars
from pyvars import Float, Histogram, Int, Map, String

native = pytest.mark.skipif(not pyvars.native, reason="the extension is not there: no compiler, or PYVARS_NATIVE=0")


def row() -> "memoryview[Any]":
    return memoryview(array("q", range(8)))


def released() -> "memoryview[Any]":
    words = row()
    words.release()
    return words


MEMORY: dict[str, Callable[[], "memoryview[Any]"]] = {
    "backwards": lambda: row()[::-1],
    "backwards, of the second half": lambda: row()[:3:-1],
    "each second word": lambda: row()[::2],
    "unsigned": lambda: memoryview(array("Q", range(8))),
    "the other type of 8 bytes": lambda: row().cast("B").cast("P"),
    "bytes": lambda: row().cast("B"),
    "halves": lambda: row().cast("B").cast("i"),
    "32-bit floats": lambda: memoryview(array("f", range(8))),
    "two rows": lambda: row().cast("B").cast("q", (2, 4)),
    "a row of rows": lambda: row().cast("B").cast("q", (1, 8)),
    "a number alone": lambda: row()[:1].cast("B").cast("q", ()),
    "read-only": lambda: row().toreadonly(),
    "bytes that nothing changes": lambda: memoryview(bytes(64)).cast("q"),
    "a file that is only read": lambda: memoryview(mmap.mmap(-1, 64, access=mmap.ACCESS_READ)).cast("q"),
    "empty": lambda: row()[8:],
    "a slice of nothing": lambda: row()[4:1],
    "released": released,
}


@pytest.mark.usefixtures("both_kinds")
@pytest.mark.parametrize("name", MEMORY)
def test_memory_that_is_no_row_of_words_is_refused(name: str) -> None:
    for number, zero in ((Int(7), row()), (Float(7), memoryview(array("d", range(8))))):
        for at in (0, 1, 4, 7):
            words, before = MEMORY[name](), zero.tolist()
            with pytest.raises(ValueError, match=r"released|contiguous one-dimensional"):
                number._bind(words, at)
            assert name == "released" or words.tolist() == MEMORY[name]().tolist()
        number.add()
        assert (number.value, number._words) == (8, None)
        number._bind(zero, 4)
        assert zero.tolist() == [*before[:4], 8, *before[5:]]


@pytest.mark.usefixtures("both_kinds")
def test_words_of_the_other_type_are_refused() -> None:
    ints, floats = row(), memoryview(array("d", range(8)))
    wrong: tuple[tuple[Any, Any], ...] = ((Int(7), floats), (Float(7), ints))
    for number, words in wrong:
        with pytest.raises(ValueError, match="format"):
            number._bind(words, 0)
    assert ints.tolist() == floats.tolist() == [*range(8)]


@pytest.mark.usefixtures("both_kinds")
def test_an_index_outside_is_refused() -> None:
    words, number = row()[2:6], Int(7)
    wrong: Any
    for wrong in (4, -1, -(2**63), 2**63 - 1, 2**60, 2**61, 2**70, -(2**70)):
        with pytest.raises(ValueError, match="an index in it"):
            number._bind(words, wrong)
    for wrong in (0.0, None, "0", array("q", [0])):
        with pytest.raises(TypeError):
            number._bind(words, wrong)
    for wrong in (array("q", [0]), bytearray(64), None, Int()):
        with pytest.raises(TypeError):
            number._bind(wrong, 0)
    assert words.obj.tolist() == [*range(8)]


@native
@pytest.mark.parametrize("beside", range(1, 8))
def test_words_between_words_are_refused(beside: int) -> None:
    """Without alignment a reader in another process might see half a number."""
    memory = bytearray(72)
    with pytest.raises(ValueError, match="contiguous one-dimensional"):
        Int(7)._bind(memoryview(memory)[beside : beside + 64].cast("q"), 0)
    assert not any(memory)


@native
@pytest.mark.parametrize("end", ["unbind", "restart", "bind", "del"])
def test_bound_memory_stays_until_the_cell_is_bound_no_more(end: str) -> None:
    memory = mmap.mmap(-1, 4096)
    words = memoryview(memory).cast("q")
    number = Int(7)
    number._bind(words, 1)
    number._bind(words, 3)
    for held in (words.release, number._words.release, memory.close, lambda: memory.resize(8192)):  # type: ignore[attr-defined]
        with pytest.raises(BufferError):
            held()
    number.add()
    assert words[3] == 8
    match end:
        case "unbind":
            number._unbind()
        case "restart":
            number._restart()
        case "bind":
            number._bind(row(), 0)
        case _:
            del number
    words.release()
    memory.close()


@native
def test_bound_memory_outlives_all_but_the_cell() -> None:
    """Also if its owner and all other views of it are gone."""
    numbers = [Int(n) for n in range(1000)]
    for number in numbers:
        memory = memoryview(bytearray(8000))
        number._bind(memory.cast("q"), 500)
        memory.release()
        del memory
    junk = [bytearray(b"\xff" * 8000) for _ in range(1000)]
    for number in numbers:
        number.add()
    assert sum(number.value for number in numbers) == sum(range(1001))
    assert all(each == b"\xff" * 8000 for each in junk)


@native
def test_a_forked_child_lets_go_of_the_memory_for_itself() -> None:
    words, number = row(), Int(7)
    number._bind(words, 0)
    if (child := os.fork()) == 0:
        number._restart()
        words.release()
        os._exit(number.value)
    assert os.waitpid(child, 0)[1] == 0
    with pytest.raises(BufferError):
        words.release()


class Key(str):
    """A key whose hash and comparison run code of the program."""

    __slots__ = ("asked",)

    def __hash__(self) -> int:
        raise AssertionError("it was hashed")

    def __eq__(self, other: object) -> bool:
        raise AssertionError("it was compared")


@pytest.mark.usefixtures("both_kinds")
def test_a_key_is_taken_as_plain_text() -> None:
    states = Map(max_keys=2)
    states.add(Key("a"), 2)
    states._put(Key("b"), Int(3))
    assert states._place(Key("a"), Int(1)) is None
    assert states._place(Key("c"), Int(1)) is not None
    assert states.snapshot() == {"__other__": 1, "a": 3, "b": 3}
    states._put(Key("b"), None)
    states.delete(Key("a"))
    assert {type(key) for key in states} == {str}
    assert [*states] == ["__other__"]
    wrong: Any
    for wrong in (None, 5, b"a"):
        with pytest.raises(TypeError):
            states._put(wrong, Int())
        with pytest.raises(TypeError):
            states._place(wrong, Int())


@pytest.mark.usefixtures("both_kinds")
def test_what_is_no_cell_is_refused() -> None:
    states, seconds = Map(), Histogram()
    wrong: Any
    for wrong in (String("x"), None, 5, object()):
        with pytest.raises(TypeError):
            states._place("a", wrong)
        with pytest.raises(TypeError):
            seconds._put(3, wrong)
    for wrong in (String("x"), "text", 5):
        with pytest.raises(TypeError):
            states._put("a", wrong)
    for n in (-1, 514, 2**40):
        with pytest.raises(TypeError):
            seconds._put(n, Int())
        assert seconds._bucket(n) is None
    with pytest.raises(TypeError):
        seconds._put(3, Float())  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        type(seconds).__mro__[1].__init__(seconds, Int())  # type: ignore[misc]
    assert (len(states), seconds.count) == (0, 0)


@pytest.mark.usefixtures("both_kinds")
def test_made_again_it_is_empty() -> None:
    states, seconds, number = Map(max_keys=1), Histogram(), Int(3, gauge=True)
    states.add("a")
    states.add("b")
    seconds.observe(0.5)
    number._bind(row(), 2)
    states.__init__(max_keys=2)  # type: ignore[misc]
    seconds.__init__()  # type: ignore[misc]
    for key in "abc":
        states.add(key)
    assert states.snapshot() == {"__other__": 1, "a": 1, "b": 1}
    assert (seconds.count, seconds.sum) == (0, 0.0)


@pytest.mark.usefixtures("both_kinds")
@pytest.mark.parametrize("limit", [sys.maxsize, -sys.maxsize - 1])
def test_the_largest_bounds(limit: int) -> None:
    """The computation of the size does not overflow 64 bits."""
    states = Map()
    states._clear(limit)
    states._put("a", Int())
    states._put("__other__", Int())
    states._put("a", None)
    states._put("b", Int())
    for key in "bcd":
        states.add(key)
    assert [*states] == ["__other__", "b", *("cd" if limit > 0 else "")]
