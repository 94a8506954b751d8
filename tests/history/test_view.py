"""`/debug/history` of each integration: access, parameters, compression, and reasons why there is no history."""

import asyncio
import gzip
import json
import time
from typing import Any

import pytest

from pyvars import Int, Registry, asgi, wsgi
from pyvars.access import anyone, token
from pyvars.site.default import debug, side_port
from pyvars.site.gate import Site
from pyvars.site.http import Response
from tests.conftest import local_request
from tests.programs import output

TOKEN = "a-token-of-16-characters"


@pytest.fixture
def site() -> Site:
    """A site whose history has one point."""
    registry = Registry()
    for number in range(60):
        registry.publish(f"count_{number}", Int(number))
    site = debug(registry, None, prefix="/debug")
    site._kept = registry  # type: ignore[attr-defined]
    until(site)
    return site


def asked(site: Site, query: str = "", **more: Any) -> Response:
    return site.respond(local_request("/debug/history")._replace(query=query, **more))


def shown(site: Site, query: str = "") -> Any:
    reply = asked(site, query)
    assert reply.status == 200, reply.body
    return json.loads(reply.body)


def until(site: Site, points: int = 1) -> Any:
    end = time.monotonic() + 30
    while len((found := shown(site))["t"]) < points or not found["series"]:
        assert time.monotonic() < end, found
        time.sleep(0.05)
    return found


def test_all_series_and_those_of_a_name(site: Site) -> None:
    found = shown(site)
    assert found.keys() == {"v", "id", "seq", "step", "t", "series", "meta", "marks"}
    assert [*found["series"]] == sorted(f"count_{number}" for number in range(60))
    assert [*shown(site, "name=count_7&name=count_59")["series"]] == ["count_59", "count_7"]
    assert shown(site, "name=none")["series"] == {}
    assert shown(site, "step=10")["step"] == 10
    assert shown(site, "points=720&what=ever")["seq"] >= 1


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("since=x", "since= is the seq of an earlier answer, or 0"),
        ("since=-1", "since= is the seq of an earlier answer, or 0"),
        ("since=" + "9" * 30, "since= is the seq of an earlier answer, or 0"),
        ("since=", "since= is the seq of an earlier answer, or 0"),
        ("step=2", "step= is 1, for a sample each second, or 10, for a span each 10 s"),
        ("points=0", "points= is a number from 1 to 720, over 150 only with name="),
        ("points=721&name=a", "points= is a number from 1 to 720, over 150 only with name="),
        ("name=a&" * 65, "the query has over 64 names"),
    ],
)
@pytest.mark.parametrize("history", [True, False])
def test_parameters_that_are_wrong(query: str, sentence: str, history: bool) -> None:
    reply = asked(debug(Registry(), None, prefix="/debug", history=history), query)
    assert (reply.status, reply.body.decode()) == (400, f"{sentence}\n")


def test_methods(site: Site) -> None:
    assert asked(site, method="HEAD").body == b""
    assert dict(asked(site, method="HEAD").headers)["Content-Type"] == "application/json; charset=utf-8"
    assert asked(site, method="OPTIONS").status == 204
    assert asked(site, method="POST").status == 405
    assert b"\nhistory" in b"\n" + site.respond(local_request("/debug")).body


def test_the_gate_comes_first() -> None:
    registry = Registry()
    assert asked(debug(registry, token(TOKEN), prefix="/debug"), "since=x").status == 401
    assert asked(debug(registry, None, prefix="/debug"), "since=x", peer="192.0.2.1").status == 404


def test_compressed_if_asked_and_long(site: Site) -> None:
    gzipped = (("host", "localhost"), ("accept-encoding", "br, gzip"))
    reply = asked(site, headers=gzipped)
    headers = dict(reply.headers)
    assert (headers["Content-Encoding"], headers["Content-Length"]) == ("gzip", str(len(reply.body)))
    assert len(json.loads(gzip.decompress(reply.body))["series"]) == 60
    assert "Content-Encoding" not in dict(asked(site, "name=count_1&since=1", headers=gzipped).headers)
    assert "Content-Encoding" not in dict(
        asked(site, headers=(("host", "localhost"), ("accept-encoding", "gzip;q=0"))).headers
    )


