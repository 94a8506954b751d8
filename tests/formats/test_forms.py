"""The JSON form of each kind of value that a function may return, and the values without one."""

import array
import collections
import os
import re
import sys
import threading
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from fractions import Fraction
from functools import lru_cache
from pathlib import Path, PureWindowsPath
from typing import Any, ClassVar, NamedTuple
from unittest.mock import MagicMock
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import msgspec
import numpy
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyvars import Int, Registry
from pyvars.site.default import debug
from pyvars.site.http import Response
from tests.conftest import Read, local_request, log_text, strict
from tests.programs import output
from tests.tools import library


class Half(float):
    def __float__(self) -> float:
        raise AssertionError("what it holds is known already")


class Seven(int):
    def __int__(self) -> int:
        raise AssertionError("what it holds is known already")


class Loud(str):
    def __str__(self) -> str:
        return "LOUD"


class Celsius(numpy.float64):
    pass


class Later(datetime):
    pass


class NotATime(datetime):
    """Like NaT of pandas, which is also an instance of datetime."""

    def isoformat(self, *_: Any) -> str:
        return "NaT"


class Usage(NamedTuple):
    used: int
    limit: float | None = None

    @property
    def share(self) -> float:
        raise AssertionError("it is no field")


class Pool(NamedTuple):
    usage: Usage
    names: tuple[str, ...]


@dataclass
class Job:
    id: int
    seconds: timedelta
    scale: InitVar[int] = 1
    kind: ClassVar[str] = "job"
    tags: list[str] = field(default_factory=list)


class SmallJob(Job):
    pass


@attrs.define
class Session:
    user: str
    _hits: int = 0


class Row(msgspec.Struct):
    id: int
    price: Decimal
    note: str | msgspec.UnsetType = msgspec.UNSET


class Order(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    id: int
    total: Decimal
    key: str = pydantic.Field("hunter2", exclude=True)
    old: int = pydantic.Field(4, deprecated=True)

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> int:
        return 2 * self.id

    @property
    def other(self) -> int:
        raise AssertionError("it is no field")


class Ids(pydantic.RootModel[list[int]]):
    pass


class Colour(Enum):
    RED = "red"
    AREA = Usage(3)


class Word(str, Enum):  # noqa: UP042 - a mixin is what many programs have
    PAID = "paid"


class Access(Flag):
    READ = 1
    WRITE = 2


class Lazy(Mapping[str, int]):
    def __getitem__(self, key: str) -> int:
        return len(key)

    def __iter__(self) -> Iterator[str]:
        return iter(("a", "bb"))

    def __len__(self) -> int:
        return 2


class Twice(Mapping[str, int]):
    """Like the headers of a request: items() may have a key twice."""

    __getitem__ = __iter__ = __len__ = lambda *_: 1 / 0  # type: ignore[assignment]

    def items(self) -> Any:
        return [("a", 1), ("a", 2)]


class Stands:
    """Like the proxies of werkzeug and Django: its __class__ is that of the object behind it."""

    def __init__(self, data: object) -> None:
        self._data = data

    @property
    def __class__(self) -> Any:
        return type(self._data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._data, name)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._data)  # type: ignore[call-overload]


class Keys(dict[str, int]):
    """A dict whose methods return other members than it stores; the stored ones are shown."""

    __iter__ = keys = items = values = __len__ = copy = lambda *_: 1 / 0  # type: ignore[assignment]


class Places(list[int]):
    __iter__ = __len__ = copy = lambda *_: 1 / 0  # type: ignore[assignment]


@lru_cache(maxsize=8)
def cached(number: int) -> int:
    return number


cached(1), cached(1)
NUMBERS = numpy.arange(6, dtype="i4").reshape(2, 3)
AMSTERDAM = datetime(1900, 1, 1, 12, tzinfo=ZoneInfo("Europe/Amsterdam"))  # 19 minutes and 32 seconds ahead


