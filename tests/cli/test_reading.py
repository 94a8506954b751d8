"""`pyvars get` and `pyvars workers`: what they print, with which units, and their error lines."""

import http.server
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

import pyvars
from pyvars import Float, Histogram, Int, Map, Registry
from pyvars.access import basic, token
from pyvars.cli import main
from tests.conftest import until
from tests.programs import ROOT

TOKEN = "the-right-token-of-two"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command line. Returns its status and its output."""
    monkeypatch.delenv("PYVARS_TOKEN", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        return main(arguments), *capsys.readouterr()

    return run


@contextmanager
def answering(body: bytes, status: int = 200, kind: str = "application/json", reason: str = "No") -> Iterator[str]:
    """A server that is not pyvars, with the same response to all requests."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status, reason)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_what_is_there_is_printed_and_what_is_missing_is_named(registry: Registry, run: Run) -> None:
    registry.publish("orders", Int(3))
    registry.publish("states", Map())
    with pyvars.serve(0, registry=registry) as server:
        assert run("get", server.url, "nothing", "orders", "states.paid", "states") == (
            1,
            "orders  3\nstates  {}\n",
            f"pyvars: {server.url}: no variable 'nothing' on the page\n"
            f"pyvars: {server.url}: no variable 'states.paid' on the page\n",
        )


@pytest.mark.parametrize("at", ["", "/", "/debug/vars", "/debug/vars?name=orders"])
def test_the_page_of_a_url(at: str, registry: Registry, run: Run) -> None:
    registry.publish("orders", Int(3))
    with pyvars.serve(0, registry=registry) as server:
        assert run("get", f"{server.url}{at}") == (0, "orders  3\n", "")
        assert run("get", f"{server.port}{at}") == (0, "orders  3\n", "")


def test_one_variable_alone_has_its_name(registry: Registry, run: Run) -> None:
    registry.publish("wait_seconds", Map()).add("eu", 0.000935)
    registry.publish("poll_seconds", Float(0.25))
    with pyvars.serve(0, registry=registry) as server:
        url = f"{server.url}/debug/vars"
        assert run("get", "--human", f"{url}/wait_seconds") == (0, "wait_seconds.eu  935 µs\n", "")
        assert run("get", "--human", f"{url}/poll_seconds") == (0, "poll_seconds  250 ms\n", "")


def test_the_token_of_the_environment(
    registry: Registry, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    registry.publish("orders", Int(3))
    with pyvars.serve(0, registry=registry, access=token(TOKEN) | basic("ops", "password-of-ops")) as server:
        hint = "give a token with --token-file FILE or PYVARS_TOKEN"
        assert run("get", server.url) == (1, "", f"pyvars: {server.url}: unauthorized; {hint}\n")
        assert run("workers", server.url) == (1, "", f"pyvars: {server.url}: unauthorized; {hint}\n")
        monkeypatch.setenv("PYVARS_TOKEN", f"{TOKEN}\n")
        assert run("get", server.url) == (0, "orders  3\n", "")
        assert run("workers", server.url)[0] == 0
        monkeypatch.setenv("PYVARS_TOKEN", "another-token-of-16")
        sent = "pyvars sent the token in PYVARS_TOKEN"
        assert run("get", server.url) == (1, "", f"pyvars: {server.url}: unauthorized; {sent}\n")
        (tmp_path / "tokens").write_bytes(b"\xef\xbb\xbf" + TOKEN.encode())  # as editors of Windows write it
        assert run("get", "--token-file", str(tmp_path / "tokens"), server.url) == (0, "orders  3\n", "")
        assert run("get", f"ops:password-of-ops@127.0.0.1:{server.port}") == (0, "orders  3\n", "")
        assert run("get", f"ops:wrong@127.0.0.1:{server.port}")[2].endswith("the user and password of the URL\n")


@pytest.mark.parametrize("wrong", ["two words", "umläut-umläut-umläut", "a\x07b"])
def test_what_is_no_token_is_said_but_not_shown(
    wrong: str, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYVARS_TOKEN", wrong)
    status, printed, error = run("get", "127.0.0.1:1")
    assert (status, printed) == (1, "")
    reason = "the token in PYVARS_TOKEN contains a space, or a character that is not printable ASCII"
    assert error == f"pyvars: 127.0.0.1:1: {reason}\n"
    (tmp_path / "tokens").write_text(wrong)
    assert wrong not in run("get", "--token-file", str(tmp_path / "tokens"), "127.0.0.1:1")[2]


def test_a_page_that_is_refused_as_if_it_were_not_there(registry: Registry, run: Run) -> None:
    with pyvars.serve(0, registry=registry, access=lambda request: False) as server:
        error = run("get", server.url)[2]
        assert error.endswith(
            "not found; if the page is there, it needs a token: give it with --token-file FILE or PYVARS_TOKEN\n"
        )
        assert run("get", f"a:b@127.0.0.1:{server.port}")[2].endswith("pyvars sent the user and password of the URL\n")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((b"the database is down\n", 500, "text/plain"), "the database is down"),
        ((b"\x1b[31m\n", 500, "text/plain", "Broken"), "Broken"),
        ((b"<p>", 500, "text/html", "\x1b[31m"), '"\\u001b[31m"'),
        (
            (b"404 page not found", 404, "text/plain"),
            "404 page not found; if the page is there, it needs a token: give it with",
        ),
        ((b"[" * 100_000,), "the response is no page of variables (no JSON object)"),
        ((b'{"a":' * 100_000,), "the response is no page of variables (no JSON object)"),
        ((b"[1]",), "the response is no page of variables (no JSON object)"),
    ],
)
def test_an_answer_that_is_no_page(answer: tuple[Any, ...], error: str, run: Run) -> None:
    with answering(*answer) as url:
        status, printed, found = run("get", url)
    assert (status, printed) == (1, "")
    assert found.startswith(f"pyvars: {url}: {error}")
    assert found.count("\n") == 1


