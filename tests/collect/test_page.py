"""The page: its format compared with a real Go server's, selection, and variables that fail."""

import gc
import json
import logging
import math
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any
from uuid import UUID

import numpy
import orjson
import pytest

import pyvars
from pyvars import Float, Int, Map, Registry, String
from pyvars.access.request import deadline
from pyvars.runtime import install
from pyvars.site.default import debug
from pyvars.site.gate import Admitted
from pyvars.site.http import Response
from tests.conftest import Read, local_request, logged, strict, until
from tests.programs import DATA, run


def test_the_page_has_the_shape_of_gos(registry: Registry, respond: Callable[..., Response]) -> None:
    """The variables of the recorded Go server: same names in the same order, same types, same text of each scalar."""
    recorded = (DATA / "go_debug_vars.json").read_text()
    install(registry, only=["cmdline", "memstats"])
    registry.publish("Goroutines", lambda: 4)
    registry.publish("Uptime", Int(5049116843))
    registry.publish("counters", Map()).add("cnt1")
    registry.publish("greeting", String('hello "wörld" <&>'))
    registry.publish("load", Float(0.25))
    registry.publish("requests", Int(99))
    codes = registry.publish("status_codes", Map())
    for key, number in (("404", 2), ("200", 10), ("ratio", 0.5)):
        codes.add(key, number)
    body = respond().body.decode()

    ours, gos = body.splitlines(), recorded.splitlines()
    assert len(ours) == len(gos)
    assert body.endswith("\n}\n")

    def members(lines: list[str]) -> dict[str, str]:
        return {name: text for name, _, text in (line.strip().rstrip(",").partition(": ") for line in lines[1:-1])}

    assert list(members(ours)) == list(members(gos))
    for name, text in members(gos).items():
        if name == '"memstats"':
            assert {key: type(value) for key, value in json.loads(members(ours)[name]).items()} == {
                key: type(value) for key, value in json.loads(text).items()
            }
        elif name != '"cmdline"':
            assert members(ours)[name] == text.replace(": ", ":").replace(", ", ",")


def test_each_variable_is_a_line_sorted_by_name(registry: Registry, respond: Callable[..., Response]) -> None:
    nested = Registry()
    nested.publish("queries", Int(2))
    nested.publish("idle", lambda: [1, {"a": 2}])
    registry.publish("b", nested)
    registry.publish("a", Int(1))
    registry.publish("C", String("line\nbreak"))
    assert respond().body == b'{\n  "C": "line\\nbreak",\n  "a": 1,\n  "b": {"idle":[1,{"a":2}],"queries":2}\n}\n'


def test_an_empty_registry_is_an_empty_object(respond: Callable[..., Response]) -> None:
    assert strict(respond().body) == {}


def test_the_next_page_shows_the_new_number(registry: Registry, page: Read) -> None:
    orders = registry.publish("orders", Int())
    states = registry.publish("states", Map())
    for number in range(5):
        assert page() == ({"orders": number, "states": {"a": number}} if number else {"orders": 0, "states": {}})
        orders.add()
        states.add("a")


def test_publish_and_delete_show_on_the_next_page(registry: Registry, page: Read) -> None:
    registry.publish("a", Int())
    assert page() == {"a": 0}
    registry.publish("b", Int())
    assert page() == {"a": 0, "b": 0}
    registry.delete("a")
    assert page() == {"b": 0}


def test_name_selects_by_literal_prefix(registry: Registry, page: Read) -> None:
    for name in ("orders", "orders_open", "revenue", "(a+)+$", "größe~"[0:2]):
        registry.publish(name, Int())
    assert sorted(page(query="name=orders")) == ["orders", "orders_open"]
    assert sorted(page(query="name=rev&name=orders_")) == ["orders_open", "revenue"]
    assert page(query="name=nothing") == {}
    assert page(query="name=%28a") == {"(a+)+$": 0}
    assert page(query="name=.*") == {}
    assert page(query="name=%ff") == {}
    assert len(page(query="name=")) == len(page(query="other=orders")) == len(page(query="name")) == 5
    registry.publish("bad", lambda: 1 / 0)
    assert "pyvars.errors" not in page(query="name=orders")
    assert "bad" in page(query="name=b")["pyvars.errors"]


