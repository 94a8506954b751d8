"""Hostile requests, as bytes, through every integration that they can reach.

Real servers read the bytes from a socket: the side port (uvicorn) and gunicorn. In process a harness hands them to ASGI
and WSGI as a server without any checks would, so that all of them reach the gate.
"""

import asyncio
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote, unquote_to_bytes

import pytest

import pyvars
from pyvars import Int, Registry, asgi, wsgi
from pyvars.access import local, token
from tests.conftest import log_text, until
from tests.services import free_port, service

# One process makes what all tests here share.
pytestmark = pytest.mark.xdist_group("hostile")

TOKEN = "correct-horse-battery"
SECRET = b"31337"  # the value of a variable: only the page contains it


class Answer(NamedTuple):
    status: int
    head: bytes
    body: bytes


Send = Callable[..., Answer]


def own_asgi(body: bytes = b"own") -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": body})

    return app


def own_wsgi(environ: Any, start_response: Any) -> list[bytes]:
    start_response("404 Not Found", [("Content-Length", "3")])
    return [b"own"]


def parse(request: bytes) -> tuple[str, str, str, list[tuple[str, str]]]:
    head = request.partition(b"\r\n\r\n")[0].decode("latin-1")
    line, *fields = head.split("\r\n")
    method, target, version = line.split(" ")
    return method, target, version, [(name, value.strip()) for name, _, value in (f.partition(":") for f in fields)]


def careless_asgi(registry: Registry, access: Any) -> Send:
    app = asgi.VarsMiddleware(own_asgi(), registry=registry, access=access, count=False)

    def send(request: bytes, peer: str = "127.0.0.1") -> Answer:
        method, target, version, fields = parse(request)
        path, _, query = target.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": unquote(path),
            "raw_path": path.encode("latin-1"),
            "query_string": query.encode("latin-1"),
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fields],
            "http_version": version.removeprefix("HTTP/"),
            "client": None if peer == "unix" else (peer, 1),
            "server": ("/run/x", None) if peer == "unix" else ("127.0.0.1", 80),
        }
        sent: list[Any] = []

        async def receive() -> Any:
            raise AssertionError("the body is not read")

        async def collect(message: Any) -> None:
            sent.append(message)

        asyncio.run(app(scope, receive, collect))
        head = b"\r\n".join(b": ".join(field) for field in sent[0]["headers"])
        return Answer(sent[0]["status"], head.lower(), sent[1]["body"])

    return send


def careless_wsgi(registry: Registry, access: Any) -> Send:
    app = wsgi.VarsMiddleware(own_wsgi, registry=registry, access=access, count=False)

    def send(request: bytes, peer: str = "127.0.0.1") -> Answer:
        method, target, version, fields = parse(request)
        path, _, query = target.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "RAW_URI": target,
            "QUERY_STRING": query,
            "SERVER_PROTOCOL": version,
            "REMOTE_ADDR": "" if peer == "unix" else peer,
            "wsgi.input": None,
        }
        for name, value in fields:
            key = "HTTP_" + name.upper().replace("-", "_")
            environ[key] = f"{environ[key]},{value}" if key in environ else value  # as gunicorn joins them
        status: list[Any] = []
        body = b"".join(app(environ, lambda line, headers: status.append((line, headers))))
        line, headers = status[0]
        return Answer(int(line[:3]), "\r\n".join(": ".join(field) for field in headers).lower().encode(), body)

    return send


def over_socket(address: Any, family: int = socket.AF_INET) -> Send:
    def send(request: bytes) -> Answer:
        with socket.socket(family) as connection:
            connection.settimeout(60)
            connection.connect(address)
            connection.sendall(request)
            answer = b""
            try:
                while chunk := connection.recv(65536):
                    answer += chunk
            except ConnectionResetError:  # the server refused it before it had read all
                pass
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1."), answer
        return Answer(int(head.split()[1]), head.lower(), body)

    return send


INTEGRATIONS = ("asgi", "wsgi", "side_port", "gunicorn")

GUNICORN = """
import pyvars
from pyvars import wsgi
from pyvars.access import local, token
from tests.site.test_hostile import own_wsgi
registry = pyvars.Registry()
registry.publish("secret", pyvars.Int(31337))
application = wsgi.VarsMiddleware(own_wsgi, registry=registry, access=local(), count=False)
rule = local() | token("correct-horse-battery")
with_token = wsgi.VarsMiddleware(own_wsgi, registry=registry, access=rule, count=False)
"""


