"""The requirements of the readers of Go's expvar, as rules over the bytes of a page: one function for each rule.

The numbers are those of a study of these readers: 1 the page of Go, 2 the requirements of all, 2.1 to 2.14 those of
each. Its sources are their code, and their behaviour with damaged pages; a rule reads the page as its reader does.
`EVERY` page meets the first kind of rules, whatever the program publishes; those in `OF_THE_PROGRAM` depend on names
and values of the program. `SERIES` are rules over several pages that one reader requests one after the other.
"""

import gc
import gzip
import http.client
import json
import re
import threading
import time
import warnings
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal
from itertools import pairwise
from pathlib import PurePath
from typing import Any, NamedTuple

import pytest

import pyvars
from pyvars import Float, Histogram, Int, Map, PyvarsWarning, Registry, String
from pyvars.access import token
from pyvars.runtime import install
from tests.formats import hostile
from tests.workers.test_workers import SERVERS, get, server, wait_for_members

POLLS = 25
INT64 = range(-(2**63), 2**63)
UINT64 = range(2**63)
"""Go's limit is 2^64 - 1; Elasticsearch, Telegraf and OpenTelemetry accept or store only up to 2^63 - 1."""
UINT32 = range(2**32)
MAX_FLOAT = Decimal("1.7976931348623157e308")

RING = ("PauseNs", "PauseEnd")
BOOLS = ("EnableGC", "DebugGC")
UINT32S = ("NumGC", "NumForcedGC")
UINT64S = (
    *("Alloc", "TotalAlloc", "Sys", "Lookups", "Mallocs", "Frees", "HeapAlloc", "HeapSys", "HeapIdle", "HeapInuse"),
    *("HeapReleased", "HeapObjects", "StackInuse", "StackSys", "MSpanInuse", "MSpanSys", "MCacheInuse", "MCacheSys"),
    *("BuckHashSys", "GCSys", "OtherSys", "NextGC", "LastGC", "PauseTotalNs"),
)
ALL = {*RING, *BOOLS, *UINT32S, *UINT64S, "GCCPUFraction", "BySize"}
COUNTS = ("TotalAlloc", "Lookups", "Mallocs", "Frees", "HeapReleased", "PauseTotalNs", "NumGC", "NumForcedGC", "LastGC")


