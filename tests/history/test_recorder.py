"""The recorder: the series that it keeps, the pace of calls of functions, and the content of spans.

The tests choose the moments of samples, so hours pass at once.
"""

import math
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pyvars import Float, Histogram, Int, Map, Registry
from pyvars.core.clock import since_boot_ns
from pyvars.errors import PyvarsWarning
from pyvars.history import recorder
from pyvars.history.answer import Question, answer
from pyvars.history.recorder import Recorder
from pyvars.history.ring import SAMPLES, Header

SECOND = 1_000_000_000


class Clock:
    """Makes samples of a registry at moments that the test chooses."""

    def __init__(self, registry: Registry, path: str = "", before: Recorder | None = None) -> None:
        self._registry = registry
        if before is None:
            self.recorder = Recorder(path, Header(group=1), None)
            self.recorder.ring.publish_first()
            # A moment shortly after the beginning of a span.
            begin = since_boot_ns() - 3600 * SECOND
            self.now = begin + int((10.01 - self.recorder.time(begin) % 10) * SECOND)
        else:
            content = before.ring.content()
            self.recorder = Recorder(path, content.header, content)
            self.recorder.ring.publish()

    def samples(self, number: int = 1, pause: float = 1.0) -> None:
        for _ in range(number):
            self.recorder.sample(self._registry, self.now)
            self.now += int(pause * SECOND)

    def shown(self, *names: str, step: int = 1, points: int = 720, since: int = 0) -> Any:
        return answer(self.recorder.ring, Question(since, names, step, points, 10_000))

    def values(self, name: str, *, step: int = 1) -> list[Any]:
        found: list[Any] = self.shown(name, step=step)["series"][name]
        return found