@pytest.fixture(scope="module")
def gunicorn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Send]]:
    """gunicorn with the WSGI middleware: a sender for `application` or `with_token`."""
    folder = tmp_path_factory.mktemp("gunicorn")
    (folder / "hostile_app.py").write_text(GUNICORN)
    ports = {name: free_port() for name in ("application", "with_token")}
    unix = str(folder / "socket")

    def start(name: str) -> Any:
        bind = ("-b", f"127.0.0.1:{ports[name]}", "-b", f"unix:{unix}") if name == "application" else (
            "-b", f"127.0.0.1:{ports[name]}"
        )  # fmt: skip
        options = ("--threads", "4", "--log-level", "critical", "--pythonpath", str(folder))
        return service("gunicorn", *bind, *options, f"hostile_app:{name}", ready=ports[name])

    with start("application"), start("with_token"):
        yield (
            lambda name: (
                over_socket(unix, socket.AF_UNIX) if name == "unix" else over_socket(("127.0.0.1", ports[name]))
            )
        )


@pytest.fixture(params=INTEGRATIONS)
def integration(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def connect(integration: str, request: pytest.FixtureRequest, registry: Registry) -> Iterator[Callable[..., Send]]:
    """A sender through the integration, under `local()` or with a token too."""
    registry.publish("secret", Int(31337))
    servers: list[Any] = []

    def connect(*, with_token: bool = False) -> Send:
        access = local() | token(TOKEN) if with_token else local()
        if integration == "asgi":
            return careless_asgi(registry, access)
        if integration == "wsgi":
            return careless_wsgi(registry, access)
        if integration == "gunicorn":
            start: Callable[[str], Send] = request.getfixturevalue("gunicorn")
            return start("with_token" if with_token else "application")
        server = pyvars.serve(0, registry=registry, access=access)
        servers.append(server)
        return over_socket((server.host, server.port))

    yield connect
    for server in servers:
        server.close()


def get(target: str = "/debug/vars", *fields: str, host: str | None = "localhost", version: str = "1.1") -> bytes:
    hosts = [] if host is None else [f"Host: {host}"]
    return "\r\n".join([f"GET {target} HTTP/{version}", *hosts, *fields, "Connection: close", "", ""]).encode("latin-1")


def assert_page(answer: Answer) -> None:
    assert answer.status == 200
    assert json.loads(answer.body)["secret"] == 31337


def assert_nothing(answer: Answer, *statuses: int) -> None:
    assert answer.status in statuses
    assert SECRET not in answer.body
    assert b"memstats" not in answer.body
    assert b"access-control" not in answer.head


# Rows 1 to 7, 9: the rule `local`. A server may refuse a request itself, with 400.
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.com",
        "localhost.evil.com",
        "evil.com#127.0.0.1",
        "user@127.0.0.1",
        "127.0.0.1, x",
    ],
)
def test_a_host_that_is_not_this_machine(connect: Callable[..., Send], host: str) -> None:
    assert_nothing(connect()(get(host=host)), 404, 400)


@pytest.mark.parametrize("host", ["LOCALHOST:8000", "localhost.", "[::1]:8000", "127.0.0.1:1", "[::ffff:127.0.0.1]"])
def test_hosts_of_this_machine(connect: Callable[..., Send], host: str) -> None:
    assert_page(connect()(get(host=host)))


def test_a_host_that_is_missing_or_empty(connect: Callable[..., Send], integration: str) -> None:
    """Over a unix socket, too: nginx sends such requests there for clients that sent no Host."""
    send = connect()
    for version in ("1.0", "1.1"):
        for host in (None, ""):
            assert_nothing(send(get(host=host, version=version)), 404, 400)
            if integration in ("asgi", "wsgi"):
                assert_nothing(send(get(host=host, version=version), peer="unix"), 404)
                assert_page(send(get(), peer="unix"))


def test_a_unix_socket_of_gunicorn(gunicorn: Callable[[str], Send]) -> None:
    send = gunicorn("unix")
    assert_page(send(get()))
    assert_nothing(send(get(host=None, version="1.0")), 404)
    assert_nothing(send(get(version="1.0")), 404)
    assert_nothing(send(get(host="evil.example")), 404)
    assert_nothing(send(get("/debug/vars", "X-Forwarded-For: 127.0.0.1")), 404)