class Page(NamedTuple):
    """One response, as a reader gets it."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    @property
    def data(self) -> Any:
        """The document as strict decoders read it: a number with a point or exponent is a Decimal, no integer."""

        def refuse(word: str) -> None:
            raise AssertionError(f"{word} is no JSON")

        def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            members = dict(pairs)
            assert len(members) == len(pairs), "a key stands twice"
            return members

        text = self.body.decode("utf-8", "strict")
        return json.loads(text, parse_constant=refuse, parse_float=Decimal, object_pairs_hook=once)

    @property
    def memstats(self) -> dict[str, Any]:
        found = self.data["memstats"]
        assert isinstance(found, dict)
        return found


Rule = Callable[[Page], object]
EVERY: list[Rule] = []
OF_THE_PROGRAM: list[Rule] = []
SERIES: list[Callable[[list[Page]], object]] = []


def every(rule: Rule) -> Rule:
    EVERY.append(rule)
    return rule


def of_the_program(rule: Rule) -> Rule:
    OF_THE_PROGRAM.append(rule)
    return rule


def of_series(rule: Callable[[list[Page]], object]) -> Callable[[list[Page]], object]:
    SERIES.append(rule)
    return rule


def leaves(data: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each scalar with its path; the items of a list have the path of the list, as in Elasticsearch."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from leaves(value, (*path, key))
    elif isinstance(data, list):
        for value in data:
            yield from leaves(value, path)
    else:
        yield path, data


def levels(page: Page) -> int:
    """The number of levels of nesting."""
    depth = deepest = 0
    for mark in re.findall(rb'"(?:[^"\\]|\\.)*"|[\[{\]}]', page.body):
        depth += (mark in b"[{") - (mark in b"]}") if len(mark) == 1 else 0
        deepest = max(deepest, depth)
    assert depth == 0
    return deepest


def integer(value: object, within: range) -> int:
    assert type(value) is int, f"{value!r} is no integer literal"
    assert value in within, f"{value} is out of range"
    return value


def number(value: object) -> float:
    assert type(value) in (int, Decimal), f"{value!r} is no number"
    assert isinstance(value, int | Decimal)
    assert abs(value) <= MAX_FLOAT, f"{value} is beyond a 64-bit float"
    return float(value)


def texts(value: object) -> list[str]:
    assert isinstance(value, list)
    assert all(isinstance(each, str) for each in value)
    return value


# Any page


@every
def every_decoder(page: Page) -> None:
    """2.1 to 2.14: one JSON object in UTF-8, without byte order mark, NaN, Infinity or anything after it.

    With NaN 15 of 20 readers lose the page, with trailing text 12, with a byte order mark 17.
    """
    assert page.body[:1] == b"{"
    assert page.body[-2:] == b"}\n"
    assert isinstance(page.data, dict)


@every
def every_float(page: Page) -> None:
    """2.2, 2.8, 2.9, 2.11, 2.13: a number beyond a 64-bit float, such as 1e400, loses the document."""
    for _, value in leaves(page.data):
        if type(value) in (int, Decimal):
            number(value)


@every
def python_decoders(page: Page) -> None:
    """2.5, 2.6, 2.14 Datadog, Netdata, Nagios: json.loads fails on nesting deeper than its recursion limit."""
    assert levels(page) <= 260


@every
def every_reader_of_status(page: Page) -> None:
    """2.1, 2.4, 2.5, 2.6, 2.9, 2.10, 2.12: every status but 200 is an error, even with a valid body."""
    assert page.status == 200


@every
def zabbix_agent(page: Page) -> None:
    """2.14: web.page.get does not decode chunks, so the response needs a Content-Length."""
    assert int(page.headers["content-length"]) == len(page.body)
    assert "transfer-encoding" not in page.headers


@every
def collectd_and_nagios_headers(page: Page) -> None:
    """2.10, 2.14: they do not request compression, and cannot read a page that is compressed."""
    assert "content-encoding" not in page.headers


@every
def scripts_in_pages(page: Page) -> None:
    """1: as in Go, so that a page embedded in HTML ends no element, and no line of JavaScript."""
    assert not set("<>&\u2028\u2029") & set(page.body.decode())


@every
def metricbeat_heap(page: Page) -> None:
    """2.1: runtime.MemStats by Go's encoding/json. One wrong type loses the scrape; names match in any case."""
    assert [name for name in page.data if name.lower() == "memstats"] == ["memstats"]
    for name, value in page.memstats.items():
        known = {each.lower(): each for each in ALL}.get(name.lower())
        assert known in (None, name), f"{name} overwrites {known}"
        if name in BOOLS:
            assert isinstance(value, bool)
        elif name in RING:
            assert isinstance(value, list)
            assert all(integer(each, UINT64) >= 0 for each in value)
        elif name == "BySize":
            assert all(integer(each[key], UINT64) >= 0 for each in value for key in ("Size", "Mallocs", "Frees"))
        elif name == "GCCPUFraction":
            number(value)
        elif name in ALL:
            integer(value, UINT32 if name in UINT32S else UINT64)


@every
def metricbeat_cmdline(page: Page) -> None:
    """2.1, 2.2: if an item of the array is no string, Metricbeat panics; no other variable may have this name."""
    assert [name for name in page.data if name.lower() == "cmdline"] == ["cmdline"]
    texts(page.data["cmdline"])


@every
def kibana_dashboard(page: Page) -> None:
    """2.1, 2.3: no panel is empty: of an absent figure Metricbeat makes 0, and Kibana shows nothing."""
    assert set(page.memstats) >= ALL


@every
def elasticsearch_long(page: Page) -> None:
    """2.1, 2.3: memstats are fields of type long, which refuse 2^63 and more, as Go's NextGC is without a limit."""
    for path, value in leaves(page.memstats):
        assert type(value) is not int or value in UINT64, path


@every
def elastic_agent_ring(page: Page) -> None:
    """2.3: its script fails if the ring has fewer than 256 pauses, and then stores none."""
    assert all(len(page.memstats[name]) == 256 for name in RING)


@every
def opentelemetry(page: Page) -> None:
    """2.4: memstats is an object, not null; its types are those of 2.1; the last pause is found in the ring."""
    memstats = page.memstats
    last = integer(memstats["PauseNs"][(memstats["NumGC"] + 255) % 256], range(2**63))
    assert (last > 0) == (memstats["NumGC"] > 0)


