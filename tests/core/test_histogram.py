"""Histogram: its figures, its bounded memory, and the sum over workers."""

import asyncio
import functools
import inspect
import json
import math
import os
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvars import Histogram, Int, Map, Registry
from pyvars.core.buckets import BOUNDS
from tests.conftest import Read
from tests.programs import output

pytestmark = pytest.mark.usefixtures("both_kinds")

EMPTY = {"count": 0, "sum": 0, "min": None, "max": None, "p50": None, "p90": None, "p99": None}
ERROR = 0.05

observable = st.floats(min_value=1e-6, max_value=3600.0)


def test_a_histogram_tells_of_what_was_observed(registry: Registry, page: Read) -> None:
    seconds = registry.publish("seconds", Histogram(), unit="seconds")
    assert page() == {"seconds": EMPTY}
    for value in (0.25, 1, 2.0, 0.5):
        seconds.observe(value)
    shown = page()["seconds"]
    assert list(shown) == ["count", "sum", "min", "max", "p50", "p90", "p99"]
    assert (shown["count"], shown["sum"]) == (4, 3.75)
    expected = {"min": 0.25, "p50": 0.5, "p90": 2.0, "p99": 2.0, "max": 2.0}
    assert {name: float(shown[name]) for name in expected} == pytest.approx(expected, rel=ERROR)
    assert (seconds.count, seconds.sum) == (4, 3.75)
    assert repr(seconds) == "<Histogram of 4 values>"


@given(values=st.lists(observable, min_size=1, max_size=300))
def test_quantiles_are_within_the_error(values: list[float]) -> None:
    seconds = Histogram()
    for value in values:
        seconds.observe(value)
    shown: dict[str, Any] = seconds.snapshot()
    values.sort()
    for name, share in {"p50": 0.5, "p90": 0.9, "p99": 0.99}.items():
        assert shown[name] == pytest.approx(values[math.ceil(share * len(values)) - 1], rel=ERROR)
    assert shown["min"] == pytest.approx(values[0], rel=ERROR)
    assert shown["max"] == pytest.approx(values[-1], rel=ERROR)
    assert shown["sum"] == pytest.approx(sum(values))
    assert shown["count"] == len(values)


@given(value=st.floats(min_value=0.0, allow_infinity=False))
def test_a_value_is_in_the_bucket_that_ends_at_or_after_it(value: float) -> None:
    seconds = Histogram()
    seconds.observe(value)
    ((bound, count),) = seconds.buckets()
    below = max((other for other in BOUNDS if other < bound), default=-1.0)
    assert below < value <= bound
    assert count == 1


@pytest.mark.parametrize("bound", [BOUNDS[0], BOUNDS[1], BOUNDS[8], 1.0, BOUNDS[200], BOUNDS[-2], BOUNDS[-1]])
def test_a_bound_belongs_to_the_bucket_below_it(bound: float) -> None:
    seconds = Histogram()
    seconds.observe(bound)
    assert seconds.buckets() == [(bound, 1)]
    seconds.observe(math.nextafter(bound, math.inf))
    assert len(seconds.buckets()) == 2


def test_what_is_beyond_the_bounds_is_counted() -> None:
    sizes = Histogram()
    for value in (0, 1e-9, 1e300):
        sizes.observe(value)
    assert sizes.buckets() == [(BOUNDS[0], 2), (math.inf, 1)]
    shown = sizes.snapshot()
    assert (shown["min"], shown["p50"], shown["max"]) == (0.0, 0.0, BOUNDS[-1])


@pytest.mark.parametrize("wrong", [-1, -0.001, math.nan, math.inf, -math.inf])
def test_what_no_length_of_time_can_be_is_refused(wrong: float) -> None:
    seconds = Histogram()
    with pytest.raises(ValueError, match="finite numbers from 0 on"):
        seconds.observe(wrong)
    with pytest.raises(TypeError, match="a number is needed"):
        seconds.observe("1")  # type: ignore[arg-type]
    assert seconds.snapshot() == EMPTY


def test_no_observation_is_lost() -> None:
    seconds, barrier = Histogram(), threading.Barrier(4)

    def work() -> None:
        barrier.wait()
        for number in range(2000):
            seconds.observe(number % 100)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seconds.count == 8000
    assert seconds.sum == 4 * 20 * sum(range(100))