def test_two_hosts(connect: Callable[..., Send]) -> None:
    assert_nothing(connect()(get("/debug/vars", "Host: localhost")), 404, 400)


def test_an_absolute_uri(connect: Callable[..., Send]) -> None:
    for host in ("localhost", "evil.example"):
        assert_nothing(connect()(get("http://127.0.0.1/debug/vars", host=host)), 404, 400)


@pytest.mark.parametrize("name", ["X-Forwarded-For", "X-Forwarded-Host", "Forwarded", "X-Real-IP", "Via"])
def test_a_forwarded_request(connect: Callable[..., Send], name: str) -> None:
    assert_nothing(connect()(get("/debug/vars", f"{name}: 127.0.0.1")), 404)
    assert_page(connect(with_token=True)(get("/debug/vars", f"{name}: 127.0.0.1", f"Authorization: Bearer {TOKEN}")))


def test_http_1_0(connect: Callable[..., Send]) -> None:
    assert_nothing(connect()(get(version="1.0")), 404)


# Rows 8, 10 to 13: credentials, with a Host that is not local.
@pytest.mark.parametrize(
    "value",
    [
        *("Bearer \xe9\xff", "Bearer", f"Bearer  {TOKEN}", "Bearer x", "bearer x", f"Digest {TOKEN}", TOKEN),
        *("Basic", "Basic !", "Basic Og==", "Basic dXNlcjp3cm9uZw==", "Bearer " + "x" * 60_000, f"Bearer {TOKEN}\x01"),
    ],
)
def test_a_wrong_credential(connect: Callable[..., Send], value: str) -> None:
    """The server refuses headers that are too long or hold control characters."""
    answer = connect(with_token=True)(get("/debug/vars", f"Authorization: {value}", host="shop.example"))
    assert_nothing(answer, 401, 400, 431)
    if answer.status == 401:
        assert b"www-authenticate: bearer" in answer.head
    else:
        assert len(value) > 8000 or "\x01" in value


def test_two_authorizations(connect: Callable[..., Send]) -> None:
    both = (f"Authorization: Bearer {TOKEN}", f"Authorization: Bearer {TOKEN}")
    assert_nothing(connect(with_token=True)(get("/debug/vars", *both, host="shop.example")), 401, 400)


def test_a_token_in_the_query(connect: Callable[..., Send]) -> None:
    answer = connect(with_token=True)(get(f"/debug/vars?token={TOKEN}", host="shop.example"))
    assert_nothing(answer, 401)
    assert TOKEN.encode() not in answer.head + answer.body


# Rows 14 to 17: origins and methods.
def test_another_origin_gets_neither_the_page_nor_a_cors_header(connect: Callable[..., Send]) -> None:
    send, send_with_token = connect(), connect(with_token=True)
    origin = "Origin: https://evil.example"
    credential = f"Authorization: Bearer {TOKEN}"
    preflight = get("/debug/vars", origin, "Access-Control-Request-Method: GET").replace(b"GET", b"OPTIONS", 1)
    assert_nothing(send(get("/debug/vars", origin)), 404)
    assert_nothing(send(preflight), 404)
    assert_nothing(send_with_token(preflight), 401)
    for method, status in (("GET", 200), ("OPTIONS", 204)):
        answer = send_with_token(get("/debug/vars", origin, credential).replace(b"GET", method.encode(), 1))
        assert answer.status == status
        assert b"access-control" not in answer.head
    assert_page(send(get("/debug/vars", "Origin: http://localhost")))


