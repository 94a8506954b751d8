"""/metrics: the formats of Prometheus and OpenMetrics, read with the parsers of prometheus_client."""

import asyncio
import json
import re
import sys
import threading
import urllib.request
from collections.abc import Callable
from math import inf, isnan, nan
from queue import SimpleQueue
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, GCCollector, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import pyvars
from pyvars import Float, Histogram, Int, Map, Registry, String
from pyvars.access import token
from pyvars.access.request import deadline
from pyvars.asgi import VarsMiddleware
from pyvars.core.buckets import BOUNDS
from pyvars.formats.conventions import CONVENTIONS, conventional
from pyvars.prometheus import PyvarsCollector
from pyvars.runtime import BUILTINS, Builtin, install
from pyvars.site.default import debug
from tests.conftest import local_request, log_text, strict, until
from tests.integrations.every import ALL, MOUNTED, SIDE_PORT, integration
from tests.programs import ROOT, output
from tests.services import free_port, service
from tests.workers.test_several import WORKERS, Deployment, deployment

__all__ = ("deployment",)  # the fixture

EXAMPLES = ROOT / "examples" / "prometheus"
TEXT = ""
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
Labels = tuple[tuple[str, str], ...]


class Page:
    """A page of /metrics, parsed; `page["orders_total"]`, `page["by_state_total", "state", "paid"]`."""

    def __init__(self, body: bytes, *, strictly: bool) -> None:
        self.text = body.decode()
        parse = openmetrics_families if strictly else text_families
        self.families: dict[str, Metric] = {}
        self.samples: dict[tuple[str, Labels], float] = {}
        for family in parse(self.text):
            assert family.name not in self.families
            self.families[family.name] = family
            for sample in family.samples:
                series = sample.name, tuple(sorted(sample.labels.items()))
                assert series not in self.samples, series
                self.samples[series] = sample.value

    def __getitem__(self, wanted: str | tuple[str, ...]) -> float:
        name, *labels = (wanted,) if isinstance(wanted, str) else wanted
        return self.samples[name, tuple(sorted(zip(labels[::2], labels[1::2], strict=True)))]

    def __contains__(self, name: str) -> bool:
        return any(name == each for each, _ in self.samples)

    def lines(self, name: str) -> list[str]:
        return [line for line in self.text.splitlines() if line.startswith((name, f"# HELP {name}", f"# TYPE {name}"))]


Read = Callable[..., Page]


def metrics_of(registry: Registry) -> Read:
    site = debug(registry, None, prefix="/debug")

    def read(accept: str = TEXT, query: str = "", **changes: Any) -> Page:
        headers = (("host", "localhost"), *((("accept", accept),) if accept else ()))
        response = site.respond(local_request("/debug/metrics", query=query, headers=headers, **changes))
        assert response.status == 200
        return Page(response.body, strictly=accept == OPENMETRICS)

    return read


@pytest.fixture
def metrics(registry: Registry) -> Read:
    """The page of the fresh registry."""
    return metrics_of(registry)


@pytest.fixture(params=[TEXT, OPENMETRICS], ids=["text", "openmetrics"])
def both(request: pytest.FixtureRequest, metrics: Read) -> Callable[..., Page]:
    """The page in either format."""
    return lambda **changes: metrics(request.param, **changes)