def test_one_variable_is_its_bare_value(registry: Registry, page: Read, respond: Callable[..., Response]) -> None:
    registry.publish("orders", Int(3))
    registry.publish("a/b.c", String("x"))
    registry.publish("states", Map()).add("paid")
    registry.publish("flags", lambda: {"dark": True})
    registry.publish("bad", lambda: 1 / 0)
    nested = Registry()
    nested.publish("f", lambda: 1)
    registry.publish("nested", nested)
    assert page("/debug/vars/orders") == 3
    assert page("/debug/vars/a/b.c") == "x"
    assert page("/debug/vars/states") == {"paid": 1}
    assert page("/debug/vars/flags") == {"dark": True}
    assert page("/debug/vars/nested") == {"f": 1}
    assert page("/debug/vars/bad") is None
    assert respond("/debug/vars/orders").body == b"3\n"
    for unknown in ("nothing", "orders/", "/orders", "pyvars", "pyvars.errors/"):
        assert respond(f"/debug/vars/{unknown}").status == 404
    assert list(page("/debug/vars/pyvars.errors")) == ["bad"]
    registry.delete("bad")
    assert page("/debug/vars/pyvars.errors") == {}


class Weird:
    """A value that has no JSON form."""

    def __repr__(self) -> str:
        raise AssertionError("nobody shall show me")


class Colour(Enum):
    RED = "red"


class Number(IntEnum):
    ONE = 1


@dataclass
class Point:
    x: int
    y: list[object]


def shared_graph(levels: int) -> list[Any]:
    graph: list[Any] = []
    for _ in range(levels):
        graph = [graph, graph]
    return graph


def cycle() -> list[Any]:
    knot: list[Any] = []
    knot.append(knot)
    return knot


def deep(levels: int) -> list[Any]:
    nested: list[Any] = []
    for _ in range(levels):
        nested = [nested]
    return nested


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (math.nan, None),
        (-math.inf, None),
        ([1.5, math.nan], [Decimal("1.5"), None]),
        (-0.0, Decimal("-0.0")),
        (2**63, 2**63),
        (2**53 + 1, 2**53 + 1),
        ({2: "a", None: "b", True: "c", 1.5: "d"}, {"2": "a", "null": "b", "true": "c", "1.5": "d"}),
        ("a\ud800b", "a\ufffdb"),
        ({"\ud800": ["\udfff"]}, {"\ufffd": ["\ufffd"]}),
        (dict.fromkeys(["\ud800", "\ud801", "\ufffd"], 1), dict.fromkeys(["\ufffd", "\ufffd~2", "\ufffd~3"], 1)),
        ((1, ("\udc00",)), [1, ["\ufffd"]]),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05+00:00"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ({UUID(int=1): 1, datetime(2026, 1, 2): 2}, {str(UUID(int=1)): 1, "2026-01-02T00:00:00": 2}),
        ({1: "a", "1": "b", 1.5: "c"}, {"1": "a", "1~2": "b", "1.5": "c"}),
        (Colour.RED, "red"),
        (numpy.float64(0.5), Decimal("0.5")),
        ({"a": numpy.int32(7), "b": numpy.array([1, 2])}, {"a": 7, "b": [1, 2]}),
        ({Colour.RED: [Number.ONE]}, {"red": [1]}),
        (Point(1, [Number.ONE, "\ud800"]), {"x": 1, "y": [1, "\ufffd"]}),
        (None, None),
    ],
)
def test_what_json_can_hold_is_shown(registry: Registry, page: Read, value: object, shown: object) -> None:
    registry.publish("odd", lambda: value)
    registry.publish("fine", Int(1))
    assert page() == {"fine": 1, "odd": shown}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (2**70, "TypeError"),
        (-(2**64), "TypeError"),
        ({1, 2}, "TypeError"),
        (b"bytes", "TypeError"),
        (1j, "TypeError"),
        (iter([1]), "TypeError"),
        (Weird(), "TypeError"),
        (orjson.Fragment(b"}{ not json"), "TypeError"),
        ({"deep": [orjson.Fragment(b"1\n2")]}, "TypeError"),
        ({b"bytes": 1}, "TypeError"),
        (Point, "TypeError"),
        (cycle(), "TypeError"),
        (deep(300), "TypeError"),
        ([deep(300), "\ud800"], "TypeError"),
        ({"a": cycle(), "b": "\ud800"}, "TypeError"),
        ("x" * 1024 * 1024, "too_large"),
        ("x" * 100_000_000, "too_large"),
        ([0] * 1_000_000, "too_large"),
        ({"rows": [[0] * 1_000_000]}, "too_large"),
        ([["x" * 1000] * 100] * 100, "too_large"),
        (["x" * 1_000_000] * 1000, "too_large"),
        (numpy.zeros(10_000_000), "too_large"),
        (numpy.array([{1}]), "TypeError"),
        ("<\x00" * 200_000, "too_large"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else type(value).__name__,
)
def test_what_json_cannot_hold_is_null_alone(registry: Registry, page: Read, value: object, kind: str) -> None:
    registry.publish("odd", lambda: value)
    registry.publish("fine", Int(1))
    registry.publish("fine_too", lambda: "yes")
    shown = page()
    error = shown.pop("pyvars.errors")
    assert shown == {"fine": 1, "fine_too": "yes", "odd": None}
    assert list(error) == ["odd"]
    assert error["odd"]["type"] == kind
    assert datetime.fromisoformat(error["odd"]["time"]).tzinfo is not None


