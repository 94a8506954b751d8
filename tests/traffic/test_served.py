"""Counts behind real servers: clients that disconnect, and four workers."""

import http.client
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from tests.conftest import strict
from tests.services import fetch, free_port, service

COMMANDS = {
    "uvicorn": ("uvicorn", "--port", "{port}", "--log-level", "critical", "tests.traffic.app:asgi"),
    "uvicorn h11": (
        "uvicorn",
        "--http",
        "h11",
        "--port",
        "{port}",
        "--log-level",
        "critical",
        "tests.traffic.app:asgi",
    ),
    "hypercorn": ("hypercorn", "-b", "127.0.0.1:{port}", "tests.traffic.app:asgi"),
    "gunicorn": (
        *("gunicorn", "--threads", "4", "-b", "127.0.0.1:{port}", "--log-level", "critical"),
        "tests.traffic.app:wsgi",
    ),
}
WORKERS = {
    "uvicorn": (*COMMANDS["uvicorn"], "--workers", "4"),
    "gunicorn": (*COMMANDS["gunicorn"], "--workers", "4"),
    "gunicorn preload": (*COMMANDS["gunicorn"], "--workers", "4", "--preload"),
}


@contextmanager
def served(command: tuple[str, ...]) -> Iterator[int]:
    port = free_port()
    with service(*(part.format(port=port) for part in command), ready=port):
        yield port


def traffic(port: int, path: str = "/debug/vars/http") -> Any:
    return strict(fetch(port, path).body)


def wait_until(port: int, done: Callable[[Any], bool], path: str = "/debug/vars/http") -> Any:
    """The counts once a condition holds: a server reports the end of a body after it has sent the body."""
    until = time.monotonic() + 60  # a busy machine may take long for a page
    while not done(found := traffic(port, path)):
        assert time.monotonic() < until, found
        time.sleep(0.02)
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_a_client_that_leaves_in_the_middle(name: str) -> None:
    with served(COMMANDS[name]) as port:
        fetch(port, "/items/1")
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b" 200 " in client.recv(100)
            wait_until(port, lambda found: found["in_flight"] == 1)
        found = wait_until(port, lambda found: found["requests"] == 2)
        assert found["in_flight"] == 0
        assert found["errors"] == 0
        assert found["by_status"] == {"2xx": 2}
        assert found["by_route"] == {"/items/{id}": 1, "/endless": 1}
        assert found["bytes_out"] >= 1000


def test_a_client_that_leaves_before_the_answer() -> None:
    with served(COMMANDS["uvicorn"]) as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nhalf")
            wait_until(port, lambda found: found["in_flight"] == 1)
        found = wait_until(port, lambda found: found["requests"] == 1)
        assert (found["by_status"], found["errors"], found["in_flight"]) == ({"499": 1}, 0, 0)


@pytest.mark.parametrize("name", WORKERS)
def test_four_workers_count_as_one(name: str) -> None:
    paths = ["/items/1", "/items/2", "/raises", "/none"]

    def load(client: int) -> int:
        size = 0
        for number in range(100):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("GET", paths[(number + client) % 4], headers={"Connection": "close"})
            answer = connection.getresponse()
            body = answer.read()
            size += len(body) if answer.status != 500 or name == "uvicorn" else 0
            connection.close()
        return size

    with served(WORKERS[name]) as port:
        with ThreadPoolExecutor(4) as pool:
            size = sum(pool.map(load, range(4)))
        wait_until(port, lambda found: found["requests"] == 400 and found["in_flight"] == 0)
        for _ in range(10):
            found = traffic(port)
            seconds, by_route = found.pop("seconds"), found.pop("seconds_by_route")
            assert found.pop("first_byte_seconds")["count"] == 400
            assert found.pop("streams")["seconds"]["count"] == found.pop("websockets")["seconds"]["count"] == 0
            assert found == {
                "requests": 400,
                "errors": 100,
                "in_flight": 0,
                "bytes_out": size,
                "by_method": {"GET": 400},
                "by_status": {"2xx": 200, "4xx": 100, "5xx": 100},
                "by_route": found["by_route"],
            }
            assert found["by_route"]["/items/{id}"] == 200
            assert found["by_route"]["unmatched"] >= 100
            assert seconds["count"] == 400
            assert {route: each["count"] for route, each in by_route.items()} == found["by_route"]
            assert seconds["min"] <= seconds["p50"] <= seconds["p99"] <= seconds["max"] < 30