@pytest.mark.parametrize("name", MOUNTED)
def test_it_is_where_prometheus_looks(name: str, registry: Registry) -> None:
    registry.publish("orders", Int(3), help="Orders accepted")
    path = "/metrics" if name == SIDE_PORT else "/debug/metrics"
    with integration(name, registry) as send:
        answer = send("GET", path)
        assert answer.status == 200
        assert answer.body == b"# HELP orders_total Orders accepted\n# TYPE orders_total counter\norders_total 3\n"
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert answer.headers["content-length"] == str(len(answer.body))
        assert answer.headers["cache-control"] == "no-store"
        head = send("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert send("POST", path).status == 405
        for wrong in (f"{path}x", f"{path}/x", f"/x{path}", f"/{path}"):
            assert send("GET", wrong).status == 404
        assert send("GET", path, [("X-Forwarded-For", "127.0.0.1")]).status == 404
        assert send("GET", f"{path}/").status == 200


def test_a_middleware_leaves_the_root_to_the_application(registry: Registry) -> None:
    for name in set(ALL) - set(MOUNTED):
        with integration(name, registry) as send:
            assert send("GET", "/metrics").status == 404


def test_the_gate_is_that_of_the_page(registry: Registry) -> None:
    site = debug(registry, token("correct-horse-battery"), prefix="")
    assert site.respond(local_request("/metrics")).status == 401
    bearer = (("host", "localhost"), ("authorization", "Bearer correct-horse-battery"))
    assert site.respond(local_request("/metrics", headers=bearer)).status == 200


# The headers of Prometheus 2.42 and 3.4; then malformed ones.
@pytest.mark.parametrize(
    ("accept", "starts"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/html, */*;q=0.1", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
            "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
            "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        ("application/openmetrics-text", "application/openmetrics-text; version="),
        ("application/openmetrics-text; version=x", ""),
        ("application/openmetrics-text; version=2.\x01", ""),
        ("text/plain; version=9.é", ""),
        ("\x00;;;,,,", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
def test_the_format_is_the_one_that_is_asked_for(accept: str, starts: str, registry: Registry) -> None:
    registry.publish("orders", Int(3))
    headers = (("host", "localhost"), ("accept", accept))
    answer = debug(registry, None, prefix="").respond(local_request("/metrics", headers=headers))
    content_type = dict(answer.headers)["Content-Type"]
    assert answer.status == 200
    assert content_type.startswith(starts or ("text/plain", "application/openmetrics-text"))
    assert content_type.isprintable()
    assert content_type.isascii()
    assert answer.body.endswith(b"# EOF\n") == content_type.startswith("application/openmetrics-text")
    assert b"\norders_total 3\n" in answer.body


def test_counts_gauges_units_and_help(registry: Registry, both: Callable[[], Page]) -> None:
    registry.publish("orders", Int(7), help='Orders\naccepted \\ "so far"')
    registry.publish("revenue", Float(9.5), unit="eur")
    registry.publish("cost_eur", Float(1.5), unit="eur")
    registry.publish("jobs_total", Int(2))
    registry.publish("time_seconds_total", Float(0.5), unit="seconds")
    registry.publish("orders_open", Int(3, gauge=True), help="Orders\udc80 not shipped")
    registry.publish("load", Float(-0.5, gauge=True), unit="1/€")
    registry.publish("seconds", Int(4), unit="seconds")
    registry.publish("version", String("1.4"))
    page = both()
    names = {name for name, _ in page.samples}
    assert page["orders_total"] == 7
    assert page["revenue_eur_total"] == 9.5
    assert page["cost_eur_total"] == 1.5
    assert page["jobs_total"] == 2
    assert page["time_seconds_total"] == 0.5
    assert page["orders_open"] == 3
    assert page["load_1"] == -0.5
    assert page["seconds_total"] == 4
    assert len(names) == 8
    assert page.families["orders"].type == page.families["revenue_eur"].type == "counter"
    assert page.families["orders"].documentation == 'Orders\naccepted \\ "so far"'
    assert page.families["orders_open"].type == "gauge"
    assert page.families["orders_open"].documentation == "Orders\ufffd not shipped"
    assert page.families["revenue_eur"].documentation == "revenue, published without a help text"
    if page.text.endswith("# EOF\n"):
        assert page.families["revenue_eur"].unit == "eur"
        assert page.families["seconds"].unit == ""  # a unit is a suffix


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 2**53 + 1, 10**6, 0, -1])
def test_integers_are_exact(number: int, registry: Registry, both: Callable[[], Page]) -> None:
    registry.publish("level", Int(number, gauge=True))
    registry.publish("function", lambda: {"a": number, "b\n# x 1": number})
    registry.publish("count", Int(max(number, 0)))
    page = both()
    assert f"level {number}\n" in page.text
    assert f'function{{key="a"}} {number}\n' in page.text
    assert f"count_total {max(number, 0)}\n" in page.text
    assert float(page["function", "key", "b\n# x 1"]) == float(number)  # parsers before 0.22 know floats only


def test_floats_are_what_they_are(registry: Registry, metrics: Read) -> None:
    for name, number in {"a": inf, "b": -inf, "c": nan, "d": 1e300, "e": 0.1}.items():
        registry.publish(name, Float(number, gauge=True))
    for accept in (TEXT, OPENMETRICS):
        page = metrics(accept)
        assert (page["a"], page["b"], page["d"], page["e"]) == (inf, -inf, 1e300, 0.1)
        assert isnan(page["c"])


def test_a_count_that_has_been_negative_is_still_one(registry: Registry, metrics: Read) -> None:
    """OpenMetrics forbids negative counts: with one, its readers would reject the page."""
    orders = registry.publish("orders", Int(-5))
    registry.publish("lost", Float(nan))
    assert metrics(TEXT)["orders_total"] == -5
    assert isnan(metrics(TEXT)["lost_total"])
    assert "orders_total" not in metrics(OPENMETRICS)
    orders.add(7)
    for accept in (TEXT, OPENMETRICS):
        assert metrics(accept)["orders_total"] == 2
        assert metrics(accept).families["orders"].type == "counter"


def test_maps_have_a_label(registry: Registry, both: Callable[[], Page]) -> None:
    by_state = registry.publish("by_state", Map(label="state"), help="Orders", unit="eur")
    by_state.add("paid")
    by_state.add("open", 1.5)
    by_state.add('"\\\n\udc80é')
    plain = registry.publish("plain", Map(max_keys=1))
    plain.add("a")
    plain.add("b", 2)
    registry.publish("empty", Map(label="nothing"))
    page = both()
    assert page["by_state_eur_total", "state", "paid"] == 1
    assert page["by_state_eur_total", "state", "open"] == 1.5
    assert page["by_state_eur_total", "state", '"\\\n\ufffdé'] == 1
    assert page["plain_total", "key", "a"] == 1
    assert page["plain_total", "key", "__other__"] == 2
    assert page.families["by_state_eur"].documentation == "Orders"
    assert set(page.families) == {"by_state_eur", "plain"}


@pytest.mark.parametrize("label", ["", "a", "_a", "class", "A1"])
def test_labels(label: str) -> None:
    assert Map(label=label).label == label


@pytest.mark.parametrize("label", ["1a", "a-b", "a b", "é", "__a", "le", "quantile", "a\n"])
def test_what_is_no_label(label: str) -> None:
    with pytest.raises(ValueError, match="is no label"):
        Map(label=label)


def test_a_label_is_text() -> None:
    with pytest.raises(TypeError, match="a label is a str, got 5"):
        Map(label=5)  # type: ignore[arg-type]


def test_levels_beside_counts_have_a_name_of_their_own(registry: Registry, both: Callable[[], Page]) -> None:
    jobs = registry.publish("jobs", Map(label="queue"), help="Jobs", unit="s")
    jobs.set("waiting", Int(4, gauge=True))
    jobs.set("oldest", lambda: 1.5)
    assert both()["jobs_s", "queue", "waiting"] == 4
    jobs.add("fast", 2)
    jobs.set("slow", Histogram())
    jobs.set("text", String("x"))
    page = both()
    # If a Map holds Histograms, its keys become parts of names, unless it has a `label`.
    assert page["jobs_s_total", "queue", "fast"] == 2
    assert page["jobs_level_s", "queue", "waiting"] == 4
    assert page["jobs_level_s", "queue", "oldest"] == 1.5
    assert page["jobs_distribution_s_count", "queue", "slow"] == 0
    assert len(page.families) == 3


def test_what_holds_others_gives_parts_of_names(registry: Registry, both: Callable[[], Page]) -> None:
    """As of `http`, in which the middleware counts."""
    http = registry.publish("http", Map(), help="Requests", unit="requests")
    by_method, by_route = Map(label="method"), Map(label="route")
    for key, var in {
        "requests": Int(5),
        "in_flight": Int(1, gauge=True),
        "by_method": by_method,
        "seconds": Histogram(),
        "seconds_by_route": by_route,
        "nested": Map(),
        "queue": lambda: 3,
    }.items():
        http.set(key, var)
    by_method.add("GET", 5)
    slow = Histogram()
    by_route.set("/orders/{id}", slow)
    slow.observe(0.3)
    page = both()
    assert page["http_requests_total"] == 5
    assert page["http_in_flight"] == 1
    assert page["http_queue"] == 3
    assert page["http_by_method_total", "method", "GET"] == 5
    assert page["http_seconds_count"] == 0
    assert page["http_seconds_by_route_bucket", "route", "/orders/{id}", "le", "0.5"] == 1
    assert page["http_seconds_by_route_bucket", "route", "/orders/{id}", "le", "0.25"] == 0
    assert page.families["http_requests"].documentation == "Requests"


def test_what_the_middleware_counts(registry: Registry, both: Callable[[], Page]) -> None:
    """With the names in the rules and the dashboard of examples/prometheus."""
    app = Starlette(routes=[Route("/orders/{id}", lambda request: PlainTextResponse("x" * 10))])
    app.add_middleware(VarsMiddleware, registry=registry)

    async def ask() -> None:
        transport = httpx.ASGITransport(app, client=("10.0.0.1", 1234))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop.example") as client:
            for path in ("/orders/1", "/orders/2", "/nothing"):
                await client.get(path)

    asyncio.run(ask())
    page = both()
    assert (page["http_requests_total"], page["http_errors_total"], page["http_in_flight"]) == (3, 0, 0)
    assert page["http_by_method_total", "method", "GET"] == 3
    assert page["http_by_status_total", "status", "2xx"] == 2
    assert page["http_by_status_total", "status", "4xx"] == 1
    assert page["http_by_route_total", "route", "/orders/{id}"] == 2
    assert page["http_seconds_count"] == 3
    assert page["http_seconds_by_route_count", "route", "/orders/{id}"] == 2
    assert page["http_bytes_out_total"] >= 20
    rules = (EXAMPLES / "rules.yml").read_text() + (EXAMPLES / "dashboard.json").read_text()
    series = {name for name, _ in page.samples}
    assert set(re.findall(r"\b(?<!:)http_\w+", rules)) <= series


def test_maps_within_maps_and_registries(registry: Registry, both: Callable[[], Page]) -> None:
    by_tenant = registry.publish("requests", Map(label="tenant"))
    by_status = Map(label="status")
    by_status.add("200", 3)
    same = Map(label="tenant")
    same.add("x")
    by_tenant.set("acme", by_status)
    by_tenant.set("same", same)
    inner = Registry()
    inner.publish("queries", Int(4), help="Queries", unit="rows")
    by_tenant.set("db", inner)
    outer = registry.publish("db.main", Registry())
    outer.publish("inner", inner)
    page = both()
    assert page["requests_total", "tenant", "acme", "status", "200"] == 3
    assert page["requests_x_total", "tenant", "same"] == 1
    assert page["requests_queries_rows_total", "tenant", "db"] == 4
    assert page["db_main_inner_queries_rows_total"] == 4
    assert page.families["db_main_inner_queries_rows"].documentation == "Queries"


def test_functions(registry: Registry, both: Callable[[], Page], caplog: pytest.LogCaptureFixture) -> None:
    class Own:
        def snapshot(self) -> object:
            return 2.5

    registry.publish("depth", lambda: 3, help="Depth", unit="jobs")
    registry.publish("on", lambda: True)
    registry.publish("own", Own())
    registry.publish("stock", lambda: {"apple": 40, "name": "x", "none": None, "list": [1]})
    registry.publish("pool", lambda: {"size": 5, "by_host": {"a": 1, "b": 2}})
    registry.publish("text", lambda: "x")
    registry.publish("list", lambda: [1, 2])
    registry.publish("nan", lambda: nan)
    registry.publish("bad", lambda: 1 / 0)
    release = threading.Event()
    registry.publish("late", lambda: release.wait(60))
    late = {"bad": "ZeroDivisionError", "late": "timeout"}

    def left_out(page: Page) -> dict[str, str]:
        about = [dict(labels) for name, labels in page.samples if name == "pyvars_left_out"]
        return {each["variable"]: each["reason"] for each in about}

    page = until(lambda: both(deadline=deadline()), lambda page: left_out(page) == late)
    release.set()
    assert page["depth_jobs"] == 3
    assert page["on"] == 1
    assert page["own"] == 2.5
    assert page["stock", "key", "apple"] == 40
    assert page["pool_size"] == 5
    assert page["pool_by_host", "key", "b"] == 2
    assert page["pyvars_left_out", "variable", "bad", "reason", "ZeroDivisionError"] == 1
    assert page["pyvars_left_out", "variable", "late", "reason", "timeout"] == 1
    assert len(page.samples) == 9
    assert page.families["pyvars_left_out"].type == "gauge"


def test_what_breaks_costs_itself_alone(registry: Registry, both: Callable[[], Page]) -> None:
    class Forgetful(Registry):
        def __init__(self) -> None:
            pass

    class Half(Map):
        def __init__(self) -> None:
            pass

    itself = registry.publish("itself", Registry())
    itself.publish("again", itself)
    itself.publish("orders", Int(5))
    deep = registry.publish("deep", Registry())
    for _ in range(40):
        deep = deep.publish("a", Registry())
    registry.publish("forgetful", Forgetful())
    registry.publish("half", Half())
    page = both()
    assert page["itself_orders_total"] == 5
    left_out = {dict(labels)["variable"]: dict(labels)["reason"] for _, labels in page.samples if labels}
    assert left_out.pop("deep" + ".a" * 32) == "RecursionError"
    assert left_out == {"forgetful": "AttributeError", "half": "AttributeError", "itself.again": "RecursionError"}


def test_names_are_made_valid_and_collisions_are_reported(
    registry: Registry, both: Callable[[], Page], caplog: pytest.LogCaptureFixture
) -> None:
    registry.publish("9 lives!", Int(1))
    registry.publish("a-b", Int(2, gauge=True))
    registry.publish("a_b", Int(3, gauge=True))
    registry.publish("jobs", Int(4))
    registry.publish("jobs_total", Int(5, gauge=True))
    registry.publish("pyvars_left_out", Int(6, gauge=True))
    registry.publish("process_open_fds", Int(7, gauge=True))
    registry.publish("size", Histogram())
    registry.publish("size_count", Int(8, gauge=True))
    registry.publish("x:y", Int(9, gauge=True))
    with pytest.warns(pyvars.PyvarsWarning):
        registry.publish("été", Int(10, gauge=True))
    install(registry, only=["process"])
    page = both()
    assert page["_9_lives__total"] == 1
    assert page["a_b"] == 2
    assert page["jobs_total"] == 4
    assert page["process_open_fds"] not in (0, 7)
    assert page["size_count"] == 0
    assert page["x_y"] == 9
    assert page["_t_"] == 10
    left_out = {dict(labels)["variable"] for (name, labels) in page.samples if name == "pyvars_left_out"}
    assert left_out == {"a_b", "jobs_total", "process_open_fds", "pyvars_left_out", "size_count"}
    both()
    assert log_text(caplog).count("variable 'a_b' is left out for Prometheus: 'a-b' has the name a_b there") <= 1


def test_a_collision_is_logged_once(
    registry: Registry, metrics: Read, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyvars.collect.series._logged", {})
    monkeypatch.setattr("pyvars.collect.series._MAX_LOGGED", 1)
    for name in ("once", "once_total", "twice", "twice_total"):
        registry.publish(name, Int())
    metrics()
    said = log_text(caplog)
    assert said.count("variable 'once_total' is left out for Prometheus: 'once' has the name once there") == 1
    assert said.count("twice_total") == 1


def test_part_of_the_page(registry: Registry, metrics: Read) -> None:
    for name in ("orders", "orders_open", "jobs", "x"):
        registry.publish(name, Int())
    assert list(metrics(query="name=orders&name=x").families) == ["orders", "orders_open", "x"]
    assert list(metrics(query="name=&other=1").families) == ["jobs", "orders", "orders_open", "x"]


def test_queries_out_of_bounds_and_a_busy_program(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    site = debug(registry, None, prefix="")
    assert site.respond(local_request("/metrics", query="x" * 5000)).status == 400
    assert site.respond(local_request("/metrics", query="name=x&" * 65)).status == 400
    monkeypatch.setattr("pyvars.site.slots._slots", SimpleQueue())
    assert site.respond(local_request("/metrics", deadline=0.0)).status == 503


OBSERVED = (0.0, 1e-9, 0.0009, 0.0009765625, 0.001, 0.25, 0.2500001, 3, 64, 65, 1e15)


@pytest.mark.parametrize(
    ("name", "unit", "first", "last"),
    [
        ("checkout", "seconds", 2**-12, 64),
        ("checkout_seconds", "", 2**-12, 64),
        ("seconds_by_route", "", 2**-12, 64),
        ("wait", "milliseconds", 2**-2, 2**16),
        ("wait_microseconds", "microseconds", 2**8, 2**26),
        ("wait", "nanoseconds", 2**18, 2**36),
        ("size", "bytes", 2**6, 2**42),
        ("batch", "", 2**-10, 2**26),
    ],
)
def test_histograms(
    name: str, unit: str, first: float, last: float, registry: Registry, both: Callable[[], Page]
) -> None:
    histogram = registry.publish(name, Histogram(), unit=unit)
    empty = both()
    for value in OBSERVED:
        histogram.observe(value)
    page = both()
    whole = name if not unit or name.endswith(unit) else f"{name}_{unit}"
    assert page.families[whole].type == "histogram"
    bounds = [line.partition('le="')[2].partition('"')[0] for line in page.lines(f"{whole}_bucket")]
    assert len(bounds) == 20
    assert bounds == [line.partition('le="')[2].partition('"')[0] for line in empty.lines(f"{whole}_bucket")]
    assert (float(bounds[0]), float(bounds[-2]), bounds[-1]) == (first, last, "+Inf")
    for bound in bounds:
        assert float(bound) in (*BOUNDS, inf)
        assert page[f"{whole}_bucket", "le", bound] == sum(value <= float(bound) for value in OBSERVED)
        assert empty[f"{whole}_bucket", "le", bound] == 0
    assert page[f"{whole}_count"] == len(OBSERVED)
    assert page[f"{whole}_sum"] == pytest.approx(sum(OBSERVED))


def test_builtins_have_their_conventional_names(registry: Registry, both: Callable[[], Page]) -> None:
    install(registry)
    page = both()
    shown = strict(debug(registry, None, prefix="/debug").respond(local_request()).body)
    process = shown["process"]
    cpu = float(process["cpu_user_seconds"] + process["cpu_system_seconds"])
    assert cpu - 1 < page["process_cpu_seconds_total"] <= cpu + 1
    assert abs(page["process_resident_memory_bytes"] - process["rss_bytes"]) < 50_000_000
    assert page["process_start_time_seconds"] == pytest.approx(float(process["start_time_seconds"]))
    assert page["process_open_fds"] > 2
    assert page["process_max_fds"] == process["max_fds"]
    assert page["python_gc_collections_total", "generation", "0"] <= shown["gc"]["gen0"]["collections"]
    assert page["python_gc_objects_collected_total", "generation", "2"] <= shown["gc"]["gen2"]["collected"]
    assert page["python_gc_objects_uncollectable_total", "generation", "1"] == 0
    pause = page["pyvars_gc_pause_seconds_total", "generation", "0"]
    assert 0 <= pause <= shown["gc"]["gen0"]["pause_total_ns"] / 1e9
    assert page["pyvars_context_switches_total", "type", "voluntary"] > 0
    assert abs(page["pyvars_memory_in_use_bytes"] - shown["memstats"]["HeapAlloc"]) < 50_000_000
    assert page["pyvars_threads"] >= 1
    assert page["pyvars_workers_live"] == 1
    version = sys.version_info
    labels = {
        "implementation": "CPython",
        "major": str(version.major),
        "minor": str(version.minor),
        "patchlevel": shown["python"]["version"].split(".")[2],
        "version": shown["python"]["version"],
    }
    assert page.samples["python_info", tuple(sorted(labels.items()))] == 1
    registry.publish("again", Builtin(BUILTINS["process"]))  # the figures are the same: shown once
    assert both()["process_open_fds"] > 2
    registry.delete("again")
    registry.delete("process")
    assert "process_open_fds" not in both()


def test_what_built_ins_say_may_be_anything() -> None:
    """Figures of a peer that is not pyvars, or is damaged."""
    assert set(CONVENTIONS) <= set(BUILTINS.values())
    for target in (*CONVENTIONS, "pyvars.runtime.cmdline:Cmdline"):
        for figures in (None, [], {}, {"gen0": 5}, {"gen0": {"collections": "x", "pause_total_ns": None}}):
            for family in conventional(target, figures):
                assert not family.samples or family.name == "python_info"
    (family,) = conventional("pyvars.runtime.python:Python", {"version": "3", "implementation": None})
    assert family.samples[0].labels["minor"] == ""


text = st.text(max_size=20)
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats()


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=20), st.tuples(text, text, numbers, st.booleans()), max_size=5),
       st.dictionaries(text, numbers, max_size=5))  # fmt: skip
@pytest.mark.filterwarnings("ignore::pyvars.PyvarsWarning")
def test_whatever_the_names_keys_and_values_are(
    variables: dict[str, tuple[str, str, float, bool]], members: dict[str, float]
) -> None:
    registry = Registry()
    by_key = registry.publish("by_key", Map(label="k"))
    for key, number in members.items():
        by_key.add(key, number if isinstance(number, float) else number >> 8)
    registry.publish("returned", lambda: members)
    for name, (help, unit, number, gauge) in variables.items():
        var = Int(number, gauge=gauge) if isinstance(number, int) else Float(number, gauge=gauge)
        if name.casefold() not in ("memstats", "cmdline", "by_key", "returned") and name[:6].casefold() != "pyvars":
            registry.publish(name, var, help=help, unit=unit)
    for accept in (TEXT, OPENMETRICS):
        page = metrics_of(registry)(accept)
    shown = {name for name, _ in page.samples}
    assert len(shown) <= len(registry) + 3


def test_without_prometheus_client_it_says_what_to_install() -> None:
    code = """
import sys, pyvars, urllib.request, urllib.error
sys.modules["prometheus_client"] = None
with pyvars.serve(0) as server:
    try:
        urllib.request.urlopen(server.url + "/metrics")
    except urllib.error.HTTPError as error:
        print(error.code, error.read().decode(), end="")
    print(urllib.request.urlopen(server.url + "/debug/vars").status)
"""
    assert output(code) == "501 prometheus_client is not installed: pip install 'pyvars[prometheus]'\n200\n"


def test_another_release_of_prometheus_client_may_write_more_lines(
    registry: Registry, metrics: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.publish("orders", Int(2**53 + 1))

    def choose(accept: str) -> tuple[Any, str]:
        return lambda source: generate_latest(source) + b"more 1.0\n", "text/plain"

    monkeypatch.setattr("pyvars.formats.prometheus.choose_encoder", choose)
    page = metrics()
    assert (page["orders_total"], page["more"]) == (2.0**53, 1)


def test_a_registry_within_one_of_prometheus_client(registry: Registry) -> None:
    called: list[int] = []
    registry.publish("orders", Int(2**53 + 1), help="Orders accepted")
    registry.publish("lost", Int(-1))
    registry.publish("depth", lambda: called.append(1) or 5)
    registry.publish("seconds", Histogram()).observe(0.3)
    install(registry)
    theirs = CollectorRegistry(auto_describe=True)
    Counter("orders", "Of somebody else", registry=theirs).inc(3)
    ProcessCollector(registry=theirs)
    GCCollector(registry=theirs)
    collector = PyvarsCollector(registry, prefix="shop_")
    theirs.register(collector)
    assert not called  # registering calls no function
    page = Page(generate_latest(theirs), strictly=False)
    assert (page["orders_total"], page["shop_orders_total"], page["shop_depth"]) == (3, 2**53, 5)
    assert page["shop_seconds_count"] == 1
    assert page["process_open_fds"] > 0
    assert "shop_process_open_fds" not in page
    page = Page(openmetrics_latest(theirs), strictly=True)
    assert "shop_lost_total" not in page  # OpenMetrics has no negative counts
    with_builtins = CollectorRegistry()
    with_builtins.register(PyvarsCollector(registry, builtins=True))
    assert Page(generate_latest(with_builtins), strictly=False)["process_open_fds"] > 0


def test_the_default_registry_within_that_of_prometheus_client() -> None:
    pyvars.publish("orders", Int(3))
    theirs = CollectorRegistry()
    theirs.register(PyvarsCollector())
    page = Page(generate_latest(theirs), strictly=False)
    assert page["orders_total"] == 3
    assert list(page.families) == ["orders"]


def test_numbers_are_of_all_workers(deployment: Deployment) -> None:
    for accept in (TEXT, OPENMETRICS):
        for worker in range(WORKERS):
            # On a busy machine a function may be late, and the figures of a peer.
            page = until(
                lambda worker=worker, accept=accept: scrape(deployment, worker, accept),
                lambda page: (
                    "pyvars_left_out" not in page
                    and page["process_resident_memory_bytes"] > 3 * 10_000_000
                    and page["pyvars_threads"] >= 2 * WORKERS
                ),
            )
            assert page["orders_total"] == 36
            assert page["revenue_total"] == 0.6
            assert page["open_orders"] == 3
            assert page["db_queries_total"] == 6
            assert page["by_state_total", "key", "paid"] == 3
            assert page["by_state_total", "key", "state 2"] == 2
            assert page["by_state_total", "key", "limit"] == 6
            assert page["by_state_total", "key", "__other__"] == 3
            assert [page[f"only_{number}_total"] for number in (1, 2, 3)] == [1, 2, 3]
            assert (page["in_use"], page["first"], page["longest", "key", "seconds"]) == (6, 1, 1.5)
            assert page["pid"] == deployment.pids[worker]
            assert (page["pyvars_workers_live"], page["pyvars_workers_retired_total"]) == (3, 0)


def test_what_only_a_peer_has() -> None:
    code = """
import os, sys, urllib.request
import pyvars
from pyvars import Histogram, Int, Map, Registry

pyvars.publish("busy", Map(label="worker")).set("parent", Int(1, gauge=True))
with pyvars.serve(0) as server:
    told, tell = os.pipe()
    end, ended = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ended)
        inner = pyvars.serve(0)
        pyvars.get("busy").set("child", Int(2, gauge=True))
        pyvars.publish("level", Int(3, gauge=True))
        pyvars.publish("count", Int(4))
        pyvars.publish("mine", Map()).add("a", 5)
        pyvars.publish("sizes", Histogram()).observe(1)
        pyvars.publish("structure", Map()).set("inside", Map())
        pyvars.get("structure").var("inside").add("x", 6)
        registry = pyvars.publish("registry", Registry())
        registry.publish("queries", Int(7))
        registry.publish("open", Int(8, gauge=True))
        pyvars.publish("in_use", lambda: 9, combine="sum")
        os.write(tell, b"!")
        os.read(end, 1)
        os._exit(0)
    os.close(end)
    os.read(told, 1)
    with urllib.request.urlopen(server.url + "/metrics") as answer:
        print(answer.read().decode())
    os.close(ended)
    os.waitpid(child, 0)
"""
    page = Page(output(code).strip().encode() + b"\n", strictly=False)
    assert page["busy", "worker", "parent"] == 1
    assert page["busy", "worker", "child"] == 2
    assert (page["level"], page["count_total"], page["mine_total", "key", "a"]) == (3, 4, 5)
    assert page["sizes_count"] == 1
    assert page["structure_inside_total", "key", "x"] == 6
    assert (page["registry_queries_total"], page["registry_open"]) == (7, 8)
    assert page["pyvars_workers_live"] == 2


def scrape(deployment: Deployment, worker: int, accept: str) -> Page:
    return fetched(f"{deployment.urls[deployment.pids[worker]]}/metrics", accept)


def fetched(url: str, accept: str) -> Page:
    request = urllib.request.Request(url, headers={"Accept": accept, "Connection": "close"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return Page(answer.read(), strictly=accept == OPENMETRICS)


WORK = 80


def test_four_workers_behind_one_port() -> None:
    """Each worker shows the sums, with variables that only another one has; gauges stay gauges."""
    port = free_port()
    url = f"http://localhost:{port}"
    command = (
        "uvicorn",
        "--workers",
        "4",
        "--port",
        str(port),
        "--log-level",
        "critical",
        "tests.formats.metrics_app:app",
    )
    with service(*command, ready=port):
        until(lambda: fetched(f"{url}/debug/metrics", TEXT).samples.get(("cores", ()), 0), lambda cores: cores == 4)
        pids = set()
        for number in range(WORK):
            with urllib.request.urlopen(f"{url}/work?n={number % 16 + 1}", timeout=60) as answer:
                pids.add(int(answer.read()))
        listed = json.loads(urllib.request.urlopen(f"{url}/debug/workers", timeout=60).read())["workers"]
        workers = [each["pid"] for each in listed]
        assert len(workers) == 4
        assert pids <= set(workers)
        for accept in (TEXT, OPENMETRICS):  # on a busy machine a function may be late
            until(
                lambda accept=accept: fetched(f"{url}/debug/metrics", accept),
                lambda page: "pyvars_left_out" not in page and page["cores"] == 4,
            )
        for poll in range(24):
            accept = (TEXT, OPENMETRICS)[poll % 2]
            page = fetched(f"{url}/debug/metrics", accept)
            assert page["requests_total", "method", "GET"] == WORK
            assert "pyvars_left_out" in page or page["cores"] == 4
            assert page["seconds_count"] == page["seconds_bucket", "le", "2.0"] == WORK
            assert page["seconds_bucket", "le", "1.0"] == WORK / 2
            assert page["seconds_bucket", "le", "0.125"] == WORK / 16
            assert page["seconds_sum"] == sum(range(1, 17)) / 8 * WORK / 16
            assert page["seconds_by_route_count", "route", "/16"] == WORK / 16
            assert page["seconds_by_route_bucket", "route", "/1", "le", "0.125"] == WORK / 16
            assert page["bound_total", "key", "a"] == page["bound_total", "key", "b"] == WORK
            assert page["bound_total", "key", "__other__"] == 2 * WORK
            for pid in workers:
                assert page["busy", "worker", str(pid)] == page[f"level_{pid}"] == 1
                assert page[f"map_{pid}_total", "key", "a"] == 1
                assert page[f"seconds_{pid}_bucket", "le", "1.0"] == page[f"seconds_{pid}_count"] == 1
                assert (page[f"registry_{pid}_queries_total"], page[f"registry_{pid}_open"]) == (2, 3)
                assert page[f"registry_{pid}_by_table_total", "key", "t"] == 1
                assert page[f"registry_{pid}_seconds_count"] == 1