@every
def datadog(page: Page) -> None:
    """2.5: NumGC and PauseNs are mandatory; the ring has NumGC pauses (at most 256), else zeros are reported."""
    memstats = page.memstats
    ring, end = memstats["PauseNs"], integer(memstats["NumGC"], UINT32)
    first = ring[: (end + 255) % 256 + 1] if end < 256 else ring  # the pauses that a check takes at its first run
    assert all(number(pause) > 0 for pause in (first if end else []))
    assert sum(pause > 0 for pause in ring) == min(end, 256)
    for name in ("Alloc", "HeapAlloc", "HeapSys", "HeapIdle", "HeapInuse", "HeapReleased", "HeapObjects", "TotalAlloc"):
        number(memstats[name])
    for name in ("Lookups", "Mallocs", "Frees", "PauseTotalNs"):
        number(memstats[name])


@every
def netdata(page: Page) -> None:
    """2.6: its job fails with a KeyError or TypeError if a figure is missing, null, or no number."""
    data = json.loads(page.body)
    memstats = data["memstats"]
    assert int(memstats["Mallocs"]) >= int(memstats["Frees"])
    assert sum(memstats["PauseNs"]) >= len([pause for pause in memstats["PauseNs"] if pause > 0])
    for name in ("HeapAlloc", "HeapInuse", "StackInuse", "MSpanInuse", "MCacheInuse", "Sys"):
        assert memstats[name] * 1 >= 0
    del data["memstats"]


@every
def expvarmon(page: Page) -> None:
    """2.7: PauseTotalNs as an integer literal, cmdline as strings are mandatory; its other defaults are integers."""
    for name in ("PauseTotalNs", "Alloc", "Sys", "HeapAlloc", "HeapInuse"):
        integer(page.memstats[name], INT64)
    assert all(integer(pause, INT64) >= 0 for pause in page.memstats["PauseNs"])
    assert PurePath(texts(page.data["cmdline"])[0]).name


@every
def signalfx_nulls(page: Page) -> None:
    """2.8: null anywhere it looks is an error and a data point without value."""
    assert all(value is not None for _, value in leaves(page.memstats))
    newest = (page.memstats["NumGC"] + 255) % 256
    assert all(integer(page.memstats[name][newest], INT64) >= 0 for name in RING)


@every
def telegraf_influxdb(page: Page) -> None:
    """2.9: it decodes memstats into int64 fields; if one does not fit, it ignores memstats without a log line."""
    for name in (*UINT64S, *UINT32S):
        integer(page.memstats[name], INT64)
    assert all(integer(pause, INT64) >= 0 for pause in page.memstats["PauseNs"])
    texts(page.data["cmdline"])


@every
def telegraf_json(page: Page) -> None:
    """2.9: every number becomes a field: 736 of memstats in Go, fewer here, since BySize is empty."""
    fields = sum(type(value) in (int, Decimal) for _, value in leaves(page.memstats))
    assert fields >= 27 + 2 * 256 - len(BOOLS)


@every
def collectd(page: Page) -> None:
    """2.10: it finds a key by its path, with the index in a list as a number, with a streaming parser."""
    for path in ("memstats/HeapAlloc", "memstats/PauseNs/0", "cmdline/0"):
        found = page.data
        for part in path.split("/"):
            found = found[int(part)] if isinstance(found, list) else found[part]
        assert isinstance(found, int | str)


@every
def expvardash(page: Page) -> None:
    """2.12: charts accept only integers; the other tool of this name reads cmdline[0] without a check."""
    integer(page.memstats["HeapAlloc"], INT64)
    assert page.data["cmdline"][0]


@every
def inspeqtor(page: Page) -> None:
    """2.13: without memstats its goroutine ends; five figures are mandatory and must be numbers."""
    for name in ("Alloc", "TotalAlloc", "HeapAlloc", "NumGC", "PauseTotalNs"):
        number(page.memstats[name])


@every
def nagios(page: Page) -> None:
    """2.14: `memstats.HeapAlloc` and `memstats.PauseNs(0)`."""
    data = json.loads(page.body)
    assert isinstance(data["memstats"]["HeapAlloc"], int)
    assert isinstance(data["memstats"]["PauseNs"][0], int)