def test_it_may_be_in_a_map_or_a_registry(registry: Registry, page: Read) -> None:
    routes = registry.publish("routes", Map())
    inner = Registry()
    routes.set("/", Histogram())
    inner.publish("seconds", Histogram()).observe(1.0)
    registry.publish("inner", inner)
    routes.var("/").observe(0.0)  # type: ignore[attr-defined]
    shown = page()
    assert shown["routes"]["/"]["count"] == 1
    assert shown["inner"]["seconds"]["sum"] == 1
    assert page("/debug/vars/routes")["/"]["max"] == 0


def test_a_subclass_that_forgot_to_initialise_costs_only_itself(registry: Registry, page: Read) -> None:
    broken = type("Broken", (Histogram,), {"__init__": lambda self: None})
    registry.publish("broken", broken())
    registry.publish("fine", Int(1))
    shown = page()
    assert (shown["broken"], shown["fine"]) == (None, 1)
    assert set(shown["pyvars.errors"]) == {"broken"}
    with pytest.raises((AttributeError, TypeError)):
        broken().observe(1)


def test_it_is_of_all_workers(tmp_path: Path) -> None:
    """Live workers, dead workers, a worker whose Histogram no other has, and a Histogram in a Map."""
    tmp_path.chmod(0o700)
    code = """
import json, os, sys
import pyvars
from pyvars.site.default import debug
from pyvars.access.request import Request, deadline
seconds = pyvars.publish("seconds", pyvars.Histogram())
routes = pyvars.publish("routes", pyvars.Map())
routes.set("/", pyvars.Histogram())
site = debug(None, None, prefix="/debug")
def page():
    headers = (("host", "localhost"),)
    body = site.respond(Request("GET", "/debug/vars", "", None, "", headers, "127.0.0.1", "1.1", deadline())).body
    return {name: json.loads(body).get(name) for name in ("seconds", "routes", "own")}
def child(number):
    seconds.observe(number)
    routes.var("/").observe(number)
    if number == 3:
        pyvars.publish("own", pyvars.Histogram()).observe(8)
pages = [page()]
ready, pids = os.pipe(), []
for number in (1, 2, 3):
    pid = os.fork()
    if not pid:
        child(number)
        os.write(ready[1], b"x")
        if number != 1:
            import signal
            signal.pause()
        os._exit(0)
    os.read(ready[0], 1)
    if number == 1:
        os.waitpid(pid, 0)
    else:
        pids.append(pid)
seconds.observe(4)
pages.append(page())
for pid in pids:
    os.kill(pid, 9)
    os.waitpid(pid, 0)
pages.append(page())
print(json.dumps(pages))
"""
    environment = {"PYVARS_NATIVE": os.environ["PYVARS_NATIVE"], "PYVARS_SHARE": str(tmp_path)}
    before, during, after = json.loads(output(code, **environment))
    assert before["seconds"] == EMPTY
    for shown in (during, after):
        assert (shown["seconds"]["count"], shown["seconds"]["sum"]) == (4, 10)
        assert shown["seconds"]["min"] == pytest.approx(1, rel=ERROR)
        assert shown["seconds"]["max"] == pytest.approx(4, rel=ERROR)
        assert (shown["routes"]["/"]["count"], shown["routes"]["/"]["sum"]) == (3, 6)
    assert (during["own"]["count"], during["own"]["sum"]) == (1, 8)
    assert after["own"] is None


