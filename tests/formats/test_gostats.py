"""/api/stats: the document of golang-stats-api-handler, without its defects; Mackerel's plugin can read it."""

import gc
import json
import time
from decimal import Decimal
from typing import Any

import jsonschema
import pytest

import pyvars
from pyvars import Registry
from pyvars.runtime import install
from pyvars.server import Server
from tests.conftest import strict, until
from tests.integrations.every import ALL, MOUNTED, SIDE_PORT, Answer, integration
from tests.integrations.test_side_port import get
from tests.programs import DATA
from tests.workers.test_several import WORKERS, Deployment, deployment

__all__ = ("deployment",)  # the fixture

SCHEMA = json.loads((DATA / "api_stats.schema.json").read_text())
RECORDED: dict[str, Any] = json.loads((DATA / "go_api_stats.json").read_text())
SECOND = 1_000_000_000


def checked(body: bytes) -> dict[str, Any]:
    """The document, checked against the schema."""
    shown: dict[str, Any] = strict(body)
    jsonschema.validate(shown, SCHEMA, jsonschema.Draft202012Validator)
    assert list(shown) == list(RECORDED)
    return shown


@pytest.fixture
def server(registry: Registry) -> Any:
    """A side port for the fresh registry."""
    with pyvars.serve(0, registry=registry) as server:
        yield server


def of(memstats: object, registry: Registry, server: Server) -> dict[str, Any]:
    """The document of these memstats, or of what they are when they are asked for."""
    registry.delete("memstats")
    registry.publish("memstats", memstats if callable(memstats) else lambda: memstats)
    return shown_by(server)


def shown_by(server: Server) -> dict[str, Any]:
    """The document, once a busy machine lets the function run."""
    return checked(until(lambda: get(server, "/api/stats"), lambda answer: answer.status != 503).body)


@pytest.mark.parametrize("name", MOUNTED)
def test_it_is_where_its_readers_look(name: str, registry: Registry) -> None:
    install(registry, only=["memstats", "threads"])
    path = "/api/stats" if name == SIDE_PORT else "/debug/api/stats"
    with integration(name, registry) as send:
        gc.collect()
        answer: Answer = send("GET", path)
        page = strict(send("GET", "/debug/vars").body)
        for wrong in (f"{path}x", f"{path}/x", f"/x{path}", f"/{path}"):
            assert send("GET", wrong).status == 404
        assert send("POST", path).status == 405
        assert send("GET", path, [("X-Forwarded-For", "127.0.0.1")]).status == 404
        assert send("HEAD", path).body == b""
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.body.count(b"\n") == 1
    shown = checked(answer.body)
    memstats = page["memstats"]  # at most 100 ms older or younger
    assert abs(shown["memory_alloc"] - memstats["Alloc"]) < 50_000_000
    assert shown["memory_alloc"] == shown["heap_alloc"] > 0
    assert shown["heap_sys"] == shown["heap_idle"] + shown["heap_inuse"]
    assert shown["heap_objects"] == shown["memory_mallocs"] - shown["memory_frees"] > 0
    assert 0 < shown["gc_num"] <= memstats["NumGC"]
    assert 0 < shown["gc_last"] <= shown["time"]
    assert shown["goroutine_num"] >= 1
    assert shown["gc_pause"][0] > 0
    assert shown["gc_per_second"] > 0
    assert shown["gc_pause_per_second"] > 0


def test_a_middleware_leaves_the_root_to_the_application(registry: Registry) -> None:
    install(registry, only=["memstats"])
    for name in set(ALL) - set(MOUNTED):
        with integration(name, registry) as send:
            assert send("GET", "/api/stats").status == 404


