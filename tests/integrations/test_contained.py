"""Services that run out of files, threads and memory: pyvars answers every request, with all its headers."""

import http.client
import json
import socket
import zlib
from contextlib import closing
from typing import Any

import pytest

import pyvars
from pyvars import Registry
from pyvars.runtime import reading
from tests.conftest import log_text, until
from tests.programs import output, run
from tests.runtime.test_contained import HEADERS

LOWER = {name.lower(): value for name, value in HEADERS.items()}

AT_THE_LIMIT = """
import http.client, json, os, resource, sys, threading, time
import pyvars
from pyvars.health import check
from pyvars.runtime import reading

pyvars.publish("orders", pyvars.Int()).add(62)
pyvars.publish("function", lambda: 7)

@check("passes")
def passes(): pass

with pyvars.serve(0) as server, open("/dev/null") as null:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=30)

    def get(path):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()

    get("/debug/")
    modules = set(sys.modules)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, limits[1]))
    files = []
    try:
        while True:
            files.append(os.dup(null.fileno()))
    except OSError:
        pass
    reading.expire()

    def whole(path):
        # On a busy machine the function may be late.
        until = time.monotonic() + 30
        while '"function": null' in (found := get(path))[2] or '"type":"stale"' in found[2]:
            assert time.monotonic() < until, found
        return found

    answers = {path: whole(path) for path in sys.argv[1:]}
    for file in files:
        os.close(file)
    reading.expire()
    print(json.dumps([answers, whole("/debug/vars")]))
"""

VIEWS = {
    "/debug/vars": 200,
    "/debug/vars/": 200,
    "/debug/vars?name=process&name=orders": 200,
    "/debug/vars/memstats": 200,
    "/debug/vars/pyvars.errors": 200,
    "/debug/vars/function": 200,
    "/debug/vars/unknown": 404,
    "/debug/vars?" + "x" * 5000: 400,
    "/debug/workers": 200,
    "/debug/": 200,
    "/api/stats": 503,
    "/metrics": 503,
    "/status/health": 200,
    "/status/hardware/disk": 503,
    "/status/hardware/ram": 200,  # the use is missing
    "/status/hardware/cpu": 200,
    "/nothing": 404,
}


def test_no_file_can_be_opened() -> None:
    answers, after = json.loads(run(AT_THE_LIMIT, *VIEWS).stdout)
    assert {path: status for path, (status, _, _) in answers.items()} == VIEWS
    for path, (_, headers, _) in answers.items():
        assert headers.items() >= LOWER.items(), path
    shown = json.loads(answers["/debug/vars"][2])
    errors = dict.fromkeys(("memstats", "process.rss_bytes", "threads.native"), "OSError")
    assert {name for name, value in shown.items() if value is None} == {"memstats"}
    said = {**errors, "pyvars.workers": "incomplete"}  # the segments of peers cannot be opened either
    assert {name: entry["type"] for name, entry in shown["pyvars.errors"].items()} == said
    assert (shown["orders"], shown["function"]) == (62, 7)
    workers = json.loads(answers["/debug/workers"][2])["workers"]
    assert [row["start_time_seconds"] for row in workers] == [None]
    whole = json.loads(after[2])
    assert "pyvars.errors" not in whole
    assert whole["process"]["open_fds"] > 0


def test_nothing_is_imported_by_a_request() -> None:
    """Except prometheus_client and psutil, which are imported when they are first needed."""
    code = """
import http.client, sys, pyvars
pyvars.publish("function", lambda: 7)
with pyvars.serve(0) as server:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
    def get(path):
        connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
        connection.getresponse().read()
    get("/debug/")  # http.client imports, too
    before = set(sys.modules)
    for path in ("/debug/vars", "/debug/workers", "/debug/vars?worker=all", "/api/stats", "/status/health", "/nothing"):
        get(path)
    print(sorted(set(sys.modules) - before))
"""
    assert output(code) == "[]\n"


def test_a_mounted_application_has_imported_all_it_needs() -> None:
    code = """
import asyncio, sys, pyvars
from pyvars.asgi import DebugApp, VarsMiddleware
async def get(app, path):
    sent = []
    async def send(message): sent.append(message)
    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"",
             "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1), "http_version": "1.1"}
    await app(scope, None, send)
    return sent[0]["status"]
apps = [(DebugApp(), "/vars"), (VarsMiddleware(None), "/debug/vars")]
pyvars.publish("function", lambda: 7)
before = set(sys.modules)
print([asyncio.run(get(app, path)) for app, path in apps], sorted(set(sys.modules) - before))
"""
    assert output(code) == "[200, 200] []\n"


