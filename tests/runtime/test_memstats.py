"""memstats: Go's keys, types and equations on every page, and figures that agree with the memory in use."""

import gc
import json
import os
import subprocess
import threading
import time
from decimal import Decimal
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pyvars import Registry
from pyvars.runtime import Builtin, install, reading
from pyvars.runtime.memstats import MemStats
from pyvars.runtime.process import Process
from tests.conftest import Read
from tests.programs import DATA, ROOT, output
from tests.tools import other_pythons, tool

SCHEMA = json.loads((DATA / "memstats.schema.json").read_text())
MB = 1_000_000


@pytest.fixture
def memstats(registry: Registry, page: Read) -> Read:
    """memstats as the page shows it, read anew."""
    install(registry, only=["memstats"])

    def read() -> Any:
        reading.expire()
        return page()["memstats"]

    return read


def assert_identities(memstats: dict[str, Any]) -> None:
    assert memstats["Alloc"] == memstats["HeapAlloc"]
    assert memstats["HeapSys"] == memstats["HeapIdle"] + memstats["HeapInuse"]
    parts = ("HeapSys", "StackSys", "MSpanSys", "MCacheSys", "BuckHashSys", "GCSys", "OtherSys")
    assert memstats["Sys"] == sum(memstats[part] for part in parts)
    assert memstats["HeapObjects"] == memstats["Mallocs"] - memstats["Frees"]
    assert memstats["TotalAlloc"] >= memstats["HeapAlloc"]
    assert memstats["HeapAlloc"] <= memstats["HeapInuse"]
    if memstats["NumGC"]:
        newest = (memstats["NumGC"] + 255) % 256
        assert memstats["PauseNs"][newest] > 0
        assert memstats["PauseEnd"][newest] == memstats["LastGC"] == max(memstats["PauseEnd"])


def test_it_is_what_the_readers_of_go_demand(memstats: Read) -> None:
    shown = memstats()
    jsonschema.validate(shown, SCHEMA, jsonschema.Draft202012Validator)
    recorded = json.loads((DATA / "go_debug_vars.json").read_text())["memstats"]
    assert list(shown) == list(recorded)
    assert_identities(shown)


def test_the_identities_hold_while_memory_moves(memstats: Read) -> None:
    kept: list[Any] = []
    before = memstats()
    for number in range(60):
        kept.append([bytearray(100_000 * (number % 5)) for _ in range(10)] + [str(i) * 3 for i in range(3000)])
        if number % 7 == 0:
            kept.clear()
        shown = memstats()
        assert_identities(shown)
        for counter in ("TotalAlloc", "Mallocs", "Frees", "NumGC", "PauseTotalNs", "NumForcedGC"):
            assert shown[counter] >= before[counter], counter
        before = shown


def test_memory_that_is_used_is_told_from_memory_that_is_held(memstats: Read) -> None:
    """Freed memory that malloc keeps does not look like a leak."""
    moments = json.loads(
        output(
            """
import json, pyvars
from pyvars.runtime import reading
def read():
    reading.expire()
    memstats, process = pyvars.get("memstats").snapshot(), pyvars.get("process").snapshot()
    return {"rss": process["rss_bytes"], "alloc": memstats["HeapAlloc"], "idle": memstats["HeapIdle"]}
start = read()
blocks = [bytearray(b"x" * 100_000) for _ in range(3000)]
pin = bytearray(b"x" * 100_000)
used = read()
del blocks
print(json.dumps({"start": start, "used": used, "freed": read()}))
"""
        )
    )
    start, used, freed = moments["start"], moments["used"], moments["freed"]
    assert used["rss"] - start["rss"] > 280 * MB
    assert used["alloc"] - start["alloc"] == pytest.approx(300 * MB, rel=0.1)
    assert freed["rss"] == pytest.approx(used["rss"], rel=0.05)
    assert used["alloc"] - freed["alloc"] == pytest.approx(300 * MB, rel=0.1)
    assert freed["idle"] - used["idle"] == pytest.approx(300 * MB, rel=0.1)


PREFIX = """
import gc, json, sys, tracemalloc, pyvars
from pyvars.runtime import reading
def read():
    reading.expire()
    return pyvars.get("memstats").snapshot()
"""