@pytest.fixture(autouse=True)
def at_any_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let samples and changes of columns cost anything: on a busy machine they would become rarer."""
    monkeypatch.setattr(recorder, "COST_SHARE", 1.0)
    monkeypatch.setattr(recorder, "_CHANGE_SHARE", 1.0)


@pytest.fixture
def registry() -> Registry:
    return Registry()


def test_a_count_a_level_and_a_name_that_comes_late(registry: Registry) -> None:
    orders, level = registry.publish("orders", Int()), registry.publish("level", Float(gauge=True))
    clock = Clock(registry)
    for number in range(3):
        orders.add(2**60)
        level.set(number / 2)
        clock.samples()
    registry.publish("late", Int(7))
    clock.samples(2)
    assert clock.values("orders") == [2**60, 2**61, 3 * 2**60, 3 * 2**60, 3 * 2**60]
    assert clock.values("level") == [0.0, 0.5, 1.0, 1.0, 1.0]
    assert clock.values("late") == [None, None, None, 7, 7]
    times = clock.shown()["t"]
    assert times == sorted({*times})
    assert [round(b - a) for a, b in pairwise(times)] == [1] * 4


def test_kinds_units_and_helps(registry: Registry) -> None:
    registry.publish("orders", Int(), help="Orders accepted", unit="orders" * 20)
    registry.publish("open", Int(gauge=True))
    registry.publish("eur", Float(), unit="eur")
    registry.publish("waits", Histogram(), help="Waits", unit="seconds").observe(1.5)
    registry.publish("by_state", Map()).add("paid", 2.5)
    nested = registry.publish("db", Registry())
    nested.publish("queries", Int(), unit="queries", help="Sent")
    registry.publish("depth", lambda: {"high": 1, "text": "no number", "yes": True})
    registry.publish("text", lambda: "no number")
    clock = Clock(registry)
    clock.samples(2)
    meta = clock.shown()["meta"]
    assert {name: (each["kind"], each["unit"], each["help"]) for name, each in meta["series"].items()} == {
        "eur": ("counter", "eur", ""),
        "open": ("gauge", "", ""),
        "orders": ("counter", ("orders" * 20)[:32], "Orders accepted"),
        "waits.count": ("counter", "", "Waits"),
        "waits.sum": ("counter", "seconds", "Waits"),
        **{f"waits.{each}": ("gauge", "seconds", "Waits") for each in ("p50", "p90", "p99")},
        "by_state.paid": ("counter", "", ""),
        "db.queries": ("counter", "queries", "Sent"),
        "depth.high": ("gauge", "", ""),
    }
    assert (meta["kept"], meta["left_out"], meta["not_shown"]) == (11, 0, 0)
    assert clock.values("by_state.paid") == [2.5, 2.5]


def test_a_spike_of_a_second_is_in_the_span(registry: Registry) -> None:
    level, count = registry.publish("level", Int(gauge=True)), registry.publish("count", Int())
    clock = Clock(registry)
    for second in range(31):
        level.set({13: 99, 24: -5}.get(second, 1))
        count.add()
        clock.samples()
    shown = clock.shown(step=10)
    assert (shown["step"], shown["seq"]) == (10, 3)
    assert (shown["series"]["level"], shown["low"]["level"]) == ([1, 99, 1], [1, 1, -5])
    assert shown["series"]["count"] == [10, 20, 30]
    assert "count" not in shown["low"]
    assert [round(each - shown["t"][0]) for each in shown["t"]] == [0, 10, 20]


def test_points_stand_for_several_rows(registry: Registry) -> None:
    level, count = registry.publish("level", Int(gauge=True)), registry.publish("count", Int())
    clock = Clock(registry)
    for second in range(10):
        level.set(second)
        count.add()
        if second == 6:
            registry.publish("late", Int(1, gauge=True))
        clock.samples()
    shown = clock.shown(points=4)
    assert (shown["series"]["level"], shown["low"]["level"]) == ([0, 3, 6, 9], [0, 1, 4, 7])
    assert shown["series"]["count"] == [1, 4, 7, 10]
    assert (shown["series"]["late"], shown["low"]["late"]) == ([None, None, 1, 1], [None, None, 1, 1])
    assert len(shown["t"]) == 4


def test_a_reader_goes_on_where_it_was(registry: Registry) -> None:
    count = registry.publish("count", Int())
    clock = Clock(registry)
    clock.samples(3)
    first = clock.shown()
    assert clock.shown(since=first["seq"])["t"] == []
    count.add(5)
    clock.samples(2)
    more = clock.shown(since=first["seq"])
    assert (more["series"]["count"], more["seq"], "meta" in more) == ([5, 5], 5, False)
    assert more["id"] == first["id"]
    assert "meta" in clock.shown(since=6)  # `since` is of another history, which had more samples


def test_no_more_than_is_kept(registry: Registry) -> None:
    count = registry.publish("count", Int())
    clock = Clock(registry)
    for _ in range(SAMPLES + 20):
        count.add()
        clock.samples()
    assert clock.values("count") == [*range(22, SAMPLES + 21)]
    assert len(clock.shown(points=150)["t"]) == 150
    assert clock.values("count", step=10) == [*range(10, SAMPLES + 20, 10)]


def test_numbers_that_are_gone_make_room(registry: Registry) -> None:
    by_key = registry.publish("by_key", Map())
    for number in range(400):
        by_key.add(f"old{number:03}", 1000)
    clock = Clock(registry)
    clock.samples()
    by_key.clear()
    for _ in range(70):
        for number in range(400):
            by_key.add(f"new{number:03}")
        clock.samples()
    assert len(clock.shown("by_key.new")["series"]) == 400


def test_names_that_come_and_go_take_no_memory(registry: Registry) -> None:
    by_key = registry.publish("by_key", Map(max_keys=20_000))
    clock = Clock(registry)
    for turn in range(2):
        by_key.clear()
        for number in range(15_000):
            by_key.add(f"{turn} {number}")
        clock.samples(2)
    assert len(clock.recorder._selection._known) == 20_000


def test_five_hundred_series_the_busiest_leaves_last(registry: Registry) -> None:
    scalars = [registry.publish(f"zz_{number:03}", Int()) for number in range(300)]
    by_key = registry.publish("by_key", Map())
    for number in range(400):
        by_key.add(f"key_{number:03}")
    clock = Clock(registry)
    clock.samples()
    meta = clock.shown()["meta"]
    assert (meta["kept"], meta["left_out"]) == (500, 200)
    assert [*meta["series"]][:300] == [f"zz_{number:03}" for number in range(300)]
    for number in range(380, 400):
        by_key.add(f"key_{number:03}", 1000)
    scalars[0].add()
    clock.samples(2)
    assert "by_key.key_399" not in clock.shown()["series"]
    clock.samples(1, recorder.CROWDED_SECONDS)
    clock.samples()
    series = clock.shown()["series"]
    assert (len(series), series["by_key.key_399"][-1]) == (500, 1001)
    assert series["zz_000"] == [0, 1, 1, 1, 1]


def test_names_that_are_too_long_and_numbers_without_end(registry: Registry) -> None:
    registry.publish("n" * 255, lambda: {"k" * 200: 1, "short": 2})
    registry.publish("many", lambda: dict.fromkeys(map(str, range(25_000)), 1))
    registry.publish("deep", lambda: {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": 1}}}}}}}})
    clock = Clock(registry)
    clock.samples()
    for _ in range(600):  # until the large function has returned
        if clock.shown()["meta"]["kept"] == 500:
            break
        threading.Event().wait(0.05)
        clock.samples()
    shown = clock.shown()
    assert f"{'n' * 255}.{'k' * 200}" not in shown["series"]
    assert not any(name.startswith("deep") for name in shown["series"])
    assert shown["meta"]["kept"] == 500
    assert shown["meta"]["left_out"] in range(19_500, 19_503)  # the first 20,000 names stay known


def test_an_int_that_becomes_a_float(registry: Registry) -> None:
    by_key = registry.publish("by_key", Map())
    by_key.add("eur")
    clock = Clock(registry)
    clock.samples(2, 5)
    by_key.add("eur", 0.5)
    clock.samples(2, 5)
    assert clock.values("by_key.eur") == [1, 1, 1.5, 1.5]
    assert clock.shown()["meta"]["series"]["by_key.eur"]["kind"] == "counter"


def calls_of(registry: Registry, name: str, seconds: float = 0.0) -> list[float]:
    """Publish a function that takes `seconds`. Returns a list that gets an item with each call of it."""
    calls: list[float] = []

    def function() -> int:
        calls.append(0)
        if seconds:
            threading.Event().wait(seconds)
        return len(calls)

    registry.publish(name, function)
    return calls


def test_functions_are_called_every_ten_seconds(registry: Registry) -> None:
    calls = calls_of(registry, "function")
    clock = Clock(registry)
    clock.samples(31)
    assert len(calls) == 4
    # Between two calls the last number is repeated.
    assert clock.values("function") == [1] * 10 + [2] * 10 + [3] * 10 + [4]


def test_functions_are_called_each_second_while_somebody_looks(registry: Registry) -> None:
    quick, slow = calls_of(registry, "quick"), calls_of(registry, "slow", 0.02)
    clock = Clock(registry)
    clock.samples(2)
    assert (len(quick), len(slow)) == (1, 1)
    for _ in range(12):
        clock.recorder.ring.watch(clock.now)
        clock.samples()
    assert len(quick) == 13
    assert len(slow) == 2
    clock.samples(20)  # called each second for 10 s after the last reader, then every 10 s
    assert len(quick) in (23, 24)


def test_a_function_that_takes_half_a_second_is_called_every_fifty(registry: Registry) -> None:
    calls = calls_of(registry, "function", 0.5)
    clock = Clock(registry)
    clock.samples()
    while not calls or clock.recorder._pace.longest < 50:  # the function returns after the deadline of the sample
        threading.Event().wait(0.05)
        clock.recorder._due = 0.0
        clock.recorder.sample(registry, clock.now)
    clock.samples(45)
    assert len(calls) == 1
    clock.samples(100)  # on a busy machine the call takes longer, so the pause is longer
    assert len(calls) >= 2


def test_all_functions_together_take_one_percent(registry: Registry) -> None:
    calls = [calls_of(registry, f"function_{number}", 0.004) for number in range(100)]
    clock = Clock(registry)
    clock.samples()
    until = 100
    while sum(map(len, calls)) < 100 and until:
        threading.Event().wait(0.05)
        until -= 1
    clock.samples(30)
    assert sum(map(len, calls)) == 100  # one call of each: together they take 0.4 s, so they are due every 40 s
    assert clock.recorder._pace.longest >= 40


def test_a_function_with_its_own_pace_and_one_that_raises(registry: Registry) -> None:
    calls: list[int] = []

    def raising() -> int:
        if calls:
            raise ValueError
        calls.append(1)
        return 5

    registry.publish("raising", raising)
    registry.publish("periodic", lambda: 3, every=0.1)
    clock = Clock(registry)
    clock.samples()
    clock.samples(25)
    assert clock.values("raising")[:12] == [5] * 12  # repeated for two seconds longer than the pace
    assert clock.values("raising")[-1] is None
    until = 200
    while "periodic" not in clock.shown()["series"] and until:
        threading.Event().wait(0.05)
        clock.samples()
        until -= 1
    assert clock.values("periodic")[-1] == 3


def test_a_costly_sample_makes_samples_rarer(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.publish("count", Int())
    clock = Clock(registry)
    clock.samples(2)
    monkeypatch.setattr(recorder, "COST_SHARE", 1e-9)  # any sample costs more than this
    clock.samples(30)
    assert clock.shown()["meta"]["period_seconds"] == recorder.MAX_PERIOD_SECONDS
    assert len(clock.shown()["t"]) in (5, 6)
    monkeypatch.setattr(recorder, "COST_SHARE", 1.0)
    clock.samples(12)
    assert clock.shown()["meta"]["period_seconds"] == 1


def test_another_process_goes_on_with_what_was_there(registry: Registry, tmp_path: Path) -> None:
    by_route = registry.publish("by_route", Map())
    by_route.add("/orders", 3)
    registry.publish("level", Int(4, gauge=True))
    path = str(tmp_path / "history")
    first = Clock(registry, path)
    first.samples(25)
    again = Registry()
    level = again.publish("level", Int(gauge=True))
    second = Clock(again, path, first.recorder)
    second.now = first.now
    assert not first.recorder.ring.is_published
    second.samples(2)
    # The name of a route appears with its first request, but its former history is shown before that.
    assert second.values("by_route./orders") == [3] * 25 + [None] * 2
    again.publish("by_route", Map()).add("/orders", 1)
    level.set(9)
    second.samples(8)
    assert second.values("by_route./orders") == [3] * 25 + [None] * 2 + [1] * 8
    times = second.shown()["t"]
    assert times == sorted({*times})
    second.now += int(recorder.KEPT_SECONDS * SECOND) + 3600 * SECOND
    second.samples(2)
    assert [*second.shown()["series"]] == ["level", "by_route./orders"]


def test_columns_of_a_former_life_go_after_two_hours(registry: Registry, tmp_path: Path) -> None:
    registry.publish("gone", Int(4))
    path = str(tmp_path / "history")
    first = Clock(registry, path)
    first.samples(3)
    second = Clock(Registry(), path, first.recorder)
    second.now = first.now
    second.samples(2)
    assert [*second.shown()["series"]] == ["gone"]
    second.now += int(recorder.KEPT_SECONDS * SECOND) + 3600 * SECOND
    second.samples(2)
    assert [*second.shown()["series"]] == []


def test_a_clock_that_was_set_back(registry: Registry, tmp_path: Path) -> None:
    """Rows from the future are dropped, so that the times of the points always rise."""
    registry.publish("count", Int(1))
    first = Clock(registry, str(tmp_path / "history"))
    first.samples(5, 1000)
    second = Clock(registry, str(tmp_path / "history"), first.recorder)
    second.now = since_boot_ns() + SECOND
    second.samples(2)
    times = second.shown()["t"]
    assert times == sorted({*times})
    assert len(times) == 6


def test_no_room_for_more_series(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The series that are there go on, and a mark says that there is no room for more."""
    registry.publish("count", Int(1))
    clock = Clock(registry, str(tmp_path / "history"))
    clock.samples(2)
    registry.publish("late", Int(2))
    tmp_path.chmod(0o500)
    monkeypatch.setattr("os.posix_fallocate", full)
    clock.samples(2)
    monkeypatch.undo()
    shown = clock.shown()
    assert (shown["series"], shown["meta"]["left_out"]) == ({"count": [1] * 4}, 1)
    assert shown["marks"][-1]["text"] == "no room for more series: No space left on device"
    tmp_path.chmod(0o700)
    clock.samples(1, recorder.CROWDED_SECONDS)
    clock.samples(2)
    assert (
        clock.values("late") == [None] * 4 + [2, 2, 2][: len(clock.values("late")) - 4] or clock.values("late")[-1] == 2
    )


def full(*arguments: Any) -> None:
    import errno
    import os

    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_numbers_that_a_column_cannot_hold(registry: Registry) -> None:
    value: list[Any] = [1e300]
    registry.publish("function", lambda: value[0])
    clock = Clock(registry)
    clock.samples(12)
    assert clock.values("function")[-1] == 1e300
    shown = clock.shown(step=10)
    assert shown["series"]["function"][0] == pytest.approx(3.4e38, rel=0.01)
    assert not math.isinf(shown["low"]["function"][0])


def test_a_name_that_is_no_valid_text(registry: Registry) -> None:
    """The page has another name, under which no variable is found, so the number is taken for a counter."""
    with pytest.warns(PyvarsWarning):
        registry.publish("\udcff", Int(3))
    clock = Clock(registry)
    clock.samples(2)
    assert clock.values("\ufffd") == [3, 3]