FORMS: dict[str, tuple[object, object]] = {
    "subclass of float": (Half(0.5), Decimal("0.5")),
    "subclass of int": (Seven(7), 7),
    "subclass of str": (Loud("quiet\ud800"), "quiet\ufffd"),
    "Decimal": (Decimal("19.90"), Decimal("19.9")),
    "Decimal NaN": ([Decimal("NaN"), Decimal("-Infinity"), Decimal("1e400")], [None, None, None]),
    "Fraction": (Fraction(3, 2), Decimal("1.5")),
    "timedelta": (timedelta(minutes=1.5), 90),
    "datetime": (datetime(2026, 1, 2, 3, 4, 5, 6, UTC), "2026-01-02T03:04:05.000006+00:00"),
    "datetime, naive": (datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),
    "datetime, odd offset": (AMSTERDAM, AMSTERDAM.astimezone(UTC).isoformat()),
    "subclass of datetime": (Later(2026, 1, 2), "2026-01-02T00:00:00"),
    "no time": (NotATime(2026, 1, 2), None),
    "date": (date(2026, 1, 2), "2026-01-02"),
    "time": (time(3, 4, 5, tzinfo=UTC), "03:04:05+00:00"),
    "UUID": (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    "Path": (Path("/srv/\udcff"), "/srv/\ufffd"),
    "WindowsPath": (PureWindowsPath("c:/x"), "c:\\x"),
    "Enum": ([*Colour], ["red", {"used": 3, "limit": None}]),
    "Enum that is a str": (Word.PAID, "paid"),
    "Flag": (Access.READ | Access.WRITE, 3),
    "cache_info()": (cached.cache_info(), {"hits": 1, "misses": 1, "maxsize": 8, "currsize": 1}),
    "namedtuple": (Pool(Usage(1, 2.5), ("a",)), {"usage": {"used": 1, "limit": Decimal("2.5")}, "names": ["a"]}),
    "os.stat_result": (os.times_result([1] * 5), dict.fromkeys(os.times_result.__match_args__, 1)),
    "dataclass": (Job(1, timedelta(1)), {"id": 1, "seconds": 86400, "tags": []}),
    "subclass of a dataclass": (SmallJob(1, timedelta(0)), {"id": 1, "seconds": 0, "tags": []}),
    "attrs": (Session("a", 2), {"user": "a", "_hits": 2}),
    "msgspec": (Row(1, Decimal("2.5")), {"id": 1, "price": Decimal("2.5"), "note": None}),
    "pydantic": (
        Order(id=1, total=Decimal("2.5"), note="x"),  # type: ignore[call-arg]
        {"id": 1, "total": Decimal("2.5"), "old": 4, "note": "x", "double": 2},
    ),
    "pydantic root": (Ids([1, 2]), [1, 2]),
    "SimpleNamespace": (types.SimpleNamespace(a=1), {"a": 1}),
    "deque": (collections.deque([1, "a"]), [1, "a"]),
    "range": (range(3), [0, 1, 2]),
    "array": (array.array("d", [0.5, 1]), [Decimal("0.5"), 1]),
    "UserList": (collections.UserList([1]), [1]),
    "UserString": (collections.UserString("ab"), "ab"),
    "subclass of list": (Places([1, 2]), [1, 2]),
    "subclass of dict": (Keys(a=1), {"a": 1}),
    "OrderedDict": (collections.OrderedDict(a=1), {"a": 1}),
    "defaultdict": (collections.defaultdict(int, a=1), {"a": 1}),
    "Counter": (collections.Counter("aab"), {"a": 2, "b": 1}),
    "Counter of tuples": (collections.Counter([("GET", 200)]), {"GET,200": 1}),
    "MappingProxyType": (types.MappingProxyType({"a": 1}), {"a": 1}),
    "ChainMap": (collections.ChainMap({"a": 1}, {"a": 2, "b": 3}), {"a": 1, "b": 3}),
    "UserDict": (collections.UserDict(a=1), {"a": 1}),
    "Mapping": (Lazy(), {"a": 1, "bb": 2}),
    "Mapping with a key twice": (Twice(), {"a": 1, "a~2": 2}),
    "proxy of a dict": (Stands({"a": 1}), {"a": 1}),
    "proxy of a list": (Stands([1]), [1]),
    "keys": (
        {Usage(1): 1, Decimal("1.5"): 2, timedelta(1): 3, Colour.RED: 4, Path("x"): 5, numpy.int64(6): 6, date.max: 7},
        {"1,null": 1, "1.5": 2, "86400.0": 3, "red": 4, "x": 5, "6": 6, "9999-12-31": 7},
    ),
    "numpy scalars": ([numpy.bool_(True), numpy.int8(-3), numpy.float32(0.1)], [True, -3, Decimal("0.1")]),
    "numpy largest": (numpy.uint64(2**64 - 1), 2**64 - 1),
    "numpy longdouble": (numpy.longdouble(0.5), Decimal("0.5")),
    "numpy text": (numpy.str_("a\ud800"), "a\ufffd"),
    "subclass of a numpy scalar": (Celsius(2.5), Decimal("2.5")),
    "datetime64": (
        [
            numpy.datetime64("2026-01-02T03:04:05.000000006", "ns"),
            numpy.datetime64("2026-01-02"),
            numpy.datetime64("NaT", "ns"),
        ],
        ["2026-01-02T03:04:05", "2026-01-02T00:00:00", None],
    ),
    "timedelta64": ([numpy.timedelta64(1500, "ms"), numpy.timedelta64("NaT", "ms")], [Decimal("1.5"), None]),
    "array, strided": (numpy.arange(10)[::3], [0, 3, 6, 9]),
    "array, backwards": (numpy.arange(3.0)[::-1], [2, 1, 0]),
    "array, transposed": (NUMBERS.T, [[0, 3], [1, 4], [2, 5]]),
    "array, Fortran": (numpy.asfortranarray(NUMBERS), [[0, 1, 2], [3, 4, 5]]),
    "array, broadcast": (numpy.broadcast_to(1, (2, 2)), [[1, 1], [1, 1]]),
    "array, big-endian": (NUMBERS.astype(">i4"), [[0, 1, 2], [3, 4, 5]]),
    "array, little-endian": (numpy.array([0.5], "<f8"), [Decimal("0.5")]),
    "array, half": (numpy.array([0.5], "f2"), [Decimal("0.5")]),
    "array, longdouble": (numpy.array([0.5], "longdouble"), [Decimal("0.5")]),
    "array, 0-d": ([numpy.array(5), numpy.array(0.5, ">f8"), numpy.array("a")], [5, Decimal("0.5"), "a"]),
    "array, empty": ([numpy.zeros((0, 3)), numpy.zeros((2, 0))], [[], [[], []]]),
    "array, NaN": (numpy.array([numpy.nan, numpy.inf]), [None, None]),
    "array of bool": (numpy.array([True, False]), [True, False]),
    "array of objects": (numpy.array([1, "a", None, {1: Decimal(2)}], object), [1, "a", None, {"1": 2}]),
    "array of objects, 0-d": (numpy.array({"a": numpy.array(1)}, object), {"a": 1}),
    "array of objects, 2-d": (numpy.array([[1, "a"], [None, 2]], object).T, [[1, None], ["a", 2]]),
    "array of text": (numpy.array(["a", "bb"], ">U2"), ["a", "bb"]),
    "array of times": (numpy.array(["2026-01-02", "NaT"], "M8[s]"), ["2026-01-02T00:00:00", None]),
    "array of durations": (numpy.array([1500], "m8[ms]"), [Decimal("1.5")]),
    "array of records": (numpy.array([(1, 0.5)], [("a", "i4"), ("b", "f8")]), [{"a": 1, "b": Decimal("0.5")}]),
    "record": (numpy.rec.array([(1, b"")], [("a", "i4"), ("b", "S1")])[["a"]][0], {"a": 1}),
    "masked array": (numpy.ma.array([[1, 2], [3, 4]], mask=[[0, 1], [0, 0]]), [[1, None], [3, 4]]),
    "masked": ([numpy.ma.masked, numpy.ma.array(5), numpy.ma.array(5, mask=True)], [None, 5, None]),
}


@pytest.mark.parametrize("name", FORMS)
def test_each_kind_of_value_has_one_form(registry: Registry, page: Read, name: str) -> None:
    value, shown = FORMS[name]
    registry.publish("odd", lambda: value)
    registry.publish("within", lambda: {"a": [value]})
    assert page() == {"odd": shown, "within": {"a": [shown]}}


def numbers(shown: Any) -> list[float]:
    """The numbers that are values, or in objects."""
    if isinstance(shown, dict):
        return [number for each in shown.values() for number in numbers(each)]
    return [float(shown)] if isinstance(shown, int | Decimal) else []


@pytest.mark.parametrize("name", FORMS)
def test_numbers_reach_prometheus(registry: Registry, respond: Callable[..., Response], name: str) -> None:
    value, shown = FORMS[name]
    registry.publish("odd", lambda: value)
    text = respond("/debug/metrics").body.decode()
    assert "pyvars_left_out" not in text
    assert sorted(map(float, re.findall(r"^odd.* (\S+)$", text, re.M))) == sorted(numbers(shown))


def test_cache_info_is_published_as_it_is(registry: Registry, respond: Callable[..., Response]) -> None:
    registry.publish("cache", cached.cache_info)
    assert '\ncache{key="hits"} 1' in respond("/debug/metrics").body.decode()


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="version 1 of pydantic does not run there")
def test_models_of_version_1_of_pydantic(registry: Registry, page: Read) -> None:
    from pydantic import v1

    class Old(v1.BaseModel):
        id: int
        key: str = v1.Field("hunter2", exclude=True)

        class Config:
            extra = "allow"

    class Root(v1.BaseModel):
        __root__: list[int]

    registry.publish("old", lambda: Old(id=1, note="x"))  # type: ignore[call-arg]
    registry.publish("root", lambda: Root(__root__=[1]))
    assert page() == {"old": {"id": 1, "note": "x"}, "root": [1]}