class Clock:
    """A clock that the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(f"{Histogram.time.__globals__['Span'].__module__}.perf_counter", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def kinds_of_functions(clock: Clock) -> list[tuple[Callable[..., Any], Callable[[Any], object]]]:
    """A function of each kind that takes two seconds, and how to run it; generators and coroutines run later."""

    def plain(number: int, *, word: str = "") -> str:
        clock.now += 2
        return f"{word}{number}"

    async def coroutine(number: int, *, word: str = "") -> str:
        clock.now += 1
        await asyncio.sleep(0)
        clock.now += 1
        return f"{word}{number}"

    def generator(number: int, *, word: str = "") -> Generator[str, str, str]:
        clock.now += 1
        got = yield word
        clock.now += 1
        return f"{got}{number}"

    async def async_generator(number: int, *, word: str = "") -> AsyncGenerator[str, str]:
        clock.now += 1
        got = yield word
        clock.now += 1
        yield f"{got}{number}"

    def run_generator(made: Generator[str, str, str]) -> str:
        word = next(made)
        with pytest.raises(StopIteration) as stop:
            made.send(word)
        return str(stop.value.value)

    async def drive(made: AsyncGenerator[str, str]) -> str:
        word = await anext(made)
        last = await made.asend(word)
        with pytest.raises(StopAsyncIteration):
            await anext(made)
        return last

    def run_async_generator(made: AsyncGenerator[str, str]) -> str:
        return asyncio.run(drive(made))

    def run(made: Coroutine[Any, Any, str]) -> str:
        return asyncio.run(made)

    return [(plain, str), (coroutine, run), (generator, run_generator), (async_generator, run_async_generator)]


@pytest.mark.parametrize("kind", range(4))
def test_functions_of_every_kind_are_timed_and_tracked(kind: int, clock: Clock) -> None:
    function, run = kinds_of_functions(clock)[kind]
    seconds, running = Histogram(), Int(gauge=True)
    timed = running.track()(seconds.time()(function))
    for question in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction):
        assert question(timed) == question(function)
    assert (timed.__name__, inspect.signature(timed)) == (function.__name__, inspect.signature(function))
    made = timed(7, word="w")
    clock.now += 100  # the time before it runs is not measured
    assert run(made) == "w7"
    assert (seconds.count, seconds.sum) == (1, 2)
    assert running.value == 0


@pytest.mark.parametrize("kind", range(4))
def test_what_raises_or_is_left_is_timed_too(kind: int, clock: Clock) -> None:
    seconds, running = Histogram(), Int(gauge=True)

    def plain() -> None:
        raise KeyError

    async def coroutine() -> None:
        raise KeyError

    def generator() -> Generator[int]:
        assert running.value == 1
        yield 1

    async def async_generator() -> AsyncGenerator[int]:
        try:
            yield 1
        except KeyError:
            yield 2

    timed = seconds.time()(running.track()((plain, coroutine, generator, async_generator)[kind]))
    if kind == 0:
        with pytest.raises(KeyError):
            timed()
    elif kind == 1:
        with pytest.raises(KeyError):
            asyncio.run(timed())
    elif kind == 2:
        made = timed()
        next(made)
        made.close()
    else:

        async def leave() -> None:
            made = timed()
            assert await anext(made) == 1
            assert await made.athrow(KeyError) == 2
            await made.aclose()

        asyncio.run(leave())
    assert (seconds.count, running.value) == (1, 0)


def test_a_block_is_timed_and_tracked(clock: Clock) -> None:
    seconds, running = Histogram(), Int(gauge=True)
    with seconds.time(), running.track():
        assert running.value == 1
        clock.now += 3
    assert (seconds.sum, running.value) == (3, 0)
    with pytest.raises(ZeroDivisionError), seconds.time():
        1 / 0
    assert seconds.count == 2


def test_a_partial_function_is_what_it_is_made_of(clock: Clock) -> None:
    function, run = kinds_of_functions(clock)[1]
    seconds = Histogram()
    timed = seconds.time()(functools.partial(function, word="w"))
    assert run(timed(7)) == "w7"
    assert seconds.sum == 2


def test_only_a_level_can_be_tracked() -> None:
    with pytest.raises(TypeError, match="gauge=True"):
        Int().track()


def test_the_clock_runs() -> None:
    seconds = Histogram()
    started = time.perf_counter()
    with seconds.time():
        time.sleep(0.01)
    assert 0.01 <= seconds.sum <= time.perf_counter() - started


@pytest.mark.parametrize("bounds", [None, (0.5, 1.0)])
def test_a_cell_is_found_by_its_key_as_in_the_list_of_all(bounds: tuple[float, ...] | None) -> None:
    seconds = Histogram(bounds=bounds)
    for value in (0.0, 0.001, 0.75, 2.0, 2.0**50):
        seconds.observe(value)
    cells = seconds._children()
    assert len(cells) > 3
    assert {key: seconds._child(key) for key in cells} == dict(cells)
    for key in ("", "x", "7", "514", "-1", "9" * 30):
        assert seconds._child(key) is None
