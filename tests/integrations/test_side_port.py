"""The side port: a real server in the process of the program, which it does not affect."""

import asyncio
import base64
import gzip
import http.client
import json
import logging
import random
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import httpx
import pytest

import pyvars
from pyvars import ConfigurationError, Int, Registry, String
from pyvars.access import anyone
from pyvars.server import Server
from tests.conftest import until
from tests.programs import output, run
from tests.services import free_port


@pytest.fixture
def server(registry: Registry) -> Iterator[Server]:
    """A side port for the fresh registry, on a free port."""
    registry.publish("orders", Int(3))
    with pyvars.serve(0, registry=registry) as server:
        yield server


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def get(server: Server, path: str = "/debug/vars", method: str = "GET", **headers: str) -> Answer:
    """The response as http.client reads it, which adds only the header Host, and decodes nothing."""
    with closing(http.client.HTTPConnection(server.host, server.port, timeout=60)) as connection:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer.read())


def test_it_serves_what_it_was_given(server: Server) -> None:
    assert json.loads(get(server).body) == {"orders": 3}
    assert server.url == f"http://127.0.0.1:{server.port}"
    assert repr(server) == f"<Server {server.url}>"


def test_it_serves_the_default_registry() -> None:
    pyvars.publish("orders", Int(4))
    with pyvars.serve(port=0) as server:
        page = json.loads(get(server).body)
    assert page["orders"] == 4
    assert page["memstats"]["HeapAlloc"] > 0
    assert page["process"]["pid"]


def test_the_answer_names_no_server_and_has_a_length(server: Server) -> None:
    answer = get(server)
    assert answer.headers.get("server") is None
    assert answer.headers.get("content-length") == "18"
    assert answer.headers.get("transfer-encoding") is None
    assert answer.headers.get("content-encoding") is None


@pytest.mark.parametrize("path", ["/debug/vars", "/nothing"])
def test_the_answer_is_dated_when_it_is_given(server: Server, path: str) -> None:
    def dated() -> datetime:
        return parsedate_to_datetime(get(server, path).headers["date"])

    first = dated()
    assert abs(first - datetime.now(UTC)) < timedelta(seconds=60)
    until(dated, lambda date: date != first)


@pytest.mark.skipif(sys.platform != "linux", reason="it reads how often the threads woke under /proc")
def test_its_threads_sleep_while_nobody_reads() -> None:
    # In a program that always holds the GIL, each wake-up of the loop costs a tenth of a page, and a laptop's battery.
    code = """
import threading, time, urllib.request
import pyvars

def wakes():
    # That of the history makes a sample each second.
    ours = {thread.native_id: thread.name for thread in threading.enumerate() if thread.name.startswith("pyvars")}
    ours = [thread for thread, name in ours.items() if name != "pyvars-history"]
    assert ours
    states = [open(f"/proc/self/task/{thread}/status").read() for thread in ours]
    return sum(int(state.split("voluntary_ctxt_switches:")[1].split()[0]) for state in states)

import warnings
warnings.simplefilter("ignore", ResourceWarning)  # of these files
with pyvars.serve(0) as server:
    urllib.request.urlopen(server.url + "/debug/vars").close()
    until = time.monotonic() + 30  # they have something to finish first
    before = -1
    while wakes() != before:
        assert time.monotonic() < until, "they woke in each second"
        before = wakes()
        time.sleep(1)
"""
    assert output(code) == ""


@pytest.mark.parametrize("accept", ["gzip", "gzip, deflate", "deflate, gzip;q=0.5", "GZIP", "br;q=1, gzip ; q=1.0"])
def test_gzip_when_it_is_asked_for(server: Server, registry: Registry, accept: str) -> None:
    for number in range(100):
        registry.publish(f"counter_{number}", Int(number))
    plain = get(server).body
    answer = get(server, accept_encoding=accept)
    assert answer.headers.get("content-encoding") == "gzip"
    body = answer.body
    assert gzip.decompress(body) == plain
    assert len(body) < len(plain)
    head = get(server, method="HEAD", accept_encoding=accept)
    assert head.body == b""
    assert {**head.headers, "date": ""} == {**answer.headers, "date": ""}