def test_pandas(registry: Registry, page: Read) -> None:
    pandas = library("pandas", "python3-pandas")
    stamp = pandas.Timestamp("2026-01-02 03:04:05.000000006")
    forms: dict[str, tuple[object, object]] = {
        "stamp": (stamp, "2026-01-02T03:04:05.000000006"),
        "zone": (stamp.tz_localize("Europe/Berlin"), "2026-01-02T03:04:05.000000006+01:00"),
        "missing": ([pandas.NaT, pandas.NA], [None, None]),
        "delta": (pandas.Timedelta("1.5s"), Decimal("1.5")),
        "series": (pandas.Series([1, 2], index=["a", "b"]), {"a": 1, "b": 2}),
        "range": (pandas.Series([0.5, None]), {"0": Decimal("0.5"), "1": None}),
        "twice": (pandas.Series([1, 2], index=["a", "a"]), {"a": 1, "a~2": 2}),
        "levels": (pandas.Series({("GET", 200): 1}), {"GET,200": 1}),
        "times": (pandas.Series([1], index=[stamp.floor("s")]), {"2026-01-02T03:04:05": 1}),
        "nat": (pandas.Series([stamp.floor("s"), pandas.NaT]), {"0": "2026-01-02T03:04:05", "1": None}),
        "nullable": (pandas.Series([1, None], dtype="Int64"), {"0": 1, "1": None}),
        "frame": (pandas.DataFrame({"a": [1], "b": [0.5]}), {"a": {"0": 1}, "b": {"0": Decimal("0.5")}}),
        "index": (pandas.Index(["a"]), ["a"]),
        "array": (pandas.array([1, None]), [1, None]),
    }
    for name, (value, _) in forms.items():
        registry.publish(name, lambda value=value: value)
    assert page() == {name: shown for name, (_, shown) in sorted(forms.items())}