@pytest.mark.parametrize(
    "kind", [ValueError, SystemExit, KeyboardInterrupt, RecursionError, MemoryError, GeneratorExit]
)
def test_a_function_that_raises_is_null_alone_and_logged_once(
    registry: Registry, page: Read, caplog: pytest.LogCaptureFixture, kind: type[BaseException]
) -> None:
    name = f"bad_{kind.__name__}"

    def bad() -> None:
        raise kind("the password is hunter2")

    registry.publish(name, bad)
    registry.publish("fine", Int(1))
    for _ in range(3):
        shown = page()
        assert shown[name] is None
        assert shown["fine"] == 1
        assert shown["pyvars.errors"][name]["type"] == kind.__name__
        assert "hunter2" not in json.dumps(shown, default=str)
    assert [record.levelno for record in logged(caplog) if name in record.getMessage()] == [logging.WARNING]


def test_endless_recursion_is_null_alone(registry: Registry, page: Read) -> None:
    def down() -> object:
        return down()

    registry.publish("down", down)
    registry.publish("fine", Int(1))
    gc.collect()  # otherwise one may happen in the deepest call, where its callbacks exceed the recursion limit
    assert page()["fine"] == 1
    gc.collect()
    assert page()["pyvars.errors"]["down"]["type"] == "RecursionError"


def test_only_the_bad_leaf_of_a_map_or_registry_is_null(registry: Registry, page: Read) -> None:
    states = registry.publish("states", Map())
    states.add("good", 2)
    states.set("bad", lambda: 1 / 0)
    states.set("text", String("x"))
    states.set("inner", Map())
    database = Registry()
    registry.publish("db", database)
    database.publish("lag", lambda: {1})
    database.publish("queries", Int(5))
    database.publish("states", states)
    shown = page()
    assert set(shown.pop("pyvars.errors")) == {"states.bad", "db.lag", "db.states.bad"}
    inner = {"bad": None, "good": 2, "inner": {}, "text": "x"}
    assert shown == {"states": inner, "db": {"lag": None, "queries": 5, "states": inner}}


def test_a_registry_within_itself_is_null_there(registry: Registry, page: Read) -> None:
    registry.publish("loop", registry)
    registry.publish("a", Int(1))
    shown = page()
    assert shown["a"] == 1
    assert shown["loop"] == {"a": 1, "loop": None}
    assert shown["pyvars.errors"]["loop.loop"]["type"] == "RecursionError"
    states = registry.publish("states", Map())
    states.set("self", states)
    assert page()["states"] == {"self": None}


def test_invalid_text_in_keys_and_names_loses_nothing(registry: Registry, page: Read) -> None:
    states = registry.publish("states", Map())
    states.add("\ud800", 1)
    states.add("\ud801", 2)
    with pytest.warns(pyvars.PyvarsWarning):
        registry.publish("\ud800", Int(3))
    with pytest.warns(pyvars.PyvarsWarning):
        registry.publish("\ud801", lambda: 1 / 0)
    shown = page()
    assert list(shown.pop("pyvars.errors")) == ["\ufffd~2"]
    assert shown == {"states": {"\ufffd": 1, "\ufffd~2": 2}, "\ufffd": 3, "\ufffd~2": None}


def test_text_is_escaped_as_go_does(registry: Registry, respond: Callable[..., Response], page: Read) -> None:
    text = '</script>&\u2028\u2029"\\\x00\x1fü'
    registry.publish("text", String(text))
    states = registry.publish("states", Map())
    states.add(text)
    body = respond().body
    assert not set(b"<>&").intersection(body)
    assert "\u2028".encode() not in body
    assert "\u2029".encode() not in body
    assert b"\\u003c/script\\u003e\\u0026\\u2028\\u2029" in body
    assert page() == {"states": {text: 1}, "text": text}
    assert page("/debug/vars/text") == text


