"""The states of workers on /debug/workers, on the page, on /metrics and in `pyvars workers`."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.programs import ROOT, output
from tests.services import fetch, free_port, service

# Workers, each with a side port. Each prints its pid and URL, and then runs its line of code.
WORKERS = """
import asyncio, json, os, signal, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: fork in a process with threads
import pyvars

def hold_the_gil():
    sys.setswitchinterval(1000)
    until = time.monotonic() + 60
    while time.monotonic() < until: pass

async def looping(what):
    await asyncio.sleep(0)
    told(what)
    if what == "block": time.sleep(60)
    await asyncio.sleep(60)

def told(what):
    os.write(1, (json.dumps([what, os.getpid(), server.url]) + "\\n").encode())

for what in sys.argv[1:]:
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, lambda *about: sys.exit())
        server = pyvars.serve(0)
        if what in ("block", "loop"): asyncio.run(looping(what))
        if what == "hold": signal.signal(signal.SIGUSR1, lambda *about: hold_the_gil())
        told(what)
        time.sleep(60)
signal.pause()
"""


class Worker:
    def __init__(self, pid: int, url: str) -> None:
        self.pid = pid
        self.url = url

    def read(self, path: str = "/debug/vars") -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=20) as answer:
            body: bytes = answer.read()
            return body

    def page(self) -> Any:
        return json.loads(self.read())

    def rows(self) -> dict[int, Any]:
        return {row["pid"]: row for row in json.loads(self.read("/debug/workers"))["workers"]}


@contextmanager
def workers(*what: str) -> Iterator[dict[str, Worker]]:
    with subprocess.Popen(
        [sys.executable, "-c", WORKERS, *what], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        found = {}
        try:
            while len(found) < len(what):
                name, pid, url = json.loads(process.stdout.readline())
                found[name] = Worker(pid, url)
            yield found
        finally:
            for name, worker in found.items():
                os.kill(worker.pid, signal.SIGKILL if name in ("stop", "hold") else signal.SIGTERM)
            process.terminate()


def until(read: Callable[[], Any], condition: Callable[[Any], object]) -> Any:
    end = time.monotonic() + 60
    while not condition(found := read()):
        assert time.monotonic() < end, found
        time.sleep(0.1)
    return found


LOAD = ("lag_seconds", "in_flight", "oldest_seconds", "HeapAlloc")


def test_each_state() -> None:
    with workers("rest", "loop", "block", "stop", "hold") as found:
        asked = found["rest"]
        until(asked.rows, lambda rows: len(rows) == 5 and all(row["answered"] for row in rows.values()))
        os.kill(found["stop"].pid, signal.SIGSTOP)
        os.kill(found["hold"].pid, signal.SIGUSR1)
        states = {"rest": "ok", "loop": "ok", "block": "blocked", "stop": "stopped", "hold": "silent"}

        def seen(rows: dict[int, Any]) -> bool:
            each = {name: rows[worker.pid] for name, worker in found.items()}
            answered = all(each[name]["answered"] for name in ("rest", "loop", "block"))
            return answered and {name: row["state"] for name, row in each.items()} == states

        late = found["block"].pid
        looping = found["loop"].pid  # its loop is found within a second
        rows = until(
            asked.rows,
            lambda rows: (
                seen(rows) and (rows[late]["lag_seconds"] or 0) > 1 and rows[looping]["lag_seconds"] is not None
            ),
        )
        by_name = {name: rows[worker.pid] for name, worker in found.items()}
        assert by_name["loop"]["lag_seconds"] < by_name["block"]["lag_seconds"]
        assert by_name["rest"]["lag_seconds"] is None  # it has no loop
        for name in ("rest", "loop", "block"):
            assert by_name[name]["answered"]
            assert by_name[name]["in_flight"] == 0
            assert by_name[name]["oldest_seconds"] is None
            assert by_name[name]["HeapAlloc"] > 1_000_000
        for name in ("stop", "hold"):
            assert not by_name[name]["answered"]
            assert [by_name[name][key] for key in LOAD] == [None] * 4  # only the worker itself knows these
        for row in rows.values():
            assert row["rss_bytes"] > 1_000_000
            assert row["cpu_seconds"] > 0
            assert row["threads"] >= 2

        def counts(page: Any) -> list[int | None]:
            told = page.get("pyvars.workers", {})  # missing if the worker was late
            return [told.get(key) for key in ("live", "blocked", "stopped", "silent")]

        for worker in (asked, found["block"]):  # a blocked worker reports that itself
            until(worker.page, lambda page: counts(page) == [5, 1, 1, 1])
            until(worker.rows, lambda rows: rows[found["block"].pid]["state"] == "blocked")
        keys = ["live", "retired", "blocked", "stopped", "silent", "shared", "reason", "threads"]
        assert list(asked.page()["pyvars.workers"]) == keys
        text = until(lambda: asked.read("/metrics").decode(), lambda text: "pyvars_workers_silent 1\n" in text)
        assert "\npyvars_workers_blocked 1\n" in text
        assert "\npyvars_workers_stopped 1\n" in text
        until(
            lambda: json.loads(asked.read("/debug/vars?worker=all&name=pyvars.workers")),
            lambda pages: [counts(pages[str(found[name].pid)]) for name in ("rest", "block")] == [[5, 1, 1, 1]] * 2,
        )

        def table() -> list[list[str]]:
            command = [sys.executable, "-m", "pyvars", "workers", asked.url]
            printed = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
            return [line.split() for line in printed.splitlines()]

        stuck_first = [["blocked", "silent", "stopped"], ["ok", "ok"]]
        lines = until(
            table,
            lambda lines: [sorted(line[1] for line in part) for part in (lines[1:4], lines[4:6])] == stuck_first,
        )
        assert lines[0][:3] == ["pid", "state", "answered"]

        os.kill(found["stop"].pid, signal.SIGCONT)
        until(asked.page, lambda page: counts(page) == [5, 1, 0, 1])


BLOCKING = """
import time
from pathlib import Path
from pyvars.asgi import VarsMiddleware
from tests.workers.app import _asgi
ENDED = Path(__file__).with_name("ended")
async def app(scope, receive, send):
    if scope.get("path") == "/block":
        while not ENDED.exists():
            time.sleep(0.05)
    await _asgi(scope, receive, send)