@pytest.mark.parametrize("error", ['RuntimeError("can\'t start new thread")', "MemoryError()"])
def test_no_thread_can_be_started(error: str) -> None:
    """The page is rendered without a thread; only functions need one."""
    code = f"""
import json, logging, threading, urllib.request, pyvars
logging.disable()
pyvars.publish("orders", pyvars.Int(62))
pyvars.publish("function", lambda: 7)
def refuse(thread):
    raise {error}
with pyvars.serve(0) as server:
    def get(path):
        with urllib.request.urlopen(server.url + path) as answer:
            assert answer.headers["Cache-Control"] == "no-store"
            return answer.read()
    get("/debug")
    start, threading.Thread.start = threading.Thread.start, refuse
    shown = json.loads(get("/debug/vars"))
    get("/debug/workers"), get("/metrics")
    threading.Thread.start = start
    print(shown["orders"], shown["function"], shown["pyvars.errors"]["function"]["type"])
    while (value := json.loads(get("/debug/vars"))["function"]) is None: pass  # a busy machine may be late
    print(value)
"""
    assert output(code) == "62 None skipped\n7\n"


@pytest.mark.parametrize(
    "request_line",
    [
        b"nonsense\r\n\r\n",
        b"GET /debug/vars HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET /debug/vars HTTP/1.1\r\nHost: a\r\nContent-Length: many\r\n\r\n",
    ],
)
def test_what_is_no_request(registry: Registry, request_line: bytes) -> None:
    with pyvars.serve(0, registry=registry) as server:
        assert_bad_request(server, request_line)


def test_what_is_no_request_after_one_that_is(registry: Registry) -> None:
    """Also during a body whose response was already sent: then there is no second response."""
    with pyvars.serve(0, registry=registry) as server:
        first = b"GET /debug/vars HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with socket.create_connection((server.host, server.port), timeout=30) as connection:
            connection.sendall(first)
            assert b" 200 OK\r\n" in _until(connection, b"}\n")
            connection.sendall(b"nonsense\r\n\r\n")
            assert _until(connection).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        with socket.create_connection((server.host, server.port), timeout=30) as connection:
            connection.sendall(first.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"))
            assert b" 200 OK\r\n" in _until(connection, b"}\n")
            connection.sendall(b"no size of a chunk\r\n")
            assert _until(connection) == b""


@pytest.mark.parametrize(("size", "expected"), [(5000, 500), (50_000, 200)])
def test_no_memory_to_compress(
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    size: int,
    expected: int,
) -> None:
    """A small page is a 500 with all headers; a large one is sent uncompressed."""
    registry.publish("text", lambda: "x" * size)

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise MemoryError

    with pyvars.serve(0, registry=registry) as server, closing(_connection(server)) as connection:
        until(lambda: b"x" * size in _get(connection, "/debug/vars")[2], bool)  # from now on it has a value
        monkeypatch.setattr(zlib, "compress", refuse)
        status, headers, body = _get(connection, "/debug/vars", {"Accept-Encoding": "gzip"})
        monkeypatch.undo()
        assert status == expected
        assert body == b"internal server error\n" or b"x" * size in body
        assert headers.items() >= LOWER.items()
        assert "date" in headers
        assert _get(connection, "/debug/vars", {"Accept-Encoding": "gzip"})[0] == 200
    assert ("MemoryError" in log_text(caplog)) is (expected == 500)


def test_a_time_that_is_not_told() -> None:
    """Only the header Date is missing."""
    code = """
import http.client, json, time, pyvars
registry = pyvars.Registry()
registry.publish("orders", pyvars.Int(62))
def refuse():
    raise ValueError
with pyvars.serve(0, registry=registry) as server:
    connection = http.client.HTTPConnection(server.host, server.port)
    def get():
        connection.request("GET", "/debug/vars")
        answer = connection.getresponse()
        headers = answer.getheader("Date"), answer.getheader("Cache-Control")
        return answer.status, json.loads(answer.read()), *headers
    get()
    clock, time.time = time.time, refuse
    told = get()
    time.time = clock
    connection.close()
    print(told)
"""
    assert output(code) == "(200, {'orders': 62}, None, 'no-store')\n"


def test_hardware_that_is_not_told_when_the_side_port_begins(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    def refuse() -> int:
        raise OSError

    monkeypatch.setattr(os, "cpu_count", refuse)
    with pyvars.serve(0, registry=registry) as server, closing(_connection(server)) as connection:
        assert _get(connection, "/status/hardware/cpu")[::2] == (503, b"the figures cannot be read: OSError\n")
        monkeypatch.undo()
        reading.expire()
        assert _get(connection, "/status/hardware/cpu")[0] == 200


def _connection(server: Any) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(server.host, server.port, timeout=30)


def _get(
    connection: http.client.HTTPConnection, path: str, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection.request("GET", path, headers=headers or {})
    answer = connection.getresponse()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def _until(connection: socket.socket, end: bytes = b"\0") -> bytes:
    """The bytes received until `end`, or until the server closes the connection."""
    received = b""
    while not received.endswith(end):
        part = connection.recv(65536)
        if not part:
            break
        received += part
    return received


def assert_bad_request(server: Any, request_line: bytes) -> None:
    with socket.create_connection((server.host, server.port), timeout=30) as connection:
        connection.sendall(request_line)
        head, _, body = _until(connection).partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "http/1.1 400 bad request"
    for name, value in LOWER.items():
        assert f"{name}: {value}".lower() in lines
    assert any(line.startswith("date: ") for line in lines)
    assert body == b"no valid HTTP request\n"