@pytest.mark.parametrize("size", [400, 20_000, 200_000, 7_000_000, 9_000_000])
def test_a_page_of_any_size_when_gzip_is_asked_for(server: Server, registry: Registry, size: int) -> None:
    """A small page and a very large page are not compressed; HEAD has the same headers as GET."""
    letters = base64.b64encode(random.Random(0).randbytes(size * 3 // 4)).decode()
    for number, begin in enumerate(range(0, size, 60_000)):
        registry.publish(f"text_{number:04}", String(letters[begin : begin + 60_000]))
    plain = get(server).body
    answer = get(server, accept_encoding="gzip")
    compressed = answer.headers.get("content-encoding") == "gzip"
    assert compressed is (500 < size < 8_000_000)
    assert (gzip.decompress(answer.body) if compressed else answer.body) == plain
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.headers.get("vary") == ("Accept-Encoding" if compressed else None)
    head = get(server, method="HEAD", accept_encoding="gzip")
    assert head.body == b""
    assert {**head.headers, "date": ""} == {**answer.headers, "date": ""}


def test_a_large_page_that_is_not_compressed_in_time_comes_plain(server: Server, registry: Registry) -> None:
    """One page is compressed at a time; the others wait until their deadline, and are then sent as they are."""
    letters = base64.b64encode(random.Random(0).randbytes(5_400_000)).decode()
    for number in range(120):
        registry.publish(f"text_{number:04}", String(letters[number * 60_000 : (number + 1) * 60_000]))
    plain = get(server).body
    found: set[tuple[int, str | None, bool]] = set()

    def read() -> None:
        answer = get(server, accept_encoding="gzip")
        encoding = answer.headers.get("content-encoding")
        right = answer.status == 503 or (gzip.decompress(answer.body) if encoding else answer.body) == plain
        found.add((answer.status, encoding, right))

    def read_at_once() -> set[tuple[int, str | None, bool]]:
        readers = [threading.Thread(target=read) for _ in range(12)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        return found - {(503, None, True)}

    both = {(200, "gzip", True), (200, None, True)}
    until(read_at_once, lambda found: found >= both)  # a busy machine may let them come one after another
    assert found - {(503, None, True)} == both


@pytest.mark.parametrize("accept", ["", "identity", "gzip;q=0", "gzip; q=0.0", "deflate", "x-gzipped", "*"])
def test_no_gzip_when_it_is_not(server: Server, registry: Registry, accept: str) -> None:
    for number in range(100):
        registry.publish(f"counter_{number}", Int(number))
    answer = get(server, accept_encoding=accept)
    assert answer.headers.get("content-encoding") is None
    assert json.loads(answer.body)["counter_99"] == 99


def test_every_other_path_is_the_one_404(server: Server) -> None:
    for path in (
        "//",
        "/vars",
        "/debug/vars%00",
        "//debug/vars",
        "/debug/nothing",
        "/favicon.ico",
        "/debug/../debug/vars",
        "/a%0Ab",
    ):
        answer = get(server, path)
        assert (answer.status, answer.body) == (404, b"not found\n")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert get(server, path, "POST").status == 404
    assert get(server, Host="evil.example").status in (400, 404)  # two Host headers


def test_its_url_leads_to_the_index(server: Server) -> None:
    index = httpx.get(server.url)
    assert (index.status_code, index.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert index.text == get(server, "/debug").body.decode() == get(server, "/debug/").body.decode()
    for line in index.text.splitlines():
        path = line.split()[0]
        assert get(server, path).status in (200, 503) or path == "/api/stats"  # the registry has no memstats
    assert httpx.get(f"{server.url}/", headers={"Host": "evil.example"}).status_code == 404


def test_a_port_that_is_taken_is_an_error_here(server: Server) -> None:
    with pytest.raises(OSError, match="in use") as caught:
        pyvars.serve(server.port)
    assert "another program" in caught.value.__notes__[0]
    for port in (70_000, -1):
        with pytest.raises(ConfigurationError, match="0 to 65535"):
            pyvars.serve(port)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("0.0.0.0", 9131), "the port comes first; write serve(9131, '0.0.0.0')"),
        (("0.0.0.0",), "the port comes first; write serve(host='0.0.0.0')"),
        (("6060",), "a port is an int, such as 6060, got '6060'"),
        ((True,), "a port is an int, such as 6060, got True"),
        ((None,), "a port is an int, such as 6060, got None"),
        ((0, None), 'a host is a str, such as "127.0.0.1", got None'),
        ((0, 6060), 'a host is a str, such as "127.0.0.1", got 6060'),
    ],
)
def test_arguments_that_are_mixed_up_say_how_to_write_it(arguments: tuple[Any, ...], text: str) -> None:
    with pytest.raises(TypeError) as caught:
        pyvars.serve(*arguments)
    assert str(caught.value).endswith(text)


@pytest.mark.parametrize("host", ["a\0b", "ä" * 70])
def test_a_host_that_is_no_name_is_refused(host: str) -> None:
    with pytest.raises(ConfigurationError, match="a name in ASCII"):
        pyvars.serve(0, host, access=anyone())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "", "example.com", "192.168.1.7", "::ffff:0.0.0.0"])