def test_a_subclass_may_say_something_else_and_may_break(registry: Registry, page: Read) -> None:
    class Doubled(Int):
        def snapshot(self) -> int:
            return 2 * self.value

    class Broken(Map):
        def snapshot(self) -> dict[str, object]:
            raise ValueError

    class Careless(String):
        def spoil(self) -> None:
            self._value = {1}

    registry.publish("doubled", Doubled(4))
    registry.publish("broken", Broken())
    careless = registry.publish("careless", Careless("text"))
    assert page()["doubled"] == 8
    assert page()["broken"] is None
    careless.spoil()
    shown = page()
    assert set(shown.pop("pyvars.errors")) == {"broken", "careless"}
    assert shown == {"broken": None, "careless": None, "doubled": 8}
    assert page("/debug/vars/careless") is None


def test_a_text_that_is_none_costs_only_itself(registry: Registry, page: Read) -> None:
    class Careless(String):
        def spoil(self) -> None:
            self._value = {1}

    careless = registry.publish("careless", Careless("text"))
    registry.publish("n", Int(7))
    assert page() == {"careless": "text", "n": 7}
    careless.spoil()
    shown = page()
    assert set(shown.pop("pyvars.errors")) == {"careless"}
    assert shown == {"careless": None, "n": 7}


def test_the_page_is_the_same_with_either_kind_of_cells() -> None:
    code = """
import pyvars
from pyvars.runtime import install
from pyvars.site.gate import Admitted
from pyvars.site.default import debug
from tests.conftest import local_request
registry = pyvars.Registry()
install(registry, only=["cmdline"])
site = debug(registry, None, prefix="/debug")
def show():
    print(site.respond(local_request()).body.decode())
show()
for number in (0, 1, -1, 9, 10, 99, -100, 2**31, -2**31, 10**18, 2**63 - 1, -2**63):
    registry.publish(f"int {number} <&>", pyvars.Int(number))
for number in (0.0, -0.0, 0.1, 1e16, 1e-7, 5e-324, 1.7e308, float("nan"), float("inf"), 123456789.125):
    registry.publish(f"float {number}", pyvars.Float(number))
for text in ("", "text", '"<&>\\u2028', "x" * 70_000):
    registry.publish(f"string {text[:5]!a}", pyvars.String(text))
registry.publish("map", pyvars.Map()).add("paid", 3)
registry.publish("function", lambda: {"a": [1]})
show()
registry.delete("cmdline")
show()
registry.publish("broken", lambda: 1 / 0)
print(show.__name__, len(site.respond(local_request(query="name=b")).body))
"""
    printed = (run(code, "-W", "ignore", PYVARS_NATIVE=kind).stdout for kind in ("1", "0"))
    native, python = (re.sub(r'"time":"[^"]*"', "", each) for each in printed)  # of the String that is cut
    assert native.count("\n") > 60
    assert native == python


def test_a_string_that_is_cut_says_so(registry: Registry, page: Read) -> None:
    """At any level, and only while it is cut; not if the text itself ends like a cut one."""
    state = registry.publish("state", String("x" * (64 * 1024 + len("…(cut)"))))
    registry.publish("states", Map()).set("eu", String("é" * 40_000))
    inner = Registry()
    inner.publish("log", String("x" * 64 * 1024))
    inner.publish("text", String("x" * 70_000))
    registry.publish("inner", inner)
    registry.publish("orders", Int(3))
    shown = page()
    assert shown["state"] == "x" * 64 * 1024 + "…(cut)"
    assert shown["orders"] == 3
    errors = shown["pyvars.errors"]
    assert {label: error["type"] for label, error in errors.items()} == dict.fromkeys(
        ("inner.text", "state", "states.eu"), "truncated"
    )
    assert all(re.fullmatch(r"20[0-9-]+T[0-9:.]+Z", error["time"]) for error in errors.values())
    assert set(page("/debug/vars/pyvars.errors")) == set(errors)
    assert set(page(query="name=state&name=orders")["pyvars.errors"]) == {"state", "states.eu"}
    state.set("ready")
    assert set(page()["pyvars.errors"]) == {"inner.text", "states.eu"}
    registry.delete("states")
    registry.delete("inner")
    assert page() == {"orders": 3, "state": "ready"}


def test_a_map_of_over_a_mebibyte_is_too_large(registry: Registry, page: Read) -> None:
    large = registry.publish("large", Map(max_keys=10_000))
    for number in range(5000):
        large.add(f"{number:0250}")
    shown = page()
    assert shown["large"] is None
    assert shown["pyvars.errors"]["large"]["type"] == "too_large"


def test_a_nested_registry_may_be_of_any_size(registry: Registry, page: Read) -> None:
    large = Registry()
    for number in range(5000):
        large.publish(f"{number:0250}", Int(number))
    registry.publish("large", large)
    assert len(page()["large"]) == 5000