def test_no_package_is_imported_for_it() -> None:
    code = """
import sys
from dataclasses import make_dataclass
from pyvars import publish, default_registry
from pyvars.site.default import debug
from tests.conftest import local_request
for name in ("numpy", "pandas", "pydantic", "attr", "attrs", "msgspec"):
    sys.modules.setdefault(name, None)  # an import of it raises
publish("odd", lambda: [make_dataclass("Point", ["x"])(1)])
print(debug(default_registry, None, prefix="/debug").respond(local_request("/debug/vars/odd")).body)
"""
    assert output(code) == "b'[{\"x\":1}]\\n'\n"


class Bad(Exception):
    pass


def bad(*_: Any) -> Any:
    raise Bad("hunter2")


class Endless(Mapping[int, int]):
    __getitem__ = __len__ = lambda *_: 0  # type: ignore[assignment]

    def __iter__(self) -> Iterator[int]:
        number = 0
        while True:
            yield (number := number + 1)


class EndlessRow(Sequence[int]):
    """An iterator without end, with a finite length."""

    __len__ = lambda self: 1  # noqa: E731

    def __getitem__(self, place: Any) -> int:
        return 1


class Ever(Enum):
    """A value whose form is always another such value."""

    ONE = 1

    @property
    def value(self) -> Any:
        return self


