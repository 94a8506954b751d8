"""Streams and WebSockets behind real servers: counted as open, and then with their duration."""

import http.client
from contextlib import closing

import pytest
from websockets.sync.client import connect

from tests.services import fetch
from tests.traffic.test_served import served, wait_until

_UVICORN = ("uvicorn", "--port", "{port}", "--log-level", "critical", "tests.traffic.open_app:asgi")
_GUNICORN = ("gunicorn", "--threads", "4", "-b", "127.0.0.1:{port}", "--log-level", "critical")
COMMANDS = {
    "uvicorn with wsproto": (*_UVICORN, "--ws", "wsproto"),
    "uvicorn with websockets": (*_UVICORN, "--ws", "websockets-sansio", "--http", "h11"),
    "hypercorn": ("hypercorn", "-b", "127.0.0.1:{port}", "tests.traffic.open_app:asgi"),
    "gunicorn": (*_GUNICORN, "tests.traffic.open_app:wsgi"),
    "werkzeug": ("flask", "--app", "tests.traffic.open_app:flask", "run", "--port", "{port}"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_an_event_stream_and_a_websocket(name: str) -> None:
    with served(COMMANDS[name]) as port:
        assert fetch(port, "/healthz").body == b"ok"
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as client:
            client.request("GET", "/events")
            answer = client.getresponse()
            assert answer.read(9) == b"data: x\n\n"
            found = wait_until(port, lambda found: found["streams"]["open"] == 1)
            assert (found["in_flight"], found["requests"], found["streams"]["seconds"]["count"]) == (0, 0, 0)
            answer.close()
        wait_until(port, lambda found: found["streams"]["seconds"]["count"] == 1)
        with connect(f"ws://127.0.0.1:{port}/ws") as socket:
            for word in ("one", "two"):
                socket.send(word)
                assert socket.recv(timeout=30) == word
            found = wait_until(port, lambda found: found["websockets"]["open"] == 1)
            assert found["in_flight"] == 0
        found = wait_until(port, lambda found: found["websockets"]["seconds"]["count"] == 1)
        asgi = "asgi" in "".join(COMMANDS[name])
        assert (found["websockets"]["messages_in"], found["websockets"]["messages_out"]) == ((2, 2) if asgi else (0, 0))
        assert (found["requests"], found["errors"], found["by_status"]) == (1, 0, {"2xx": 1})
        assert found["first_byte_seconds"]["count"] == 1
        assert found["seconds"]["count"] == 0
        fetch(port, "/none")
        found = wait_until(port, lambda found: found["requests"] == 2)
        assert (found["seconds"]["count"], found["seconds"]["max"] in (0.5, 60)) == (1, True)
        assert (found["in_flight"], found["streams"]["open"], found["websockets"]["open"]) == (0, 0, 0)
