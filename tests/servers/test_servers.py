"""Every row of the table of servers, checked with the real server; and every shape of request, sent to each."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded

from tests.conftest import until
from tests.servers.app import TOKEN
from tests.servers.judge import MEMSTATS, expected, outcome
from tests.servers.nginx import WAYS, proxied
from tests.servers.running import Address, Reply, Running, ask, connection, running
from tests.servers.shape import HERE, NOT_OURS, PAGE, REFUSED, SERVER, UNAUTHORIZED, shape
from tests.servers.shapes import SHAPES
from tests.servers.shapes_frames import FRAMES
from tests.servers.table import SERVERS, Server
from tests.tools import tool


class Started(NamedTuple):
    row: Server
    at: Running


@pytest.fixture(
    scope="module",
    # One test process runs all tests of a server.
    params=[pytest.param(row, id=row.name, marks=pytest.mark.xdist_group(f"server {row.name}")) for row in SERVERS],
)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    row: Server = request.param
    if row.needs and importlib.util.find_spec(row.needs) is None:
        pytest.skip(f"the installed version has no {row.needs}")
    with running(row.commands, tmp_path_factory.mktemp("server"), has_unix=row.unix_peer is not None) as at:
        yield Started(row, at)


@pytest.fixture(scope="module")
def ways(server: Started, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], Address]]:
    with proxied(tool("nginx"), server.at, tmp_path_factory.mktemp("nginx")) as addresses:
        yield addresses


def told(address: Address, *headers: str, target: str = "/probe", version: str = "HTTP/1.1") -> dict[str, Any]:
    """What the server reports to the application for a request."""
    reply = ask(address, shape(PAGE, "", *headers, target=target, version=version).data)
    assert reply.status == 200, reply
    found: dict[str, Any] = json.loads(reply.body)
    return found


def test_peer(server: Started) -> None:
    assert told(server.at.tcp)["peer"] == "127.0.0.1"
    assert told(server.at.tcp, "X-Forwarded-For: 203.0.113.7")["peer"] == server.row.forwarded_peer
    if server.at.unix is not None:
        assert told(server.at.unix)["peer"] == server.row.unix_peer


def test_version(server: Started) -> None:
    assert told(server.at.tcp, version="HTTP/1.0")["version"] == server.row.version_1_0
    assert told(server.at.tcp)["version"] == server.row.version_1_1


def test_version_2(server: Started) -> None:
    """Without TLS, as a program sends it that knows what it talks to. A client can upgrade to it past a proxy."""
    with httpx.Client(http1=False, http2=True, base_url=f"http://localhost:{server.at.port}") as client:
        client.timeout = 60 if server.row.version_2 else 5
        if not server.row.version_2:
            with pytest.raises(httpx.TransportError):
                client.get("/probe")
            return
        assert client.get("/probe").json()["version"] == server.row.version_2
        assert MEMSTATS not in client.get("/debug/vars").content
        assert MEMSTATS not in client.get("/debug/vars", headers={"Host": "evil.example"}).content
        assert MEMSTATS not in client.get("/debug/vars", headers={"X-Forwarded-For": "127.0.0.1"}).content


def test_raw_path(server: Started) -> None:
    assert (told(server.at.tcp, target="/probe?a")["raw"] or ["none"])[0] == server.row.raw_path


SPELLINGS = {
    "absolute": "http://evil.example/probe",
    "encoded": "/%70robe",
    "fragment": "/probe#x",
    "slashes": "//probe",
}


def test_spellings_that_nothing_tells(server: Started) -> None:
    untold = []
    for spelling, target in SPELLINGS.items():
        reply = ask(server.at.tcp, shape(PAGE, "", target=target).data)
        if reply.status == 400:
            continue  # the server does not accept it
        found = json.loads(reply.body)
        if found["path"] == "/probe" and (not found["raw"] or found["raw"][1].partition("?")[0] == "/probe"):
            untold.append(spelling)
    assert tuple(untold) == server.row.untold


def test_duplicate_headers(server: Started) -> None:
    headers = told(server.at.tcp, "X-Twice: a", "X-Twice: b")["headers"]
    values = [value for name, value in headers if name == "x-twice"]
    words = {("a", "b"): "two headers", ("a,b",): "joined by `,`", ("a, b",): "joined by `, `", ("b",): "the last one"}
    assert words[tuple(values)] == server.row.twice


TRACES = (
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "Forwarded",
    "Via",
    "X-Real-IP",
    "CF-Connecting-IP",
)


def test_traces_of_a_proxy_that_the_server_removes(server: Started) -> None:
    headers = {name for name, _ in told(server.at.tcp, *(f"{name}: 203.0.113.7" for name in TRACES))["headers"]}
    assert tuple(name for name in TRACES if name.lower() not in headers) == server.row.hidden


def test_what_local_does(server: Started) -> None:
    """It allows a program on this machine; or refuses all requests, and logs why."""
    for address, refusal in ((server.at.tcp, server.row.local), (server.at.unix, server.row.local_unix)):
        if address is not None:
            assert outcome(ask(address, shape(PAGE, "").data)) == (REFUSED if refusal else PAGE)
            until(lambda: logged(server.at.log), lambda text, refusal=refusal: refusal in text)


def logged(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_every_shape(server: Started) -> None:
    wrong = []
    for each in SHAPES:
        wanted = expected(each, server.row)
        reply = ask(server.at.tcp, each.data, 1 if SERVER in wanted else 60)  # of an odd one it may wait for more
        if outcome(reply) not in wanted:
            wrong.append(f"{each.title}: {outcome(reply)}, not {' or '.join(wanted)}")
        assert b"access-control-" not in reply.everything.lower(), each.title
        assert TOKEN.encode() not in reply.everything, each.title
    assert not wrong, "\n".join(wrong)


def visit(address: Address, *headers: str, host: str = "shop.example", rule: str = "local") -> Reply:
    return ask(address, shape(PAGE, "", *headers, host=host, rule=rule).data)


@pytest.mark.parametrize("over", ["tcp", "unix"])
def test_what_a_visitor_gets_through_nginx(server: Started, ways: dict[tuple[str, str], Address], over: str) -> None:
    """The 404. The known limit: HTTP/1.1 with a loopback Host and no added header looks like a local program."""
    if over == "unix" and server.at.unix is None:
        pytest.skip("it cannot listen on a unix socket")
    refuses = server.row.local if over == "tcp" else server.row.local_unix
    limit = REFUSED if refuses else PAGE
    got = {way: outcome(visit(ways[way, over])) for way in WAYS}
    assert got == {**dict.fromkeys(WAYS, REFUSED), "HTTP/1.1": limit}
    for way in ("bare", "Host passed on", "X-Forwarded-For", "WebSockets"):
        for lie in ("X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1", "Origin: http://localhost"):
            assert MEMSTATS not in visit(ways[way, over], lie).everything
        assert outcome(visit(ways[way, over], host="localhost")) == REFUSED
    for way in WAYS:
        assert outcome(visit(ways[way, over], rule="token")) == UNAUTHORIZED
        assert outcome(visit(ways[way, over], f"Authorization: Bearer {TOKEN}", rule="token")) == PAGE


def test_a_visitor_cannot_hide_what_nginx_adds(server: Started, ways: dict[tuple[str, str], Address]) -> None:
    """Also not with lines at which some servers end the headers."""
    for what, (headers, body) in FRAMES.items():
        for host in ("shop.example", "localhost"):
            request = shape(NOT_OURS, what, *headers, host=host, body=body).data
            assert MEMSTATS not in ask(ways["X-Forwarded-For", "tcp"], request, 5).everything, what


def test_a_tunnel_for_websockets(server: Started, ways: dict[tuple[str, str], Address]) -> None:
    """If nginx and the server let a client upgrade to HTTP/2, nginx adds no header to its further requests.

    Only hypercorn upgrades to HTTP/2.
    """
    http2 = H2Connection()
    settings = http2.initiate_upgrade_connection()
    assert settings is not None
    with connection(ways["WebSockets", "tcp"]) as visitor:
        visitor.sendall(
            b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade, HTTP2-Settings\r\n"
            b"Upgrade: h2c\r\nHTTP2-Settings: " + settings + b"\r\n\r\n"
        )
        head, _, received = visitor.recv(65536).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ") == server.row.tunnels
        if not server.row.tunnels:
            return
        http2.send_headers(
            3, [(":method", "GET"), (":path", HERE), (":scheme", "http"), (":authority", "localhost")], True
        )
        visitor.sendall(http2.data_to_send())
        body, ended = b"", False
        while not ended:
            for event in http2.receive_data(received):
                ended = ended or (isinstance(event, StreamEnded) and event.stream_id == 3)
                body += event.data if isinstance(event, DataReceived) and event.stream_id == 3 else b""
            visitor.sendall(http2.data_to_send())
            received = b"" if ended else visitor.recv(65536)
        assert MEMSTATS not in body