class Deeper(Mapping[str, object]):
    __len__ = lambda self: 1  # noqa: E731

    def __iter__(self) -> Iterator[str]:
        return iter("a")

    def __getitem__(self, key: str) -> object:
        return Deeper()


@dataclass
class Broken:
    x: int = field(init=False)


def knot() -> object:
    array = numpy.empty(1, object)
    array[0] = array
    return array


def liar(**members: Any) -> Any:
    return type("Liar", (), members)()


def raises_in(name: str) -> object:
    return type("Hostile", (collections.UserDict,), {name: bad})(a=1)


NO_FORM: dict[str, tuple[Callable[[], object], str]] = {
    "set": (lambda: {1}, "TypeError"),
    "frozenset": (lambda: [frozenset()], "TypeError"),
    "keys": (lambda: {}.keys(), "TypeError"),
    "bytes": (lambda: b"a", "TypeError"),
    "bytearray": (lambda: bytearray(b"a"), "TypeError"),
    "memoryview": (lambda: memoryview(b"a"), "TypeError"),
    "numpy bytes": (lambda: numpy.array([b"a"]), "TypeError"),
    "iterator": (lambda: iter([1]), "TypeError"),
    "generator": (lambda: (each for each in "a"), "TypeError"),
    "complex": (lambda: 1j, "TypeError"),
    "numpy complex": (lambda: numpy.complex128(), "TypeError"),
    "complex array": (lambda: numpy.zeros(2, complex), "TypeError"),
    "over 64 bits": (lambda: Seven(2**64), "TypeError"),
    "class": (lambda: Job, "TypeError"),
    "mock": (lambda: MagicMock(), "TypeError"),
    "bytes as a key": (lambda: {("a", b"a"): 1}, "TypeError"),
    "year 20000": (lambda: numpy.datetime64("20000-01-01"), "TypeError"),
    "months": (lambda: numpy.timedelta64(3, "M"), "TypeError"),
    "Fraction": (lambda: Fraction(10**400), "OverflowError"),
    "signaling NaN": (lambda: Decimal("sNaN"), "ValueError"),
    "field without a value": (lambda: Broken(), "AttributeError"),
    "value of itself": (lambda: Ever.ONE, "TypeError"),
    "value of itself as a key": (lambda: {Ever.ONE: 1}, "TypeError"),
    "deeper and deeper": (lambda: Deeper(), "TypeError"),
    "array in itself": (knot, "TypeError"),
    "endless": (lambda: Endless(), "too_large"),
    "endless row": (lambda: EndlessRow(), "too_large"),
    "range": (lambda: range(10**12), "too_large"),
    "deque": (lambda: collections.deque([0] * 1_000_000), "too_large"),
    "rows of nothing": (lambda: numpy.zeros((10**9, 0)), "too_large"),
    "broadcast": (lambda: numpy.broadcast_to(0.5, (10**6, 10**6)), "too_large"),
    "broadcast objects": (lambda: numpy.broadcast_to(numpy.array(None, object), (10**9,)), "too_large"),
    "masked": (lambda: numpy.ma.array(numpy.broadcast_to(0, (10**7,))), "too_large"),
    "long texts": (lambda: numpy.array(["x" * 100_000] * 100), "too_large"),
    **{
        f"raises in {name}": ((lambda name=name: raises_in(name)), "Bad")
        for name in ("__iter__", "__getitem__", "items")
    },
    "raises in a property": (lambda: type("Odd", (Usage,), {"used": property(bad)})(1), "Bad"),
    "raises in __class__": (lambda: liar(__class__=property(bad)), "Bad"),
    "raises in isoformat": (lambda: type("Odd", (datetime,), {"isoformat": bad})(2026, 1, 2), "Bad"),
    "says it is a dict": (lambda: liar(__class__=dict), "AttributeError"),
    "says it is a list": (lambda: liar(__class__=list), "TypeError"),
    "says it is an int": (lambda: liar(__class__=int), "TypeError"),
    "says it is a float": (lambda: liar(__class__=Fraction), "TypeError"),
    "says it is a str": (lambda: liar(__class__=str), "TypeError"),
    "fields of nothing": (lambda: type("Odd", (tuple,), {"_fields": ("a",)})((1,)), "AttributeError"),
    "fields that are none": (lambda: type("Odd", (tuple,), {"_fields": 5})((1,)), "TypeError"),
    "module that is none": (lambda: type("Odd", (), {"__module__": 5})(), "TypeError"),
}


