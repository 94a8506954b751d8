"""The workers of real servers show the same sums, while workers are killed."""

import http.client
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.services import free_port, service

REQUESTS = 1000
CLIENTS = 4
KILLS = 3

BIN = Path(sys.executable).parent
GUNICORN = ("gunicorn", "-w", "4", "-b", "127.0.0.1:{port}", "--log-level", "critical", "--graceful-timeout", "5")
UWSGI = (str(BIN / "uwsgi"), "--http-socket", "127.0.0.1:{port}", "--master", "--processes", "4", "--disable-logging")
UWSGI = (*UWSGI, "--module", "tests.workers.app:wsgi", "--die-on-term")

SERVERS = {
    "uvicorn": ("uvicorn", "--workers", "4", "--port", "{port}", "--log-level", "critical", "tests.workers.app:asgi"),
    "gunicorn sync": (*GUNICORN, "tests.workers.app:wsgi"),
    "gunicorn sync preload": (*GUNICORN, "--preload", "tests.workers.app:wsgi"),
    "gunicorn gthread": (*GUNICORN, "--threads", "4", "tests.workers.app:wsgi"),
    "gunicorn gevent": (*GUNICORN, "-k", "gevent", "tests.workers.app:wsgi"),
    "gunicorn gevent preload": (*GUNICORN, "-k", "gevent", "--preload", "tests.workers.app:wsgi"),
    "gunicorn uvicorn": (*GUNICORN, "-k", "uvicorn_worker.UvicornWorker", "tests.workers.app:asgi"),
    "gunicorn max requests": (*GUNICORN, "--max-requests", "100", "tests.workers.app:wsgi"),
    "uwsgi": UWSGI,
    "uwsgi threads": (*UWSGI, "--enable-threads"),
    "uwsgi lazy": (*UWSGI, "--lazy-apps"),
    "hypercorn": ("hypercorn", "-w", "4", "-b", "127.0.0.1:{port}", "tests.workers.app:asgi"),
    "granian": (
        *("granian", "--interface", "asgi", "--workers", "4", "--respawn-failed-workers", "--no-log"),
        *("--port", "{port}", "tests.workers.app:asgi"),
    ),
}
NO_RESPAWN = {"hypercorn"}
"""It does not start new workers, and ends with the first of them."""
MASTER_IMPORTS = {"gunicorn sync preload", "gunicorn gevent preload", "uwsgi", "uwsgi threads"}


@contextmanager
def server(name: str) -> Iterator[int]:
    port = free_port()
    command = [part.format(port=port) for part in SERVERS[name]]
    with service(*command, ready=port):
        yield port


def get(port: int, path: str) -> bytes | None:
    """The body, or None if the worker that had the request was killed, or had not begun to listen."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path, headers={"Host": "localhost", "Connection": "close"})
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, (answer.status, body)
        return body
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def page(port: int, query: str = "") -> Any:
    until = time.monotonic() + 60
    while (body := get(port, f"/debug/vars{query}")) is None:
        assert time.monotonic() < until
    return json.loads(body)


def wait_for_members(port: int, members: int, imports: int | None = None) -> None:
    """A worker that multiprocessing spawned joins the group at its first `publish`, before its imports have ended."""
    until = time.monotonic() + 60
    latest = page(port)
    while latest["pyvars.workers"]["live"] != members or imports not in (None, latest["at_import"]):
        assert time.monotonic() < until, (latest["at_import"], latest["pyvars.workers"])
        time.sleep(0.05)
        latest = page(port)


@pytest.mark.timeout(240)  # workers start again and again, each of which imports all
@pytest.mark.parametrize("name", SERVERS)
def test_the_sum_is_exact_while_workers_are_killed(name: str) -> None:
    answered: list[int] = []
    broken: list[int] = []
    kills = 0 if name in NO_RESPAWN else KILLS
    with server(name) as port:
        members = 5 if name in MASTER_IMPORTS else 4
        wait_for_members(port, members, imports=1 if name in MASTER_IMPORTS else members)

        until = time.monotonic() + 120

        def load(_: int) -> None:
            while len(answered) < REQUESTS and time.monotonic() < until:
                body = get(port, "/count")
                if body is None:
                    broken.append(1)
                    time.sleep(0.01)
                else:
                    answered.append(int(body))

        with ThreadPoolExecutor(CLIENTS) as pool:
            work = [pool.submit(load, number) for number in range(CLIENTS)]
            killed, first = set[int](), set[int]()
            for kill in range(kills):
                while len(answered) < (kill + 1) * REQUESTS // (KILLS + 1):
                    assert not any(future.done() for future in work)
                    time.sleep(0.005)
                # One of the first workers if one is left: granian ends if a new worker dies within seconds.
                first = first or set(answered)
                left = [pid for pid in reversed(answered) if pid not in killed]
                victim = next((pid for pid in left if pid in first), left[0])
                killed.add(victim)
                with suppress(ProcessLookupError):  # --max-requests has ended it already
                    os.kill(victim, signal.SIGKILL)
            for future in work:
                future.result()

        wait_for_members(port, members)
        pages = [page(port) for _ in range(20)]
        totals = {each["orders"] for each in pages}
        assert len(totals) == 1
        # A request whose worker was killed may have been counted before it was.
        assert len(answered) <= totals.pop() <= len(answered) + len(broken)
        orders, paid, revenue = pages[0]["orders"], pages[0]["by_state"]["paid"], 4 * pages[0]["revenue"]
        assert orders - len(killed) <= revenue <= paid <= orders  # each killed one may lack the later counts
        assert {(each["by_state"]["paid"], 4 * each["revenue"]) for each in pages} == {(paid, revenue)}
        status = pages[-1]["pyvars.workers"]
        assert (status["shared"], status["reason"] == "") == (True, status["threads"])
        assert status["retired"] >= len(killed)
        assert status["live"] == members or name == "gunicorn max requests"  # pages count for --max-requests
        assert pages[-1]["workers"] <= members
        if name == "uwsgi lazy":
            wait_until_all_serve(port)


NONE_SERVES = b'{"workers": [{"requests": 0}]}'


def wait_until_all_serve(port: int) -> None:
    """A worker of uWSGI handles a signal as its master does while it starts: it would not end with the others."""
    until = time.monotonic() + 60
    while not all(worker["requests"] for worker in json.loads(get(port, "/debug/workers") or NONE_SERVES)["workers"]):
        assert time.monotonic() < until


@pytest.mark.parametrize("option", ["--enable-threads", "--threads"])
def test_the_master_of_uwsgi_has_no_thread_of_ours(option: str) -> None:
    """It forks without the GIL: if a thread holds the GIL at that moment, the new worker can never get it."""
    port = free_port()
    command = [part.format(port=port) for part in UWSGI] + [option, *(["2"] if option == "--threads" else [])]
    with service(*command, ready=port) as master:
        wait_for_members(port, 5, imports=1)
        assert [page(port)["pyvars.workers"]["threads"] for _ in range(5)] == [True] * 5
        assert len(list(Path(f"/proc/{master.pid}/task").iterdir())) == 1


def test_uwsgi_without_a_master() -> None:
    """Its fork hooks cannot be set as with a master; there is one process, which counts."""
    port = free_port()
    command = [part.format(port=port) for part in UWSGI if part not in ("--master", "--processes", "4")]
    with service(*command, ready=port):
        assert all(get(port, "/count") for _ in range(20))
        shown = page(port)
        assert shown["orders"] == 20
        assert (shown["pyvars.workers"]["live"], shown["pyvars.workers"]["shared"]) == (1, True)