@pytest.mark.parametrize(
    ("environment", "before"),
    [
        ({"PYTHONMALLOC": "malloc"}, ""),
        ({"PYTHONMALLOC": "debug"}, ""),
        ({"PYTHONTRACEMALLOC": "1"}, ""),
        ({}, "tracemalloc.start()"),
        ({"LD_PRELOAD": "jemalloc"}, ""),
    ],
    ids=["malloc", "debug", "tracing", "tracing_later", "jemalloc"],
)
def test_under_other_allocators_it_stays_truthful(environment: dict[str, str], before: str) -> None:
    if environment.get("LD_PRELOAD"):
        environment = {"LD_PRELOAD": tool("jemalloc")}
    shown = json.loads(
        output(
            f"""{PREFIX}
{before}
start = read()
kept = [bytearray(b"x" * 100_000) for _ in range(1000)] + [str(number) * 3 for number in range(300_000)]
used = read()
del kept
gc.collect()
print(json.dumps([start, used, read()]))
""",
            **environment,
        )
    )
    for memstats in shown:
        jsonschema.validate(memstats, SCHEMA, jsonschema.Draft202012Validator)
        assert_identities(memstats)
    start, used, freed = (memstats["HeapAlloc"] for memstats in shown)
    assert used - start > 100 * MB
    if "LD_PRELOAD" not in environment:  # jemalloc does not report its free memory
        assert freed - start < 20 * MB
    tracing = "PYTHONTRACEMALLOC" in environment or bool(before)
    assert (shown[1]["BuckHashSys"] > 0) is tracing


def test_where_there_is_no_proc_psutil_says_what_is_resident(registry: Registry, page: Read, tmp_path: Path) -> None:
    elsewhere = str(tmp_path)
    registry.publish("memstats", MemStats(elsewhere).figures)
    registry.publish("process", Process(elsewhere).figures)
    shown = page()
    jsonschema.validate(shown["memstats"], SCHEMA, jsonschema.Draft202012Validator)
    assert_identities(shown["memstats"])
    assert shown["memstats"]["Sys"] > MB
    process = shown["process"]
    assert process["pid"] == os.getpid()
    assert process["rss_bytes"] > MB
    assert process["open_fds"] >= 3
    assert abs(float(process["start_time_seconds"]) - float(Process().figures()["start_time_seconds"])) < 1  # type: ignore[arg-type]


def test_without_what_glibc_and_cpython_offer_it_falls_back_to_what_is_resident() -> None:
    """As on musl, or in an interpreter without these statistics: HeapAlloc is HeapSys less the known free memory."""
    shown = json.loads(
        output(
            f"""
import ctypes
found = ctypes.CDLL.__getattr__
def lacking(library, name):
    if name in ("mallinfo2", "_PyObject_DebugMallocStats"):
        raise AttributeError(name)
    return found(library, name)
ctypes.CDLL.__getattr__ = lacking
{PREFIX}
before = read()
kept = bytearray(b"x" * 100_000_000)
print(json.dumps([before, read()]))
""",
        )
    )
    for memstats in shown:
        jsonschema.validate(memstats, SCHEMA, jsonschema.Draft202012Validator)
        assert_identities(memstats)
        assert memstats["HeapAlloc"] == memstats["HeapSys"]
    assert shown[1]["HeapAlloc"] - shown[0]["HeapAlloc"] == pytest.approx(100 * MB, rel=0.1)


def test_recording_may_begin_inside_a_collection() -> None:
    shown = json.loads(
        output(
            f"""{PREFIX}
def begin(phase, info):
    if phase == "stop":
        gc.callbacks.remove(begin)
        gc.callbacks.append(lambda phase, info: None)
        pyvars.runtime.start(pyvars.default_registry)
gc.callbacks.append(begin)
gc.collect()
before = read()
gc.collect()
print(json.dumps([before, read()]))
"""
        )
    )
    assert [memstats["NumForcedGC"] for memstats in shown] == [0, 1]
    assert_identities(shown[1])


def test_collections_are_counted_and_timed(memstats: Read) -> None:
    gc.collect()  # otherwise the first one below could be taken for an automatic one
    before = memstats()
    for _ in range(3):
        gc.collect()
    after = memstats()
    assert after["NumGC"] - before["NumGC"] >= 3
    assert after["NumForcedGC"] - before["NumForcedGC"] == 3
    assert after["PauseTotalNs"] > before["PauseTotalNs"]
    assert abs(after["LastGC"] - time.time_ns()) < 60e9
    assert 0 < after["GCCPUFraction"] < 1
    assert isinstance(after["GCCPUFraction"], Decimal)
    assert memstats()["EnableGC"] is True
    gc.disable()
    try:
        assert memstats()["EnableGC"] is False
    finally:
        gc.enable()
    assert memstats()["DebugGC"] is False