def test_a_subclass_that_hangs_or_exits_is_a_function(registry: Registry, page: Read) -> None:
    """A class that overrides snapshot() is code of the program, even if it is a subclass of a pyvars class."""
    release = threading.Event()

    class Hangs(Int):
        def snapshot(self) -> int:
            release.wait(60)
            return 1

    class Exits(Map):
        def snapshot(self) -> dict[str, object]:
            raise SystemExit

    class Named(Map):
        """Overrides nothing."""

    registry.publish("hangs", Hangs())
    registry.publish("exits", Exits())
    registry.publish("named", Named()).add("a")
    started = time.monotonic()
    page(deadline=deadline())
    assert time.monotonic() - started < 30
    both = {"hangs": "timeout", "exits": "SystemExit"}
    shown = until(
        lambda: page(deadline=deadline()),
        lambda shown: {name: error["type"] for name, error in shown["pyvars.errors"].items()} == both,
    )
    release.set()
    assert shown["named"] == {"a": 1}


def test_a_subclass_that_forgot_to_initialise_costs_only_itself(registry: Registry, page: Read) -> None:
    for base in (Int, Float, String, Map, Registry):
        broken = type(f"Broken{base.__name__}", (base,), {"__init__": lambda self: None})
        registry.publish(broken.__name__, broken())
    registry.publish("fine", Int(1))
    shown = page()
    if pyvars.native:  # cells in C then count from 0
        assert (shown.pop("BrokenInt"), shown.pop("BrokenFloat")) == (0, 0)
    assert set(shown.pop("pyvars.errors")) == set(shown) - {"fine"}
    assert shown.pop("fine") == 1
    assert set(shown.values()) == {None}
    for name in shown:
        assert page(f"/debug/vars/{name}") is None
    admitted = debug(registry, None, prefix="/debug").admit(local_request("/debug/vars/BrokenMap"))
    assert isinstance(admitted, Admitted)
    assert not admitted.may_block()


def test_an_object_that_lies_about_its_class(registry: Registry) -> None:
    from pyvars.asgi import DebugApp

    class Liar:
        @property
        def __class__(self) -> type:  # type: ignore[override]
            raise ValueError

        def snapshot(self) -> int:
            return 1

    registry._vars["liar"] = Liar()  # publish would refuse its class
    DebugApp(registry)


def test_an_exception_with_an_odd_name(registry: Registry, page: Read) -> None:
    class Meta(type):
        @property
        def __name__(cls) -> str:  # type: ignore[override]
            raise ValueError

    class OddError(Exception, metaclass=Meta):
        pass

    def bad() -> None:
        raise OddError

    registry.publish("bad", bad)
    assert page()["pyvars.errors"]["bad"]["type"] == "OddError"


def test_code_that_runs_while_a_value_is_encoded_cannot_crash_it(registry: Registry, page: Read) -> None:
    """orjson reads the value of an Enum, which may run code that changes the list that contains the Enum."""
    live: list[object] = []

    class Clears(Enum):
        ONE = 1

        @property
        def value(self) -> int:
            live.clear()
            return 1

    for _ in range(50):
        live[:] = [Clears.ONE, *("x" * 1000 for _ in range(200))]
        registry.publish("live", lambda: live, exist_ok=True)
        assert len(page()["live"]) == 201


def test_a_graph_without_end_is_left(registry: Registry, page: Read) -> None:
    """Forty lists that hold each other twice are 2**40 values in JSON."""
    registry.publish("graph", lambda: shared_graph(40))
    assert page()["pyvars.errors"]["graph"]["type"] in ("too_large", "timeout")


def test_a_builtin_can_be_deleted_and_replaced(registry: Registry, page: Read) -> None:
    install(registry)
    assert sorted(page()) == ["asyncio", "cmdline", "gc", "memstats", "process", "python", "pyvars.workers", "threads"]
    registry.delete("memstats")
    registry.delete("cmdline")
    registry.publish("cmdline", lambda: ["shop"])
    assert page()["cmdline"] == ["shop"]
    assert "memstats" not in page()


def test_floats_and_integers_keep_their_kind(registry: Registry, respond: Callable[..., Response]) -> None:
    registry.publish("int", Int(2**53 + 1))
    registry.publish("low", Int(-(2**63)))
    registry.publish("float", Float(2))
    registry.publish("nan", Float(math.nan))
    body = respond().body
    for line in (b'"int": 9007199254740993', b'"low": -9223372036854775808', b'"float": 2.0', b'"nan": null'):
        assert line in body