def test_two_workers(run: Run, registry: Registry) -> None:
    """The pages of all workers, and the table, of a program that forks."""
    code = (
        "import os, sys, pyvars\n"
        "server = pyvars.serve(0)\n"
        "orders = pyvars.publish('orders', pyvars.Int())\n"
        "read, write = os.pipe()\n"
        "child = os.fork()\n"
        "orders.add(1 if child else 2)\n"
        "if not child:\n"
        "    os.write(write, b'x')\n"
        "    os.read(0, 1)\n"
        "    os._exit(0)\n"
        "os.read(read, 1)\n"
        "print(server.url, os.getpid(), child, flush=True)\n"
        "sys.stdin.read()\n"
        "os.waitpid(child, 0)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as program:
        assert program.stdout
        assert program.stdin
        url, parent, child = program.stdout.readline().split()
        pids = sorted((parent, child), key=int)
        shown = {parent: "1", child: "2"}
        lines = "".join(f"{pid:{max(map(len, pids))}}  orders  {shown[pid]}\n" for pid in pids)
        missing = f"pyvars: {url}: no variable 'nothing' on the page\n"
        assert run("get", "--worker", "all", url, "orders", "nothing") == (1, lines, missing)
        assert run("get", f"{url}?worker=all", "orders") == (0, lines, "")
        assert run("get", f"{url}/debug/vars?worker=all&name=orders") == (0, lines, "")
        assert run("get", "--worker", child, url, "orders") == (0, "orders  2\n", "")
        assert run("get", url, "orders") == (0, "orders  3\n", "")
        assert run("get", "--worker", "1", url)[2] == (
            f"pyvars: {url}: no live worker has that pid; /debug/workers lists them\n"
        )
        for at in ("", "/debug/workers", "/debug/vars"):
            status, table, error = run("workers", f"{url}{at}")
            assert (status, error) == (0, "")
            titles, *rows, summary = table.splitlines()
            assert titles.split()[0] == "pid"
            assert {row.split()[0] for row in rows} == {parent, child}
            assert summary.startswith("live 2, retired 0")
        program.stdin.close()


def test_a_worker_that_does_not_answer_is_missing(run: Run) -> None:
    page = {"20": {"error": "timeout"}, "3": {"n": 1, "broken": None, "pyvars.errors": {"broken": {"type": "X"}}}}
    with answering(json.dumps(page).encode()) as url:
        status, printed, error = run("get", url, "n", "broken", "--worker", "all")
    assert (status, printed) == (1, "3  broken  null (X)\n3  n       1\n")
    assert error == f"pyvars: {url}: the worker 20 did not answer in time\n"


def test_the_table_of_workers(run: Run) -> None:
    """Any keys of the rows are shown, in the order of ORDER; workers that are not ok come first."""
    page = {
        "live": 2,
        "shared": False,
        "reason": "no room in /dev/shm",
        "threads": True,
        "workers": [
            {"new_key": [1], "threads": 9, "HeapAlloc": 3_145_728, "cpu_seconds": 0.5, "rss_bytes": 4096, "pid": 7}
            | {"state": "ok", "lag_seconds": 0.000935, "in_flight": 12, "start_time_seconds": 1_700_000_000.0},
            {"pid": 12345, "state": "blo\x1bcked", "lag_seconds": None, "in_flight": 1, "answered": True},
            {"pid": 12346, "answered": False},
            "no row",
        ],
    }
    with answering(json.dumps(page).encode()) as url:
        assert run("workers", url)[:2] == (
            0,
            "  pid  state            answered     lag  in flight  HeapAlloc    rss     cpu  threads"
            "                 start time  new key\n"
            '12345  "blo\\u001bcked"  yes            -          1          -      -       -        -'
            "                          -  -\n"
            "    7  ok               -         935 µs         12      3 MiB  4 KiB  500 ms        9"
            "  2023-11-14 22:13:20+00:00  [1]\n"
            "12346  -                no             -          -          -      -       -        -"
            "                          -  -\n"
            "live 2, shared no, threads yes\n"
            "reason: no room in /dev/shm\n",
        )


@pytest.mark.parametrize("page", [{"orders": 3}, {"workers": []}, {"workers": 3}])
def test_a_page_without_workers(page: object, run: Run) -> None:
    with answering(json.dumps(page).encode()) as url:
        assert run("workers", url) == (1, "", f"pyvars: {url}: the response is no list of workers\n")


FIGURES: list[tuple[str, object, str]] = [
    ("wait_seconds", 0.000935, "935 µs"),
    ("wait_seconds", 0.99999, "1 s"),
    ("wait_seconds", 0.0, "0 s"),
    ("wait_seconds", -0.5, "-500 ms"),
    ("wait_seconds", -150, "-2 min 30 s"),
    ("wait_seconds", 3_725, "1 h 2 min"),
    ("wait_seconds", 1_000_000, "11 d 13 h"),
    ("wait_seconds", 10**400, str(10**400)),
    ("wait_seconds_total", 0.25, "250 ms"),
    ("seconds_by_route", 0.25, "250 ms"),
    ("WaitSeconds", 0.25, "250 ms"),
    ("db.wait_seconds", 0.25, "250 ms"),
    ("wait_ms", 1.5, "1.5 ms"),
    ("wait_ns", 999_999, "1 ms"),
    ("PauseTotalNs", 2_500_000, "2.5 ms"),
    ("cache_bytes", 1_048_575, "1 MiB"),
    ("cache_bytes", 1023, "1023 B"),
    ("bytes_out", 2**60, "1 EiB"),
    ("BytesIn", 2048, "2 KiB"),
    ("bytes_per_second", 2048, "2,048"),
    ("orders_by_bytes", 2048, "2,048"),
    ("/bytes", 2048, "2,048"),
    ("orders_total", 2048, "2,048"),
    ("orders_us", 2048, "2,048"),
    ("port", 6060, "6060"),
    ("start_time_seconds", 1_700_000_000.5, "2023-11-14 22:13:20+00:00"),
    ("response_time_seconds", 0.5, "500 ms"),
    ("load", 1234.5678912, "1,234.57"),
    ("flag", True, "true"),
    ("text", "a", "a"),
    ("missing", None, "null"),
    ("wait_seconds", [0.5, None, "x"], "[500 ms, null, x]"),
]


@pytest.mark.parametrize(("name", "value", "shown"), FIGURES)
def test_human_units(name: str, value: object, shown: str, run: Run) -> None:
    with answering(json.dumps({name: value}).encode()) as url:
        assert run("get", "--human", url) == (0, f"{name}  {shown}\n", "")


def test_units_hold_for_what_is_below_a_name(run: Run, registry: Registry) -> None:
    """For the keys of a Map, and the routes of a Map of Histograms, but not for the count of a Histogram."""
    registry.publish("by_unit", Map()).add("seconds", 2000)
    registry.publish("checkout_seconds", Histogram()).observe(0.25)
    routes = registry.publish("seconds_by_route", Map(label="route"))
    fast = Histogram()
    fast.observe(0.25)
    routes.set("/bytes", fast)
    latency = Registry()
    latency.publish("eu", Float(0.000935))
    registry.publish("latency_seconds", latency)
    registry.publish("memstats", lambda: {"LastGC": 1_700_000_000_000_000_000, "PauseNs": [1500] * 9, "NextGC": 1024})
    with pyvars.serve(0, registry=registry) as server:
        # A function may be late.
        status, printed, error = until(
            lambda: run("get", "--human", server.url), lambda told: not re.search(r"\((stale|timeout|busy)\)", told[1])
        )
    assert (status, error) == (0, "")
    assert {
        "by_unit.seconds                2,000",
        "checkout_seconds.count         1",
        "checkout_seconds.sum           250 ms",
        "latency_seconds.eu             935 µs",
        "memstats.LastGC                2023-11-14 22:13:20+00:00",
        "memstats.NextGC                1 KiB",
        f"memstats.PauseNs               [{'1.5 µs, ' * 8}… 9 in all]",
        "seconds_by_route./bytes.count  1",
        "seconds_by_route./bytes.sum    250 ms",
    } <= {*printed.splitlines()}


def test_numbers_that_go_writes_and_json_has_not(run: Run) -> None:
    with answering(b'{"a_seconds": NaN, "b_bytes": Infinity}') as url:
        assert run("get", "--human", url) == (0, "a_seconds  nan\nb_bytes    inf\n", "")


def test_a_terminal_without_these_characters() -> None:
    with answering(b'{"a_seconds": 0.000935}') as url:
        done = subprocess.run(
            [sys.executable, "-m", "pyvars", "get", "--human", url],
            capture_output=True,
            check=False,
            cwd=ROOT,
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"a_seconds  935 \\xb5s\n", b"")
        with redirect_stdout(io.StringIO()) as printed:
            assert main(["get", url]) == 0
    assert printed.getvalue() == "a_seconds  0.000935\n"


def test_only_the_standard_library_is_needed() -> None:
    """For cron jobs and rescue shells it imports neither the packages that pyvars needs, nor a server."""
    code = (
        "import sys\nfrom pyvars.cli import main\nmain(['get', '127.0.0.1:1'])\nmain(['workers', '127.0.0.1:1'])\n"
        "print([name for name in ('orjson', 'starlette', 'uvicorn', 'psutil', 'asyncio') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"
