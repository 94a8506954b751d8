"""Requests that end without a response behind real servers: 499 only if the client is known to have disconnected."""

import socket
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException

import pytest

from tests.services import fetch
from tests.traffic.test_served import served, wait_until

_GUNICORN = ("gunicorn", "-b", "127.0.0.1:{port}", "--log-level", "critical")
_APP = "tests.traffic.ends_app:wsgi"
COMMANDS = {
    "gunicorn": (*_GUNICORN, "--timeout", "1", _APP),
    "gevent": (*_GUNICORN, "-k", "gevent", _APP),
    "eventlet": (*_GUNICORN, "-k", "eventlet", _APP),
    "gthread": (*_GUNICORN, "--threads", "2", _APP),
    "waitress": ("waitress", "--listen", "127.0.0.1:{port}", _APP),
    "uvicorn": ("uvicorn", "--port", "{port}", "--log-level", "critical", "tests.traffic.ends_app:asgi"),
}

PAGE = "/debug/vars/http"
COUNTED = {"eventlet": "/counted"}  # counts of one process, since the default rule refuses all under eventlet


def ask(port: int, path: str) -> int:
    """The status; 0 without a response."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=20)) as connection, suppress(HTTPException, OSError):
        connection.request("GET", path)
        with connection.getresponse() as answer:
            return answer.status
    return 0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("gunicorn", "/hang"),
        ("gunicorn", "/exit"),
        ("gevent", "/exit"),
        ("gevent", "/gevent"),
        ("eventlet", "/eventlet"),
        ("uvicorn", "/outer"),
    ],
)
def test_a_client_that_waits_in_vain(name: str, path: str) -> None:
    with served(COMMANDS[name]) as port:
        assert ask(port, "/") == 200
        assert ask(port, path) in (0, 500)
        found = wait_until(port, lambda found: found["requests"] == 2, path=COUNTED.get(name, PAGE))
        assert (found["by_status"], found["errors"], found["in_flight"]) == ({"2xx": 1, "5xx": 1}, 1, 0)


@pytest.mark.parametrize("name", ["gthread", "gevent", "eventlet", "waitress"])
def test_a_client_that_leaves_what_is_written(name: str) -> None:
    with served(COMMANDS[name]) as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET /write HTTP/1.1\r\nHost: localhost\r\n\r\n")
            received = b""
            while b"xxx" not in received:
                received += client.recv(1000)
        found = wait_until(port, lambda found: found["requests"] == 1, path=COUNTED.get(name, PAGE))
        assert (found["by_status"], found["errors"], found["in_flight"]) == ({"2xx": 1}, 0, 0)
        assert fetch(port, "/").status == 200