app = VarsMiddleware(app)
"""

SERVERS = {
    "uvicorn": ("uvicorn", "--workers", "3", "--port", "{port}", "--log-level", "critical", "blocking:app"),
    "gunicorn": (
        *("gunicorn", "-k", "uvicorn_worker.UvicornWorker", "-w", "3", "-b", "127.0.0.1:{port}"),
        *("--log-level", "critical", "--graceful-timeout", "1", "blocking:app"),
    ),
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_worker_of_a_server_with_a_blocked_loop(server: str, tmp_path: Path) -> None:
    """A coroutine blocks the loop; the other workers report that, and count its request in flight."""
    (tmp_path / "blocking.py").write_text(BLOCKING)
    port = free_port()
    command = [part.format(port=port) for part in SERVERS[server]]
    path = os.pathsep.join((str(tmp_path), str(ROOT)))

    def asked() -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/debug/workers", timeout=2) as answer:
            return json.loads(answer.read())

    def patient() -> Any:
        try:
            return asked()
        except OSError:  # the kernel gave the connection to the worker that is blocked
            return {"workers": [], "blocked": 0}

    with service(*command, ready=port, PYTHONPATH=path):
        until(patient, lambda found: len(found["workers"]) >= 3)
        with subprocess.Popen(
            [sys.executable, "-c", f"import urllib.request as r; r.urlopen('http://127.0.0.1:{port}/block')"],
            stderr=subprocess.DEVNULL,
        ) as client:
            try:

                def late(found: Any) -> bool:
                    return any((row["lag_seconds"] or 0) > 1 for row in found["workers"])

                found = until(patient, lambda found: late(found) and found["silent"] == 0)
                assert (found["live"], found["blocked"]) == (3, 1)
                (row,) = (row for row in found["workers"] if row["state"] == "blocked")
                assert row["answered"]
                assert row["in_flight"] == 1
                assert row["oldest_seconds"] > 1
                assert row["HeapAlloc"] > 1_000_000
            finally:
                (tmp_path / "ended").touch()
                client.kill()


def test_a_worker_without_a_loop_is_blocked_by_a_request_that_lasts() -> None:
    """The limit is 30 seconds; here it is shorter."""
    code = """
