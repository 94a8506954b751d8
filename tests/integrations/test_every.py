"""One table of requests through every integration: the same status, headers and body everywhere."""

import re
from collections.abc import Iterator

import pytest

from pyvars import Int, Map, Registry
from tests.conftest import until
from tests.integrations.every import ALL, MOUNTED, OWN, Answer, Send, integration

ALLOW = "GET, HEAD, OPTIONS"
JSON = "application/json; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
OURS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
INDEX = """\
/debug/    the page to look at in a browser; other clients get this list
api/stats  memory and garbage collection as golang-stats-api-handler has them, as JSON
history    numbers over the last ten minutes and two hours, as JSON
metrics    the numbers in the variables for Prometheus, as text or OpenMetrics
vars       every variable of the program and of its interpreter, as JSON
workers    the worker processes whose numbers are summed, as JSON
"""
SIDE_PORT_INDEX = """\
/api/stats             memory and garbage collection as golang-stats-api-handler has them, as JSON
/debug/                the page to look at in a browser; other clients get this list
/debug/history         numbers over the last ten minutes and two hours, as JSON
/debug/vars            every variable of the program and of its interpreter, as JSON
/debug/workers         the worker processes whose numbers are summed, as JSON
/metrics               the numbers in the variables for Prometheus, as text or OpenMetrics
/status/hardware/cpu   CPUs of the machine or container, as JSON
/status/hardware/disk  space on the file system of /, as JSON
/status/hardware/ram   memory of the machine or container, as JSON
/status/health         OK, or 503 with the checks that fail
"""
PAGE = b'{\n  "function": [1],\n  "orders": 3,\n  "states": {"paid":1}\n}\n'


@pytest.fixture(params=ALL)
def name(request: pytest.FixtureRequest) -> str:
    """Each integration in turn."""
    found: str = request.param
    return found


@pytest.fixture
def send(name: str, registry: Registry) -> Iterator[Send]:
    """Send a request through the integration to the variables of `PAGE`."""
    registry.publish("orders", Int(3))
    registry.publish("states", Map()).add("paid")
    registry.publish("function", lambda: [1])
    with integration(name, registry) as send:
        yield send


@pytest.mark.parametrize(
    ("method", "path", "status", "content_type", "body"),
    [
        ("GET", "/debug/vars", 200, JSON, PAGE),
        ("GET", "/debug/vars/", 200, JSON, PAGE),
        ("GET", "/debug/vars?name=orders", 200, JSON, b'{\n  "orders": 3\n}\n'),
        ("GET", "/debug/vars?name=o&name=s", 200, JSON, b'{\n  "orders": 3,\n  "states": {"paid":1}\n}\n'),
        ("GET", "/debug/vars/orders", 200, JSON, b"3\n"),
        ("GET", "/debug/vars/%6frders", 200, JSON, b"3\n"),
        ("GET", "/debug/vars/function", 200, JSON, b"[1]\n"),
        ("GET", "/debug/vars/nothing", 404, TEXT, b"no variable of that name\n"),
        ("POST", "/debug/vars", 405, TEXT, b"method not allowed\n"),
        ("PUT", "/debug/vars", 405, TEXT, b"method not allowed\n"),
        ("DELETE", "/debug/vars/orders", 405, TEXT, b"method not allowed\n"),
        ("TRACE", "/debug/vars", 405, TEXT, b"method not allowed\n"),
        ("PATCH", "/debug/vars", 405, TEXT, b"method not allowed\n"),
    ],
)
def test_requests(send: Send, method: str, path: str, status: int, content_type: str, body: bytes) -> None:
    answer = whole(send, method, path)
    # A middleware has a line more, which is its own to test: what it counts.
    assert (answer.status, re.sub(rb'  "http": .*\n', b"", answer.body)) == (status, body)
    assert answer.headers["content-type"] == content_type
    assert answer.headers["content-length"] == str(len(answer.body))
    assert OURS.items() <= answer.headers.items()
    assert answer.headers.get("allow") == (ALLOW if status == 405 else None)
    assert "transfer-encoding" not in answer.headers


def whole(send: Send, method: str, path: str) -> Answer:
    """The answer, once a busy machine lets the function return in time."""
    return until(
        lambda: send(method, path), lambda answer: b"pyvars.errors" not in answer.body and answer.body != b"null\n"
    )