@every
def dashboards(page: Page) -> None:
    """1: equations between figures that hold in Go, and that dashboards use."""
    memstats = page.memstats
    assert memstats["Alloc"] == memstats["HeapAlloc"] <= memstats["TotalAlloc"]
    assert memstats["HeapSys"] == memstats["HeapIdle"] + memstats["HeapInuse"]
    parts = ("HeapSys", "StackSys", "MSpanSys", "MCacheSys", "BuckHashSys", "GCSys", "OtherSys")
    assert memstats["Sys"] == sum(memstats[part] for part in parts)
    assert memstats["HeapObjects"] == memstats["Mallocs"] - memstats["Frees"]
    newest = (memstats["NumGC"] + 255) % 256
    assert memstats["PauseEnd"][newest] == memstats["LastGC"] == max(memstats["PauseEnd"])


# Names and values of the program


@of_the_program
def elasticsearch_keys(page: Page) -> None:
    """2.2: a document with an empty key, or with a name that is both a value and a prefix, is refused."""
    paths = {tuple(".".join(path).split(".")) for path, _ in leaves(page.data)}
    assert all(part.strip() for path in paths for part in path), "an empty key, or a blank one"
    assert not any(path[:end] in paths for path in paths for end in range(1, len(path))), "both value and prefix"


def elasticsearch_levels(page: Page) -> None:
    """2.2: a field lies below at most 20 levels (index.mapping.depth.limit), of which Metricbeat takes two."""
    assert max(len(".".join(path).split(".")) for path, _ in leaves(page.data)) <= 18


@of_the_program
def telegraf_names(page: Page) -> None:
    """2.9: it treats objects with these names as those of InfluxDB."""
    assert not page.data.keys() & {"build", "crypto", "system"}


@of_the_program
def elasticsearch_numbers(page: Page) -> None:
    """2.2: the same for figures of the program: a long is at most 2^63 - 1."""
    for path, value in leaves(page.data):
        assert type(value) is not int or value in INT64, path


@of_the_program
def datadog_paths(page: Page) -> None:
    """2.5: a slash separates the parts of a path, so it cannot stand in one."""
    assert not any("/" in key for path, _ in leaves(page.data) for key in path)


@of_the_program
def signalfx_names(page: Page) -> None:
    """2.8: its paths are regular expressions without anchors: `memstats` is found in every name that contains it."""
    assert [name for name in page.data if "memstats" in name] == ["memstats"]


@of_the_program
def collectd_levels(page: Page) -> None:
    """2.10: it stops reading at 127 levels, loses the rest of the page, and then polls less and less often."""
    assert levels(page) <= 127


@of_the_program
def prometheus_expvar_exporter(page: Page) -> None:
    """2.11: with one name that is empty or not ASCII it answers its whole page with 500."""
    assert all(name and name.isascii() and name.isprintable() for name in page.data)


# Rules over several pages that one reader requests


@of_series
def in_time(pages: list[Page]) -> None:
    """2.8: SignalFx gives 300 ms for all of it; the others 1 s and more. Of the best page: see `polled`."""
    assert min(page.seconds for page in pages) < 0.3


@of_series
def counts_never_fall(pages: list[Page]) -> None:
    """2.1, 2.4, 2.5, 2.7: derivatives, monotonic sums, rates, and "restarted" when PauseTotalNs falls."""
    for before, after in pairwise(pages):
        for name in COUNTS:
            assert after.memstats[name] >= before.memstats[name], name


@of_series
def counts_of_builtins_never_fall(pages: list[Page]) -> None:
    """2.6, 2.10: lines of Netdata and series of collectd that are rates."""

    def counts(page: Page) -> list[Decimal]:
        data = page.data
        process, generations = data["process"], [data["gc"][f"gen{number}"] for number in range(3)]
        return [
            *(each[name] for each in generations for name in ("collections", "collected", "pause_total_ns")),
            *(process[name] for name in ("cpu_user_seconds", "context_switches_voluntary", "uptime_seconds")),
        ]

    for before, after in pairwise(pages):
        assert all(now >= then for then, now in zip(counts(before), counts(after), strict=True))