import http.client, json, threading, time
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from socketserver import ThreadingMixIn
import pyvars
from pyvars import wsgi
from pyvars.access import anyone
from pyvars.runtime import event_loop
event_loop.REQUEST_SECONDS = 1.0
class Server(ThreadingMixIn, WSGIServer): daemon_threads = True
class Quiet(WSGIRequestHandler):
    def log_message(self, *args): pass
stop = threading.Event()
def app(environ, start_response):
    if environ["PATH_INFO"] == "/slow": stop.wait(60)
    start_response("200 OK", [])
    return [b"ok"]
server = make_server("127.0.0.1", 0, wsgi.VarsMiddleware(app, access=anyone()), Server, Quiet)
threading.Thread(target=server.serve_forever, daemon=True).start()
def get(path):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request("GET", path)
    return connection.getresponse().read()
slow = threading.Thread(target=get, args=("/slow",))
slow.start()
def when(condition):
    until = time.monotonic() + 30
    while not condition(found := json.loads(get("/debug/workers"))):
        assert time.monotonic() < until, found
        time.sleep(0.1)
    return found
found = when(lambda found: found["workers"][0]["oldest_seconds"] is not None)
found = when(lambda found: found["blocked"])
(row,) = found["workers"]
print(row["state"], row["lag_seconds"], row["in_flight"], row["oldest_seconds"] > 1)
stop.set()
slow.join()
found = when(lambda found: not found["blocked"])
(row,) = found["workers"]
print(row["state"], row["in_flight"], row["oldest_seconds"])
"""
    assert output(code) == "blocked None 1 True\nok 0 None\n"


@pytest.mark.parametrize(
    "answer", [b"[3]", b"{}", b'{"lag_seconds": "x", "in_flight": [1], "HeapAlloc": null}', b"nonsense"]
)
def test_an_answer_may_hold_anything(answer: bytes, tmp_path: Path) -> None:
    from tests.workers.test_segments import measured
    from tests.workers.test_sockets import HEAD, TOLD, answering, peer

    tmp_path.chmod(0o700)

    def talk(connection: Any) -> None:
        connection.recv(1000)
        connection.sendall(HEAD.pack(len(answer), time.monotonic()) + answer)
        connection.close()

    with measured(TOLD, PYVARS_SHARE=tmp_path) as told, peer(tmp_path) as listener, answering(listener, talk):
        rows = until(lambda: told.page()["workers"], lambda rows: all(row["answered"] for row in rows))
        loads = [[row[key] for key in LOAD] for row in rows]
        assert [None] * 4 in loads
        assert {row["state"] for row in rows} == {"ok"}


def test_a_worker_that_runs_no_threads_is_not_silent() -> None:
    """As under gevent: it answers no peer, and the peers know that."""
    pytest.importorskip("gevent")
    port = free_port()
    command = ("gunicorn", "-k", "gevent", "-w", "2", "-b", f"127.0.0.1:{port}", "--log-level", "critical")
    with service(*command, "tests.workers.app:wsgi", ready=port):
        found = until(lambda: json.loads(fetch(port, "/debug/workers").body), lambda found: found["live"] == 2)
        assert [row["state"] for row in found["workers"]] == ["ok", "ok"]
        assert sorted(row["answered"] for row in found["workers"]) == [False, True]
        assert (found["silent"], found["threads"]) == (0, False)