def test_head_has_the_headers_of_get(send: Send) -> None:
    for path in ("/debug/vars", "/debug/vars/orders", "/debug/vars/nothing"):
        get = whole(send, "GET", path)
        told = without_date(get)  # the length is another one if the function is late
        head = until(lambda path=path: send("HEAD", path), lambda head, told=told: without_date(head) == told)
        assert head.body == b""
        assert head.status == get.status


def test_options_says_what_is_allowed(send: Send) -> None:
    answer = send("OPTIONS", "/debug/vars")
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["allow"] == ALLOW
    assert "content-length" not in answer.headers
    assert OURS.items() <= answer.headers.items()


def test_the_application_goes_on(name: str, send: Send) -> None:
    if name == "side_port":
        assert send("GET", "/hello").status == 404
    else:
        answer = send("GET", "/hello")
        assert (answer.status, answer.body) == (200, OWN.encode())
        assert not OURS.items() & answer.headers.items()


@pytest.mark.parametrize(
    "path",
    [
        "/debug/varsx",
        "/debug/var",
        "/debug/nothing",
        "/debugx",
        "/DEBUG",
        "/DEBUG/VARS",
        "/debug//vars",
        "/debug/vars%00",
        "/debug/vars;x",
        "/x/debug/vars",
        "//debug/vars",
        "//debug",
        "/debug//",
        "/debug/vars//",
        "/%64ebug",
        "/%64ebug/",
        "/%64ebug/vars",
        "/debug/%76ars",
        "/debug%2fvars",
        "/debug/varsdump",
        "/nothing",
    ],
)
def test_nothing_else_is_ours_and_nothing_redirects(name: str, send: Send, path: str) -> None:
    answer = send("GET", path)
    if path == "/%64ebug" and name in ("starlette_mount", "fastapi_mount"):
        assert answer.status == 307  # Starlette redirects before the mount is asked
    else:
        assert answer.status == 404
    assert b"orders" not in answer.body


@pytest.mark.parametrize("path", ["/debug", "/debug/"])
def test_the_index_lists_what_is_there(name: str, send: Send, path: str) -> None:
    answer = send("GET", path)
    if path == "/debug" and name in ("starlette_mount", "fastapi_mount"):
        assert answer.status == 307  # Starlette redirects before the mount is asked
        return
    assert answer.status == 200
    assert answer.headers["content-type"] == TEXT
    assert answer.body.decode() == (SIDE_PORT_INDEX if name == "side_port" else INDEX)
    assert send("HEAD", path).headers["content-length"] == answer.headers["content-length"]


def test_all_that_the_index_names_is_there(name: str, send: Send, registry: Registry) -> None:
    for line in send("GET", "/debug/").body.decode().splitlines():
        path = line.split()[0]
        answer = send("GET", path if path.startswith("/") else f"/debug/{path}")
        # /api/stats are made of memstats, which this registry does not hold.
        assert (answer.status, answer.body) == (404, b"there are no memstats\n") or answer.status == 200
        assert OURS.items() <= answer.headers.items()
    assert send("GET", "/metrics" if name == "side_port" else "/debug/metrics").body.count(b"orders_total 3") == 1


@pytest.mark.parametrize(
    "headers",
    [
        [("Host", "evil.example")],
        [("X-Forwarded-For", "127.0.0.1")],
        [("Forwarded", "for=127.0.0.1")],
        [("Via", "1.1 proxy")],
        [("X-Real-IP", "127.0.0.1")],
    ],
)
def test_who_is_not_on_this_machine_sees_nothing(name: str, send: Send, headers: list[tuple[str, str]]) -> None:
    answer = send("GET", "/debug/vars", headers)
    assert answer.status == 404
    assert b"orders" not in answer.body
    if name not in MOUNTED:
        assert not OURS.items() & answer.headers.items()  # it is the application's own 404


def test_another_machine_sees_nothing(name: str, send: Send) -> None:
    if name == "side_port":
        pytest.skip("the side port is bound to loopback: no other peer can reach it")
    for peer in ("10.0.0.1", "2001:db8::1", "testclient"):
        assert send("GET", "/debug/vars", peer=peer).status == 404
    assert send("GET", "/debug/vars", peer="::1").status == 200


def without_date(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name != "date"}