def test_words_are_those_of_go(registry: Registry, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    install(registry, only=["memstats", "threads"])
    shown = checked(get(server, "/api/stats").body)
    assert shown["go_version"].startswith("cpython3.")
    assert shown["go_os"] in ("linux", "darwin", "windows")
    assert (shown["gomaxprocs"], shown["cgo_call_num"]) == (1, 0)
    assert shown["cpu_num"] >= 1
    assert abs(shown["time"] - time.time_ns()) < 60 * SECOND
    for machine, word in (("x86_64", "amd64"), ("aarch64", "arm64"), ("s390x", "s390x"), ("RISCV64", "riscv64")):
        monkeypatch.setattr("platform.machine", lambda machine=machine: machine)
        assert checked(get(server, "/api/stats").body)["go_arch"] == word


def test_one_curious_reader_changes_no_later_answer(registry: Registry, server: Server) -> None:
    """Defect 1: in Go `?pp=1` indents all later responses."""
    install(registry, only=["memstats"])
    for query, lines in (("", 1), ("?pp=1", 29), ("", 1), ("?x=1&pp=true", 29), ("?pp=0", 1), ("?pp=11", 1)):
        body = get(server, f"/api/stats{query}").body
        assert checked(body)
        assert (body.count(b"\n") >= lines) if lines > 1 else (body.count(b"\n") == 1)


def test_recent_collections_are_the_same_for_every_reader(registry: Registry, server: Server) -> None:
    """Defect 2: in Go each of two readers gets only a part of `gc_pause` and `gc_per_second`."""
    now = time.time_ns()
    ends = [now - 10 * SECOND, now - 20 * SECOND, now - 500 * SECOND, now + 500 * SECOND, now - 5 * SECOND, 0]
    pauses = [3_000_000, 6_000_000, 1_000_000, 1_000_000, 3_500_000, 0]
    registry.publish("memstats", lambda: {"PauseEnd": ends, "PauseNs": pauses, "NumGC": 4})
    for _ in range(3):
        shown = shown_by(server)
        assert [float(pause) for pause in shown["gc_pause"]] == [3.5, 3.0, 6.0]  # ms, the newest first
        assert float(shown["gc_per_second"]) == pytest.approx(3 / 60)
        assert float(shown["gc_pause_per_second"]) == pytest.approx(12.5 / 60)  # defect 3: in Go it is 12.5
        assert shown["gc_num"] == 4


def test_rates_are_per_second_of_what_the_ring_spans(registry: Registry, server: Server) -> None:
    """When 256 collections, all that memstats remembers, took less than a minute."""

    def ring() -> dict[str, list[int]]:
        now = time.time_ns()
        return {"PauseEnd": [now - number * SECOND // 10 for number in range(1, 257)], "PauseNs": [1_000_000] * 256}

    shown = of(ring, registry, server)
    assert len(shown["gc_pause"]) == 256
    assert float(shown["gc_per_second"]) == pytest.approx(10, rel=0.2)
    assert float(shown["gc_pause_per_second"]) == pytest.approx(10, rel=0.2)
    shown = of({"PauseEnd": [time.time_ns()] * 300, "PauseNs": [1] * 300}, registry, server)
    assert len(shown["gc_pause"]) == 256


@pytest.mark.parametrize(
    "memstats",
    [
        {},
        {"Alloc": -1, "Sys": 2**64 - 1, "NumGC": 2**32 + 5, "LastGC": 1.5, "Mallocs": "7", "Frees": None},
        {"Alloc": 1e300, "NumGC": -1, "PauseEnd": 5, "PauseNs": 5},
        {"PauseEnd": [1, None, "x", 2.5], "PauseNs": [None, 1, 2, 3]},
        {"PauseEnd": [time.time_ns()] * 3, "PauseNs": [-1, 2**63, 1.5]},
        {"PauseEnd": [time.time_ns()], "PauseNs": None},
    ],
)
def test_no_figure_costs_the_reader_the_others(memstats: dict[str, object], registry: Registry, server: Server) -> None:
    shown = of(memstats, registry, server)
    assert shown["goroutine_num"] == 0  # the registry has no threads
    assert mackerel(get(server, "/api/stats").body)


def test_counts_are_those_of_memstats(registry: Registry, server: Server) -> None:
    shown = of({"NumGC": 2**32 + 5, "TotalAlloc": 2**63, "StackInuse": 7, "NextGC": 8}, registry, server)
    assert (shown["gc_num"], shown["memory_total_alloc"]) == (5, 2**63 - 1)
    assert (shown["memory_stack"], shown["gc_next"]) == (7, 8)


def test_without_memstats_there_is_none(registry: Registry, server: Server) -> None:
    answer = get(server, "/api/stats")
    assert (answer.status, answer.body) == (404, b"there are no memstats\n")
    registry.publish("memstats", lambda: [1])
    assert until(lambda: get(server, "/api/stats"), lambda answer: answer.status != 503).status == 404


INTEGERS = {"cpu_num", "goroutine_num", "gomaxprocs", "cgo_call_num", "time"}
FLOATS = {"gc_per_second", "gc_pause_per_second"}
METRICS = (
    *("goroutine_num", "cgo_call_num", "memory_sys", "memory_alloc", "memory_stack", "memory_lookups", "memory_frees"),
    *("memory_mallocs", "heap_sys", "heap_idle", "heap_inuse", "heap_released", "gc_num", *sorted(FLOATS)),
)
DIFFED = ("cgo_call_num", "memory_lookups", "memory_mallocs", "memory_frees", "heap_released", "gc_num")


def mackerel(body: bytes) -> dict[str, float]:
    """The metrics of mackerel-plugin-gostats, which decodes into Go's struct, and fails at any wrong type."""
    found: dict[str, Any] = json.loads(body, parse_float=Decimal)
    for key, value in found.items():
        if key.startswith("go_"):
            assert isinstance(value, str)
        elif key == "gc_pause":
            assert all(isinstance(each, int | Decimal) for each in value)
        elif key in FLOATS:
            assert isinstance(value, int | Decimal)
        else:
            assert type(value) is int, key
            least, most = (-(2**63), 2**63) if key in INTEGERS else (0, 2**32 if key == "gc_num" else 2**64)
            assert least <= value < most, key
    return {key: float(found.get(key, 0)) for key in METRICS}


def test_mackerels_plugin_reads_it_minute_by_minute(registry: Registry, server: Server) -> None:
    """The plugin itself was run too: mackerel-agent-plugins 2c4b498a, against a side port and four gunicorn workers."""
    install(registry, only=["memstats", "threads"])
    before = mackerel(get(server, "/api/stats").body)
    assert len(before) == 15
    kept = []
    for _ in range(5):
        kept.append([str(number) for number in range(10_000)])
        gc.collect()
        now = mackerel(get(server, "/api/stats", User_Agent="mackerel-plugin-gostats").body)
        for key in DIFFED:
            assert now[key] >= before[key], key  # else: "counter seems to be reset"
        assert now["gc_num"] > before["gc_num"]
        before = now


def test_workers_have_one_document(deployment: Deployment) -> None:
    """No count falls from one poll to the next, also if another worker answers."""
    before: dict[str, Any] | None = None
    for poll in range(3 * WORKERS):
        shown = checked(deployment.raw(poll % WORKERS, "/api/stats"))
        assert shown["heap_sys"] == shown["heap_idle"] + shown["heap_inuse"]
        assert shown["heap_objects"] == shown["memory_mallocs"] - shown["memory_frees"]
        assert shown["goroutine_num"] >= 2 * WORKERS  # each has its main thread and that of the side port
        for key in ("memory_total_alloc", "memory_mallocs", "memory_frees", "gc_num", "gc_last"):
            assert before is None or shown[key] >= before[key], key
        before = shown