def test_automatic_collections_are_not_called_forced() -> None:
    shown = json.loads(
        output(
            f"""{PREFIX}
read()
gc.set_threshold(50, 5, 5)
kept = []
for number in range(20_000):
    kept.append([number])
gc.set_threshold(0)
for generation in (0, 1, 2, 2):
    gc.collect(generation)
print(json.dumps(read()))
"""
        )
    )
    assert shown["NumGC"] > 256
    assert shown["NumForcedGC"] == 4
    assert_identities(shown)
    assert all(shown["PauseNs"])


@pytest.mark.parametrize("collections", [1, 255, 256, 600])
def test_collections_that_come_while_memstats_are_read(collections: int) -> None:
    """As of another thread at any moment: here before each copy of a list, twice."""
    shown = json.loads(
        output(
            f"""{PREFIX}
read()
for _ in range(300): gc.collect(0)
copies = []
def collect(frame, event, function):
    if event == "c_call" and function.__name__ == "copy" and "pyvars" in frame.f_code.co_filename and len(copies) < 2:
        copies.append(function)
        for _ in range({collections}): gc.collect(0)
sys.setprofile(collect)
shown = read()
sys.setprofile(None)
print(json.dumps([len(copies), shown]))
"""
        )
    )
    assert shown[0]
    assert_identities(shown[1])
    assert all(shown[1]["PauseNs"])
    assert len(set(shown[1]["PauseEnd"])) == 256


def test_a_page_shows_a_collection_at_once(registry: Registry, page: Read) -> None:
    """Only costly figures may be up to 100 ms old."""
    install(registry, only=["memstats", "gc"])
    before = page()
    gc.collect()
    after = page()
    assert after["memstats"]["NumGC"] > before["memstats"]["NumGC"]
    assert after["gc"]["gen2"]["collections"] > before["gc"]["gen2"]["collections"]
    assert after["gc"]["gen2"]["pause_total_ns"] > before["gc"]["gen2"]["pause_total_ns"]


def test_a_costly_reading_is_taken_less_often() -> None:
    """A reading of 30 ms is repeated after 3 s, so that it takes 1 % of a CPU; a cheap one after 100 ms."""
    readings: list[float] = []

    def costly() -> float:
        until = time.thread_time() + 0.03
        while time.thread_time() < until:
            pass
        readings.append(time.monotonic())
        return readings[-1]

    figure = reading.Reading(costly)
    first = figure.get()
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        assert figure.get() == first
    assert len(readings) == 1
    figure.expire()
    assert figure.get() > first


def test_a_reading_that_is_under_way_does_not_hold_others() -> None:
    began, go_on = threading.Event(), threading.Event()
    values = chain([1], repeat(2))

    def slow() -> int:
        value = next(values)
        if value == 2:
            began.set()
            go_on.wait(60)
        return value

    figure = reading.Reading(slow)
    assert figure.get() == 1
    figure.expire()
    thread = threading.Thread(target=figure.get)
    thread.start()
    assert began.wait(60)
    assert figure.get() == 1
    go_on.set()
    thread.join()
    assert figure.get() == 2


def test_what_is_handed_out_is_the_users_own(memstats: Read, registry: Registry) -> None:
    builtin = registry["memstats"]
    assert isinstance(builtin, Builtin)
    shown = builtin.snapshot()
    assert isinstance(shown, dict)
    shown["PauseNs"].clear()
    shown.clear()
    assert len(memstats()["PauseNs"]) == 256


def test_other_interpreters_answer_too() -> None:
    """The core and the built-ins need no packages, so any CPython can run them from this source tree."""
    for python in other_pythons("3.11", "3.12", "3.13", "3.14"):
        done = subprocess.run(
            [python, "-c", f"{PREFIX}\nread()\ngc.collect()\nprint(json.dumps(read()))"],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        shown = json.loads(done.stdout, parse_float=Decimal)
        jsonschema.validate(shown, SCHEMA, jsonschema.Draft202012Validator)
        assert_identities(shown)
        assert shown["NumForcedGC"] == 1
        assert shown["HeapAlloc"] > MB


def test_without_pymalloc_and_without_proc() -> None:
    code = """
from pyvars.runtime import allocators, proc
print(allocators.pymalloc(), sorted(proc.status("/nowhere")), proc.status()["VmRSS"] > 0)
"""
    assert output(code, PYTHONMALLOC="malloc") == "None ['RssAnon', 'Threads', 'VmRSS'] True\n"