def test_an_address_that_others_can_reach_is_refused(host: str) -> None:
    with pytest.raises(ConfigurationError, match="other machines can reach"):
        pyvars.serve(0, host)


def test_ipv6_and_names_of_loopback() -> None:
    with pyvars.serve(0, "localhost") as server:
        assert get(server, "/debug/").status == 200
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        server = pyvars.serve(0, "::1")
    except OSError as error:
        pytest.skip(f"no IPv6 loopback here: {error}")
    with server:
        assert server.url == f"http://[::1]:{server.port}"
        assert httpx.get(f"{server.url}/debug/vars").status_code == 200


def test_closing_leaves_nothing_behind(registry: Registry) -> None:
    pyvars.serve(0, registry=registry).close()  # the thread that answers peers runs until the exit
    before = set(threading.enumerate())
    server = pyvars.serve(0, registry=registry)
    port = server.port
    assert {thread.name for thread in set(threading.enumerate()) - before} == {"pyvars-server"}
    keep_alive = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    keep_alive.request("GET", "/debug/vars")
    keep_alive.getresponse().read()
    server.close()
    server.close()
    keep_alive.close()
    # A thread of anyio ends shortly after its event loop.
    until(lambda: set(threading.enumerate()), lambda threads: threads <= before)
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        pass
    with pyvars.serve(port, registry=registry) as again:
        assert get(again).status == 200


def test_closing_at_once_is_fine(registry: Registry) -> None:
    for _ in range(3):
        pyvars.serve(0, registry=registry).close()


def test_signals_logging_and_the_loop_of_the_program_are_left_alone(registry: Registry) -> None:
    access, error = logging.getLogger("uvicorn.access"), logging.getLogger("uvicorn.error")
    handler = logging.NullHandler()
    access.addHandler(handler)
    try:

        def state() -> list[object]:
            return [
                [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
                [(log.handlers[:], log.level, log.propagate, log.disabled) for log in (access, error, logging.root)],
            ]

        async def main() -> None:
            loop, before = asyncio.get_running_loop(), state()
            with pyvars.serve(0, registry=registry) as server:
                assert (await asyncio.to_thread(get, server)).status == 200
                assert state() == before
            assert asyncio.get_running_loop() is loop
            assert state() == before

        asyncio.run(main())
    finally:
        access.removeHandler(handler)


def test_functions_of_the_program_run_for_it(server: Server, registry: Registry) -> None:
    registry.publish("names", lambda: threading.current_thread().name)
    until(lambda: json.loads(get(server).body)["names"], lambda name: name == "pyvars-functions")


def test_it_ends_with_the_program() -> None:
    code = """
import http.client, pyvars
server = pyvars.serve(0)
connection = http.client.HTTPConnection(server.host, server.port)
connection.request("GET", "/debug/vars")
print(connection.getresponse().status)
connection.close()
"""
    assert output(code) == "200\n"


def test_a_program_that_fails_fails_as_before() -> None:
    done = run("import pyvars; pyvars.serve(0); raise SystemExit(7)", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")
    done = run("import pyvars; pyvars.serve(0); 1 / 0", check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_a_child_that_exits_leaves_the_parents_alone() -> None:
    code = """
import http.client, os, sys, pyvars
server = pyvars.serve(0)
if os.fork() == 0:
    sys.exit(0)
status = os.waitstatus_to_exitcode(os.wait()[1])
connection = http.client.HTTPConnection(server.host, server.port)
connection.request("GET", "/debug/vars")
print(status, connection.getresponse().status)
"""
    done = run(code, check=False, PYTHONWARNINGS="")
    assert (done.returncode, done.stdout) == (0, "0 200\n"), done.stderr


def test_a_failure_to_start_gives_the_address_back(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    port = free_port()
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    with pytest.raises(RuntimeError, match="can't start"):
        pyvars.serve(port, registry=registry)
    monkeypatch.undo()
    with pyvars.serve(port, registry=registry) as server:
        assert get(server).status == 200


def test_a_response_is_one_segment(server: Server) -> None:
    """If other threads use the CPU, each send costs a wait for the GIL."""
    with socket.create_connection((server.host, server.port)) as client:
        head = f"GET /debug/vars?name=orders HTTP/1.1\r\nHost: localhost:{server.port}\r\n\r\n".encode()

        def segments() -> int:
            info = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
            return int.from_bytes(info[152:156], "little")  # tcpi_data_segs_in

        before = segments()
        for _ in range(2):
            client.sendall(head)
            answer = b""
            while not answer.endswith(b"}\n"):
                answer += client.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200")
        assert segments() - before == 2