def test_what_browsers_say_of_other_sites(connect: Callable[..., Send]) -> None:
    """A page of another site can make a browser send requests to localhost; a user may also follow a link."""
    send = connect()
    link = ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")
    for site in ("same-origin", "none"):
        assert_page(
            send(get("/debug/vars", f"Sec-Fetch-Site: {site}", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"))
        )
    for site in ("cross-site", "same-site", "", "unknown", "same-origin, cross-site"):
        said = f"Sec-Fetch-Site: {site}"
        assert_page(send(get("/debug/vars", said, *link)))
        for foreign in (
            (said,),
            (said, "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"),
            (said, "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"),
            (said, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"),
            (said, "Sec-Fetch-Mode: navigate"),
            (said, "Sec-Fetch-Dest: document"),
            (said, "Sec-Purpose: prefetch", *link),
            (said, "Sec-Fetch-Site: same-origin"),
            (said, "Origin: http://localhost", *link),
            (said, "Origin: null", *link),
        ):
            assert_nothing(send(get("/debug/vars", *foreign)), 404)
        assert_nothing(send(get("/debug/vars", said, *link).replace(b"GET", b"HEAD", 1)), 404)
    assert_nothing(send(get("/debug/vars", "Sec-Fetch-User: ?1")), 404)
    for origin in ("null", "", "http://localhost:3000", "http://localhost.evil.example", "file://", "localhost"):
        assert_nothing(send(get("/debug/vars", f"Origin: {origin}")), 404)


def test_head(connect: Callable[..., Send]) -> None:
    send = connect()
    page, head = send(get()), send(get().replace(b"GET", b"HEAD", 1))
    assert (head.status, head.body) == (200, b"")
    length = re.search(rb"content-length: (\d+)", head.head)
    assert length
    assert int(length[1]) == len(page.body)
    refused = send(get(host="evil.example").replace(b"GET", b"HEAD", 1))
    assert (refused.status, refused.body.removeprefix(b"own")) == (404, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "get", "FOO", "PROPFIND"])
def test_other_methods(connect: Callable[..., Send], method: str) -> None:
    request = get("/debug/vars", "X-Echo: 12345", "Content-Length: 0").replace(b"GET", method.encode(), 1)
    answer = connect()(request)
    assert_nothing(answer, 405, 400)  # gunicorn refuses a method in lower case
    assert b"12345" not in answer.head + answer.body
    if answer.status == 405:
        assert b"allow: get, head, options" in answer.head
    else:
        assert method == "get"


def test_an_endless_body_is_not_read(registry: Registry) -> None:
    with pyvars.serve(0, registry=registry) as server, socket.create_connection((server.host, server.port)) as sock:
        sock.settimeout(60)
        sock.sendall(
            b"POST /debug/vars HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
        )
        assert sock.recv(65536).startswith(b"HTTP/1.1 405 ")


# Rows 18, 19: other spellings of the path.
@pytest.mark.parametrize(
    "target",
    [
        *("//debug/vars", "/debug//vars", "/debug/vars%00", "/debug/vars%ff", "/debug/%2e%2e/debug/vars"),
        *("/debug%2fvars", "/%64ebug/vars", "/DEBUG/VARS", "/debug/vars;x", "/debug/../debug/vars", "/./debug/vars"),
        *("/debug/vars%2f", "/debug/vars%3Fx"),
    ],
)
def test_other_spellings_of_the_path(connect: Callable[..., Send], target: str, integration: str) -> None:
    answer = connect()(get(target))
    assert_nothing(answer, 404, 400)
    if answer.status == 404:
        assert answer.body == (b"not found\n" if integration == "side_port" else b"own")


def test_a_slash_at_the_end(connect: Callable[..., Send]) -> None:
    assert_page(connect()(get("/debug/vars/")))


# Rows 20, 21: queries.
def test_queries_out_of_bounds(connect: Callable[..., Send]) -> None:
    send = connect()
    assert_page(send(get("/debug/vars?" + "&".join(f"name=x{n}" for n in range(63)) + "&name=secret")))
    assert_nothing(send(get("/debug/vars?" + "&".join(f"name=x{n}" for n in range(65)))), 400)
    for size in (5_000, 100_000):
        answer = send(get("/debug/vars?name=" + "x" * size))
        assert_nothing(answer, 400, 414)
        assert b"xxxx" not in answer.body


@pytest.mark.parametrize(
    "query", ["name=(a%2B)%2B$", "name=%ff", "name=../..", "name=%00", "name=%F0%9F%98%80", "%", "&&="]
)
def test_odd_queries(connect: Callable[..., Send], query: str) -> None:
    answer = connect()(get(f"/debug/vars?{query}"))
    assert answer.status == 200
    assert json.loads(answer.body) == ({} if "name" in query else {"secret": 31337})


def test_nothing_of_a_request_is_echoed(connect: Callable[..., Send]) -> None:
    send = connect()
    for request in (
        get("/debug/vars/echoecho"),
        get("/debug/vars?name=echoecho"),
        get("/debug/vars/x?echoecho"),
        get("/debug/vars", "Cookie: echoecho", "User-Agent: echoecho", host="echoecho"),
    ):
        answer = send(request)
        assert b"echoecho" not in answer.head + answer.body


def test_security_headers_on_every_answer_of_ours(connect: Callable[..., Send]) -> None:
    send, guarded = connect(), connect(with_token=True)
    answers = [
        send(get()),
        send(get("/debug/vars/secret")),
        send(get("/debug/vars/nothing")),
        send(get("/debug/vars?" + "name=x&" * 65)),
        send(get().replace(b"GET", b"OPTIONS", 1)),
        send(get("/debug/vars", "Content-Length: 0").replace(b"GET", b"POST", 1)),
        guarded(get(host="shop.example")),
    ]
    assert [answer.status for answer in answers] == [200, 200, 404, 400, 204, 405, 401]
    for answer in answers:
        for header in (
            b"cache-control: no-store",
            b"x-content-type-options: nosniff",
            b"content-security-policy: default-src 'none'; frame-ancestors 'none'",
            b"referrer-policy: no-referrer",
            b"x-robots-tag: noindex",
        ):
            assert header in answer.head
        for absent in (b"access-control", b"server: uvicorn", b"set-cookie"):
            assert absent not in answer.head


# Row 24: floods and slow readers.
class BrokenRegistry(Registry):
    """A registry whose methods raise."""

    def get(self, name: str) -> Any:
        raise LookupError(TOKEN)


def test_a_view_that_raises_is_an_answer_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    registry = BrokenRegistry()
    registry.publish("secret", Int(31337))
    with pyvars.serve(0, registry=registry) as server:
        ways = (
            careless_asgi(registry, local()),
            careless_wsgi(registry, local()),
            over_socket((server.host, server.port)),
        )
        for send in ways:
            answer = send(get("/debug/vars/secret"))
            assert (answer.status, answer.body) == (500, b"internal error; see the log\n")
            for header in (b"cache-control: no-store", b"default-src 'none'", b"nosniff", b"noindex", b"no-referrer"):
                assert header in answer.head
            assert_page(send(get()))
    assert "could not answer a request for Vars" in log_text(caplog)


def test_two_hundred_scrapes_at_once(registry: Registry) -> None:
    """At most two pages are rendered at once; a request without a slot in time gets 503; memory stays bounded."""
    rendering, most = [], [0]
    lock = threading.Lock()

    def slow() -> int:
        with lock:
            rendering.append(1)
            most[0] = max(most[0], len(rendering))
        time.sleep(0.02)
        with lock:
            rendering.pop()
        return 1

    registry.publish("slow", slow)
    answers: list[Answer] = []
    with pyvars.serve(0, registry=registry) as server:
        send = over_socket((server.host, server.port))
        send(get())
        threads = [threading.Thread(target=lambda: answers.append(send(get()))) for _ in range(200)]
        before = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - before
        assert send(get()).status == 200
    assert {answer.status for answer in answers} <= {200, 503}
    assert any(answer.status == 200 for answer in answers)
    for answer in answers:
        assert answer.status == 200 or b"retry-after: 1" in answer.head
    assert most[0] == 1  # never two calls of one function at once
    assert seconds < 60


def test_a_slow_reader_holds_no_place(registry: Registry) -> None:
    """With a hundred clients that do not read their responses, the next client gets the page."""
    for number in range(20_000):
        registry.publish(f"counter_{number:06}", Int(number))
    with pyvars.serve(0, registry=registry) as server:
        readers = []
        for _ in range(100):
            reader = socket.create_connection((server.host, server.port))
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.sendall(get())
            readers.append(reader)
        send = over_socket((server.host, server.port))
        try:
            for _ in range(5):  # their pages may be being rendered
                answer = until(lambda: send(get("/debug/vars/counter_000007")), lambda answer: answer.status != 503)
                assert (answer.status, answer.body) == (200, b"7\n")
        finally:
            for reader in readers:
                reader.close()


def test_the_command_line_never_shows_arguments_by_default(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows 36, 36b: `cmdline` is only the name of the program; test_builtins.py tests the redacted one."""
    monkeypatch.setattr(sys, "argv", ["/srv/shop.py", "--token", "secret"])
    pyvars.runtime.install(registry, only=["cmdline"])
    assert registry.snapshot() == {"cmdline": ["shop.py"]}