@of_series
def datadog_pauses(pages: list[Page]) -> None:
    """2.5: it reads the ring from the previous NumGC to the current one; each of these items is a pause."""
    for before, after in pairwise(pages):
        last, now = before.memstats["NumGC"], after.memstats["NumGC"]
        assert all(after.memstats["PauseNs"][place % 256] > 0 for place in range(max(last, now - 256), now))


@of_series
def elasticsearch_types(pages: list[Page]) -> None:
    """2.2: the first value fixes the type of a field, so a figure does not change between integer, float and text."""

    def types(page: Page) -> dict[tuple[str, ...], type]:
        return {path: type(value) for path, value in leaves(page.data) if value is not None}

    first = types(pages[0])
    for page in pages[1:]:
        found = types(page)
        assert all(found[path] is first[path] for path in found.keys() & first.keys())


# The pages


def polled(port: int, enough: Callable[[list[Page]], bool]) -> list[Page]:
    """So many pages as a reader polls, and more, as a busy machine may let all of these wait for their CPU."""
    pages: list[Page] = []
    end = time.monotonic() + 60
    while len(pages) < POLLS or not (min(page.seconds for page in pages) < 0.3 and enough(pages)):
        assert time.monotonic() < end or len(pages) < POLLS
        pages.append(fetch(port, User_Agent="reader"))
        time.sleep(0.02)
    return pages