@pytest.mark.parametrize("name", NO_FORM)
def test_what_has_no_form_is_null_alone(registry: Registry, page: Read, name: str) -> None:
    value, word = NO_FORM[name]
    registry.publish("odd", value)
    registry.publish("fine", Int(1))
    registry.publish("fine_too", lambda: "yes")
    shown = page()
    for _ in range(50):  # on a busy machine an endless value is not finished for the first page
        if shown["pyvars.errors"]["odd"]["type"] != "timeout":
            break
        shown = page()
    assert shown.pop("pyvars.errors")["odd"]["type"] == word
    assert shown == {"fine": 1, "fine_too": "yes", "odd": None}


@pytest.mark.parametrize(
    ("value", "hint"),
    [({1}, "a set: return a list, sorted"), (b"a", "a bytes: return a text"), (object(), "cannot hold it: a object")],
)
def test_the_log_says_why(
    registry: Registry, page: Read, caplog: pytest.LogCaptureFixture, value: object, hint: str
) -> None:
    name = f"odd_{type(value).__name__}"
    registry.publish(name, lambda: value)
    assert page()[name] is None
    assert hint in log_text(caplog)


def test_a_list_that_another_thread_changes_is_whole(registry: Registry, page: Read) -> None:
    """The items of a deque, a mapping or an object are copied in one step."""
    queue = collections.deque(range(500))
    table = {str(number): number for number in range(500)}
    proxy, ordered = types.MappingProxyType(table), collections.OrderedDict(table)
    done = threading.Event()

    def change() -> None:
        number = 500
        while not done.is_set():
            queue.append(number)
            queue.popleft()
            for each in (table, ordered):
                each[str(number)] = number
                del each[str(number - 500)]
            number += 1

    for name, value in {"queue": queue, "proxy": proxy, "ordered": ordered}.items():
        registry.publish(name, lambda value=value: value)
    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(50):
            shown = page()
            assert "pyvars.errors" not in shown
            assert {len(each) for each in shown.values()} <= {499, 500, 501}
    finally:
        done.set()
        thread.join()


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.decimals(allow_nan=False)
    | st.just(Decimal("NaN"))
    | st.fractions()
    | st.datetimes()
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.sampled_from([*Colour, *Word, *Access, Path("/x"), numpy.float32(1.5), b"x", object()])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(collections.deque)
        | st.lists(inner).map(lambda items: numpy.array([*items, None], object))
        | st.dictionaries(scalars, inner).map(types.MappingProxyType)
        | st.dictionaries(scalars, inner).map(collections.OrderedDict)
        | st.dictionaries(scalars, inner).map(lambda members: collections.ChainMap(members, {"z": 1}))
        | inner.map(lambda value: Usage(1, value))
        | inner.map(lambda value: Session(value))
        | inner.map(lambda value: types.SimpleNamespace(a=value))
        | st.tuples(inner, inner)
    ),
    max_leaves=15,
)


@settings(deadline=None)
@given(value=values, dtype=st.sampled_from(["i1", ">i4", "u8", "f2", ">f8", "?", "M8[s]", "m8[us]", "O", "U3"]))
def test_any_value_in_any_place(value: object, dtype: str) -> None:
    registry = Registry()
    registry.publish("value", lambda: value)
    registry.publish("array", lambda: numpy.zeros((3, 4), dtype)[::-2, 1::2].T)
    registry.publish("z", Int(1))
    site = debug(registry, None, prefix="/debug")
    page = strict(site.respond(local_request("/debug/vars")).body)
    assert page["z"] == 1
    assert set(page.get("pyvars.errors", {})) <= {"value"}
    assert len(page["array"]) == 2
    assert site.respond(local_request("/debug/metrics")).status == 200