def test_the_side_port_compresses_once() -> None:
    code = """
import gzip, json, time, urllib.request, pyvars
for number in range(60): pyvars.publish(f"count_{number}", pyvars.Int(number))
with pyvars.serve(0) as server:
    found = {"series": {}}
    while not found["series"]:
        request = urllib.request.Request(f"{server.url}/debug/history", headers={"Accept-Encoding": "gzip"})
        answer = urllib.request.urlopen(request)
        body = answer.read()
        if answer.headers["Content-Encoding"]: body = gzip.decompress(body)
        found = json.loads(body)
        time.sleep(0.05)
    print(answer.headers["Content-Encoding"], len(found["series"]) > 60, found["series"]["count_5"][-1])
"""
    assert output(code) == "gzip True 5\n"


@pytest.mark.parametrize("make", [lambda history: debug(None, None, prefix="/debug", history=history)])
def test_history_that_is_switched_off(make: Any) -> None:
    found = shown(make(False))
    assert found["reason"] == "the integration was made with history=False"
    assert (found["t"], found["series"], found["seq"], found["marks"]) == ([], {}, 0, [])


@pytest.mark.parametrize(
    "make",
    [
        lambda: debug(None, None, prefix="", history="no"),  # type: ignore[arg-type]
        lambda: side_port(None, None, history=1),  # type: ignore[arg-type]
        lambda: wsgi.DebugApp(history=None),  # type: ignore[arg-type]
        lambda: asgi.VarsMiddleware(None, history=0),  # type: ignore[arg-type]
    ],
)
def test_history_is_a_bool(make: Any) -> None:
    with pytest.raises(TypeError, match="history is True or False, got"):
        make()


BEGINS = """
import asyncio, json, sys, threading, pyvars
from pyvars import asgi, wsgi
from pyvars.access import anyone
def names():
    return sum(thread.name == "pyvars-history" for thread in threading.enumerate())
async def app(scope, receive, send): pass
def wsgi_app(environ, start_response): return []
environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/orders", "SERVER_PROTOCOL": "HTTP/1.1"}
scope = {"type": "http", "method": "GET", "path": "/orders", "headers": [], "query_string": b""}
made = {
    "asgi": lambda: asgi.VarsMiddleware(app),
    "wsgi": lambda: wsgi.VarsMiddleware(wsgi_app),
    "asgi off": lambda: asgi.VarsMiddleware(app, history=False),
    "wsgi off": lambda: wsgi.VarsMiddleware(wsgi_app, history=False),
    "counts": lambda: asgi.CountRequests(app),
}[sys.argv[1]]()
told = [names()]
for _ in range(3):
    if "wsgi" in sys.argv[1]: made(environ, None)
    else: asyncio.run(made(scope, None, None))
    told.append(names())
print(*told)
"""


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("asgi", "0 1 1 1"),
        ("wsgi", "0 1 1 1"),
        ("asgi off", "0 0 0 0"),
        ("wsgi off", "0 0 0 0"),
        ("counts", "0 0 0 0"),
    ],
)
def test_it_begins_with_the_first_request(kind: str, told: str) -> None:
    assert output(BEGINS, kind) == f"{told}\n"


def test_the_environment_switches_it_off() -> None:
    code = """
import json, threading, urllib.request, pyvars
with pyvars.serve(0) as server:
    found = json.load(urllib.request.urlopen(f"{server.url}/debug/history"))
    print(found["reason"], [thread.name for thread in threading.enumerate() if "history" in thread.name])
"""
    assert output(code, PYVARS_HISTORY="off") == "PYVARS_HISTORY is off []\n"


def test_the_loop_is_not_held_up_by_a_first_answer() -> None:
    """An answer with the whole history is made in a thread; a short answer, with `since`, is made on the loop."""
    from pyvars.site.history import HistoryView

    view = HistoryView(Registry())
    assert view.may_block(local_request("/debug/history"), "")
    assert not view.may_block(local_request("/debug/history")._replace(query="since=5"), "")


def test_mounted_in_asgi() -> None:
    app = asgi.DebugApp(Registry(), access=anyone())
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/history", "headers": [], "query_string": b"", "server": None}
    asyncio.run(app(scope, None, send))  # type: ignore[arg-type]
    assert (sent[0]["status"], json.loads(sent[1]["body"])["v"]) == (200, 1)
