"""Third-party services: their responses are, byte for byte, the same as without pyvars."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager

import pytest

from tests.conftest import strict
from tests.programs import DATA
from tests.services import Client, Reply, fetch, free_port, service

REQUESTS = 2000
CLIENTS = 4

DATASETTE = [
    ("GET", "/", None),
    ("GET", "/-/versions.json", None),
    ("GET", "/_memory.json?sql=select+1+as+one&_shape=array", None),
    ("GET", "/-/static/table.js", None),
    ("GET", "/-/static/app.css", None),
    ("GET", "/nothing", None),
    ("GET", "/debug/nothing", None),
    ("GET", "/debug/varsx", None),
    ("POST", "/", b"x=1"),
    ("HEAD", "/", None),
]
HTTPBIN = [
    ("GET", "/get?x=1&x=2", None),
    ("POST", "/post", b"x=1"),
    ("PUT", "/anything/a%20b", b"\x00\xff"),
    ("GET", "/status/418", None),
    ("GET", "/html", None),
    ("GET", "/range/1000", None),
    ("GET", "/stream/3", None),
    ("GET", "/redirect-to?url=/get", None),
    ("GET", "/encoding/utf8", None),
    ("GET", "/deflate", None),
    ("GET", "/debug/varsx", None),
    ("HEAD", "/get", None),
]


@contextmanager
def datasette(name: str) -> Iterator[int]:
    port = free_port()
    command = ("uvicorn", "--port", str(port), "--log-level", "warning", f"examples.datasette_vars:{name}")
    with service(*command, ready=port, PYTHONPATH=str(DATA / "without_rich")):
        yield port


@contextmanager
def httpbin(name: str) -> Iterator[int]:
    port = free_port()
    name = {"app": "application"}.get(name, name)
    command = ("gunicorn", "--threads", "4", "-b", f"127.0.0.1:{port}", "--log-level", "warning")
    with service(*command, f"examples.httpbin_vars:{name}", ready=port):
        yield port


@pytest.mark.parametrize(("start", "requests"), [(datasette, DATASETTE), (httpbin, HTTPBIN)])
def test_every_answer_is_the_bare_services(start, requests: list[tuple[str, str, bytes | None]]) -> None:
    """With four clients that send requests, while a fifth reads the page."""
    with ExitStack() as stack:
        bare = stack.enter_context(start("bare"))
        wrapped = stack.enter_context(start("app"))
        with closing(Client(bare)) as client:
            expected: dict[int, Reply] = {
                number: steady(client.ask(path, method, body)) for number, (method, path, body) in enumerate(requests)
            }
        assert fetch(bare).status == 404

        def load(client_number: int) -> int:
            with closing(Client(wrapped)) as client:
                for number in range(REQUESTS // CLIENTS):
                    which = (number + client_number) % len(requests)
                    method, path, body = requests[which]
                    assert steady(client.ask(path, method, body)) == expected[which], path
            return REQUESTS // CLIENTS

        with ThreadPoolExecutor(CLIENTS) as pool:
            work = [pool.submit(load, number) for number in range(CLIENTS)]
            pages = 0
            while not all(future.done() for future in work):
                page = strict(fetch(wrapped).body)
                assert page["memstats"]["HeapAlloc"] > 0
                assert page["process"]["pid"] > 0
                pages += 1
            assert sum(future.result() for future in work) == REQUESTS
        assert pages > 0


def steady(reply: Reply) -> Reply:
    """The response without the parts that differ between two runs of the service itself."""
    changing = {"x-databases", "set-cookie"}
    return reply._replace(headers=[field for field in reply.headers if field[0].lower() not in changing])


def test_datasette_unchanged_beside_a_side_port() -> None:
    port, side = free_port(), free_port()
    with (
        service("pyvars", "--port", str(side), "-m", "datasette", "--memory", "-p", str(port), ready=port),
        closing(Client(port)) as client,
    ):
        assert client.ask("/-/versions.json").status == 200
        answer = client.ask("/_memory.json?sql=select+1+as+one&_shape=array")
        assert json.loads(answer.body) == [{"one": 1}]
        page = strict(fetch(side).body)
        assert page["cmdline"] == ["datasette"]
        assert page["threads"]["count"] >= 2
        assert client.ask("/debug/vars").status == 404