def fetch(port: int, path: str = "/debug/vars", method: str = "GET", **headers: str) -> Page:
    """The page for a reader that sends only Host and these headers."""
    start = time.perf_counter()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.putrequest(method, path, skip_accept_encoding=True, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read()
    seconds = time.perf_counter() - start
    return Page(answer.status, {name.lower(): value for name, value in answer.getheaders()}, body, seconds)


def publish_plain(registry: Registry) -> dict[str, Any]:
    """Publishes variables of each kind. Returns them by name."""
    registry.publish("version", String("1.4"))
    registry.publish("queue_depth", lambda: 3)
    registry.publish("shop.flags", lambda: {"dark_mode": True, "ratio": 0.5})
    registry.publish("database", Registry()).publish("queries", Int(2))
    return {
        "orders": registry.publish("orders", Int()),
        "by_state": registry.publish("by_state", Map()),
        "revenue": registry.publish("revenue", Float()),
        "open": registry.publish("open", Int(gauge=True)),
        "seconds": registry.publish("seconds", Histogram()),
    }


KINDS = ("plain", "hostile values", "hostile names")


@pytest.fixture(params=KINDS)
def port(request: pytest.FixtureRequest, registry: Registry) -> Iterator[int]:
    """A side port whose page has the built-ins, variables of one kind, and some counts."""
    install(registry)
    end = threading.Event()
    counters = publish_plain(registry)
    if request.param == "hostile values":
        hostile.publish_values(registry, end.wait)
    elif request.param == "hostile names":
        hostile.publish_names(registry)
    counters["by_state"].add("paid", 0)
    with pyvars.serve(0, registry=registry) as side_port:
        stop = threading.Event()

        def work() -> None:
            while not stop.wait(0.001):
                counters["orders"].add()
                counters["by_state"].add("paid")
                counters["revenue"].add(0.25)
                counters["seconds"].observe(counters["orders"].value)
                counters["open"].set(counters["orders"].value % 3)
                _ = [[str(place)] for place in range(1000)]  # causes collections

        worker = threading.Thread(target=work)
        worker.start()
        try:
            yield side_port.port
        finally:
            stop.set()
            worker.join()
            end.set()


def counted(page: Page) -> tuple[int, int, Decimal, int, Decimal]:
    data = page.data
    seconds = data["seconds"]
    return data["orders"], data["by_state"]["paid"], data["revenue"], seconds["count"], seconds["sum"]


def test_a_page_keeps_every_rule(port: int, request: pytest.FixtureRequest) -> None:
    pages = polled(port, lambda pages: True)
    names = "hostile names" not in request.node.callspec.id
    for rule in (*EVERY, *(OF_THE_PROGRAM if names else ())):
        for page in pages:
            rule(page)
    for rule_of_series in SERIES:
        rule_of_series(pages)
    for before, after in pairwise(pages):
        assert all(now >= then for then, now in zip(counted(before), counted(after), strict=True))
    assert counted(pages[-1]) > counted(pages[0])


CLIENTS = {
    "Go": {"User_Agent": "Go-http-client/1.1", "Accept_Encoding": "gzip"},
    "Datadog": {"Accept": "*/*", "Accept_Encoding": "gzip, deflate", "Connection": "keep-alive"},
    "Netdata, Nagios": {"Accept_Encoding": "identity"},
    "collectd": {"Accept": "*/*", "User_Agent": "collectd/5.12.0"},
    "inspeqtor": {"Host": "localhost", "Accept_Encoding": "gzip"},
    "closes": {"Connection": "close"},
}


@pytest.mark.parametrize("client", CLIENTS)
def test_each_reader_gets_the_page_by_its_own_request(client: str, registry: Registry) -> None:
    """2: JSON for any Accept; compressed only if requested; no redirect."""
    install(registry)
    hostile.publish_names(registry)
    headers = CLIENTS[client]
    with pyvars.serve(0, registry=registry) as side_port:
        for path in ("/debug/vars", "/debug/vars/", "/debug/vars?unknown=1"):
            page = fetch(side_port.port, path, **headers)
            assert page.headers["content-type"] == "application/json; charset=utf-8"
            assert int(page.headers["content-length"]) == len(page.body)
            compressed = page.headers.get("content-encoding")
            assert compressed == ("gzip" if "gzip" in headers.get("Accept_Encoding", "") else None)
            if compressed:
                body = gzip.decompress(page.body)
                page = Page(page.status, {"content-length": str(len(body))}, body, page.seconds)
            for rule in EVERY:
                rule(page)
        head = fetch(side_port.port, method="HEAD", **headers)
        assert (head.status, head.body) == (200, b"")


def test_each_reader_that_can_send_a_credential_can_send_basic(registry: Registry) -> None:
    """2: with the token as the password and any user name; the others have an option for Bearer, or can set headers."""
    install(registry)
    with pyvars.serve(0, registry=registry, access=token("correct-horse-battery")) as side_port:
        assert fetch(side_port.port).status == 401
        basic = b64encode(b"reader:correct-horse-battery").decode()
        for credential in (f"Basic {basic}", "Bearer correct-horse-battery"):
            page = fetch(side_port.port, Authorization=credential)
            for rule in EVERY:
                rule(page)


LIMITS: dict[str, tuple[Callable[[Registry], object], Rule, bool]] = {
    "a name that is not ASCII": (lambda r: r.publish("caf\xe9", Int()), prometheus_expvar_exporter, True),
    "a name within another": (
        lambda r: (r.publish("http", Int()), r.publish("http.requests", Int())),
        elasticsearch_keys,
        True,
    ),
    "an empty key": (lambda r: r.publish("states", lambda: {"": 1}), elasticsearch_keys, False),
    "a name of dots and blanks": (lambda r: r.publish("a..b", Int()), elasticsearch_keys, True),
    "a key with a dot at its end": (lambda r: r.publish("states", Map()).add("paid."), elasticsearch_keys, False),
    "a name of many parts": (lambda r: r.publish(".".join("a" * 19), Int()), elasticsearch_levels, True),
    "a name of Telegraf's": (lambda r: r.publish("system", Int()), telegraf_names, True),
    "a slash in a name": (lambda r: r.publish("in/out", Int()), datadog_paths, False),
    "memstats within a name": (lambda r: r.publish("has_memstats", Int()), signalfx_names, True),
    "a value of many levels": (lambda r: r.publish("deep", lambda: hostile.deep(240)), collectd_levels, False),
    "a list of a level too much": (lambda r: r.publish("deep", lambda: hostile.deep(127)), collectd_levels, False),
    "a function beyond 63 bits": (
        lambda r: r.publish("id", lambda: 2**64 - 1),
        elasticsearch_numbers,
        False,
    ),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_the_known_limits(limit: str, registry: Registry) -> None:
    """Names and values that a program may publish, but one reader cannot read; pyvars warns of the worst."""
    publish, rule, warns = LIMITS[limit]
    install(registry)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        publish(registry)
    assert [issubclass(each.category, PyvarsWarning) for each in caught] == [True] * warns
    with pyvars.serve(0, registry=registry) as side_port:
        page = fetch(side_port.port)
        until = time.monotonic() + 20
        while "pyvars.errors" in page.data and time.monotonic() < until:  # the machine was too busy for a function
            page = fetch(side_port.port)
    with pytest.raises(AssertionError):
        rule(page)
    for other in EVERY:
        other(page)


DAMAGE: dict[str, tuple[bytes, bytes, Rule]] = {
    "NaN": (b'"NumGC":', b'"x":NaN,"NumGC":', every_decoder),
    "text after it": (b"}\n", b"}\n\n# end", every_decoder),
    "a key twice": (b'"Sys":', b'"NumGC":1,"Sys":', every_decoder),
    "1e400": (b'"Lookups":0', b'"Lookups":1e400', every_float),
    "1.0": (b'"Lookups":0', b'"Lookups":0.0', metricbeat_heap),
    "a string": (b'"Lookups":0', b'"Lookups":"0"', metricbeat_heap),
    "a negative": (b'"Lookups":0', b'"Lookups":-1', metricbeat_heap),
    "a bool as number": (b'"DebugGC":false', b'"DebugGC":0', metricbeat_heap),
    "32 bits": (b'"NumForcedGC":', b'"NumForcedGC":4294967296', metricbeat_heap),
    "63 bits": (b'"NextGC":0', b'"NextGC":18446744073709551615', elasticsearch_long),
    "another case": (b'"cmdline":', b'"CmdLine":"x","cmdline":', metricbeat_cmdline),
    "cmdline null": (b'"cmdline": [', b'"cmdline": [null,', metricbeat_cmdline),
    "a figure absent": (b'"MSpanInuse":0,', b"", netdata),
    "a ring of 257": (b'"PauseNs":[', b'"PauseNs":[0,', elastic_agent_ring),
    "a ring of zeros": (b'"PauseNs":[', b'"PauseNs":[' + b"0," * 255 + b'0],"x":[', datadog),
    "null": (b'"Lookups":0', b'"Lookups":null', signalfx_nulls),
    "markup": (b'"cmdline": ["', b'"cmdline": ["<', scripts_in_pages),
}


@pytest.fixture(scope="module")
def sound() -> Page:
    """A page of the built-ins after a collection."""
    registry = Registry()
    install(registry)
    with pyvars.serve(0, registry=registry) as side_port:
        gc.collect()
        return fetch(side_port.port)


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_rules_see_damage(damage: str, sound: Page) -> None:
    """Each rule fails on a page that breaks it."""
    old, new, rule = DAMAGE[damage]
    rule(sound)
    assert old in sound.body
    with pytest.raises((AssertionError, KeyError, ValueError)):
        rule(sound._replace(body=sound.body.replace(old, new)))


@pytest.mark.parametrize("name", ["gunicorn sync", "gunicorn gthread", "uvicorn"])
def test_four_workers_behind_one_port_keep_every_rule(name: str) -> None:
    """Each poll may reach another worker; to the reader they look like one program."""
    assert "4" in SERVERS[name]
    with server(name) as port:
        wait_for_members(port, 4, imports=4)
        stop = threading.Event()

        def load() -> int:
            requests = 0
            while not stop.is_set():
                requests += get(port, "/count") is not None
            return requests

        with ThreadPoolExecutor(2) as pool:
            work = [pool.submit(load) for _ in range(2)]
            try:
                # Each poll may meet any of the workers.
                pages = polled(port, lambda pages: len({page.data["process"]["pid"] for page in pages}) > 1)
            finally:
                stop.set()
            requests = sum(future.result() for future in work)
        pages.append(fetch(port, User_Agent="reader"))
    for rule in (*EVERY, *OF_THE_PROGRAM):
        for page in pages:
            rule(page)
    for rule_of_series in SERIES:
        rule_of_series(pages)
    orders = [page.data["orders"] for page in pages]
    assert orders == sorted(orders)
    assert orders[0] < orders[-1] == requests
    states = [page.data["by_state"].get("paid", 0) for page in pages]
    assert states == sorted(states)


def test_each_rule_names_its_reader() -> None:
    for rule in (*EVERY, *OF_THE_PROGRAM, *SERIES):
        assert re.match(r"(1|2\.\d+)(, 2\.\d+| to 2\.\d+)*", rule.__doc__ or ""), rule.__name__
    sections = set(re.findall(r"2\.(\d+)", " ".join(rule.__doc__ or "" for rule in (*EVERY, *OF_THE_PROGRAM, *SERIES))))
    assert sections == {str(number) for number in range(1, 15)}
