"""Any request, with any bytes: never an exception, and never a page for a request without access."""

import asyncio
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pyvars import Int, Registry
from pyvars.access import basic, local, networks, token
from pyvars.asgi import DebugApp, VarsMiddleware
from pyvars.wsgi import VarsMiddleware as WsgiMiddleware

TOKEN = "correct-horse-battery"
SECRET = b"31337"
REGISTRY = Registry()
REGISTRY.publish("secret", Int(31337))
REGISTRY.publish("function", lambda: 31337)

text = st.text(st.characters(max_codepoint=255), max_size=60)
pieces = st.sampled_from([*"/ // debug vars /debug/vars secret %64 %2f .. . %00 ; ? #".split(), "\x00", "\xff", "é"])
paths = st.just("/debug/vars") | st.lists(pieces, max_size=6).map("".join) | text
words = st.sampled_from([*"localhost 127.0.0.1 [::1] evil.com . : 80 @ # [ ] ,".split(), " ", "\x00", "é"])
hosts = st.just("localhost") | st.lists(words, max_size=4).map("".join)
names = st.sampled_from("x-forwarded-for forwarded via cookie accept origin x-real-ip authorization".split())
schemes = st.sampled_from(["Bearer", "bearer", "Basic", "Digest", ""])
authorizations = (
    st.tuples(schemes, st.sampled_from([" ", "  ", "\t", ""]), text)
    .map("".join)
    .filter(lambda value: TOKEN not in value)
)
methods = st.sampled_from(["GET", "GET", "HEAD", "POST", "OPTIONS", "TRACE", "get", ""]) | text
versions = st.sampled_from(["1.1", "1.1", "1.0", "2", "3", "", "0.9", "x"])
requests = st.fixed_dictionaries(
    {
        "method": methods,
        "path": paths,
        "raw_path": st.none() | paths,
        "root_path": st.sampled_from(["", "/svc", "/debug", "/debug/vars"]),
        "query": text,
        "host": st.lists(hosts, max_size=2),
        "headers": st.lists(st.tuples(names, authorizations), max_size=3),
        "version": versions,
    }
)
PLAIN = {
    "method": "GET",
    "path": "/debug/vars",
    "raw_path": None,
    "root_path": "",
    "query": "",
    "host": ["localhost"],
    "headers": [],
    "version": "1.1",
}
nearly_plain = st.tuples(requests, st.sets(st.sampled_from(sorted(PLAIN)), max_size=2)).map(
    lambda drawn: PLAIN | {field: drawn[0][field] for field in drawn[1]}
)
RULES = [local(), token(TOKEN), local() | token(TOKEN), basic("user", TOKEN), networks("10.0.0.0/8")]
LOOPBACK = re.compile(r"(?i)(localhost\.?|127(\.[0-9]{1,3}){3}\.?|\[::1\])(:[0-9]*)?")


async def own_asgi(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"own"})


def own_wsgi(environ: Any, start_response: Any) -> list[bytes]:
    start_response("404 Not Found", [])
    return [b"own"]


def latin(value: str) -> bytes:
    return value.encode("latin-1", "replace")


def over_asgi(app: Any, request: dict[str, Any], peer: Any) -> tuple[int, bytes]:
    fields = [("host", host) for host in request["host"]] + request["headers"]
    scope = {
        "type": "http",
        "method": request["method"],
        "path": request["path"],
        "raw_path": None if request["raw_path"] is None else latin(request["raw_path"]),
        "root_path": request["root_path"],
        "query_string": latin(request["query"]),
        "headers": [(latin(name), latin(value)) for name, value in fields],
        "http_version": request["version"],
        "client": (peer, 1),
        "server": ("127.0.0.1", 80),
    }
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, None, send))
    return sent[0]["status"], sent[1]["body"]


def over_wsgi(app: Any, request: dict[str, Any], peer: str) -> tuple[int, bytes]:
    environ = {
        "REQUEST_METHOD": request["method"],
        "PATH_INFO": latin(request["path"]).decode("latin-1"),
        "SCRIPT_NAME": request["root_path"],
        "QUERY_STRING": request["query"],
        "SERVER_PROTOCOL": f"HTTP/{request['version']}",
        "REMOTE_ADDR": peer,
    }
    if request["raw_path"] is not None:
        environ["RAW_URI"] = request["raw_path"]
    for name, value in [("host", ",".join(request["host"])), *request["headers"]]:
        environ["HTTP_" + name.upper().replace("-", "_")] = value
    status: list[str] = []
    body = b"".join(app(environ, lambda line, headers: status.append(line)))
    return int(status[0][:3]), body


APPS = [
    (over_asgi, [VarsMiddleware(own_asgi, registry=REGISTRY, access=rule) for rule in RULES]),
    (over_asgi, [DebugApp(REGISTRY, access=rule) for rule in RULES]),
    (over_wsgi, [WsgiMiddleware(own_wsgi, registry=REGISTRY, access=rule) for rule in RULES]),
]


@settings(deadline=None, max_examples=300)
@given(request=requests, integration=st.sampled_from(APPS), rule=st.integers(0, len(RULES) - 1))
def test_a_stranger_sees_nothing(request: dict[str, Any], integration: Any, rule: int) -> None:
    send, apps = integration
    status, body = send(apps[rule], request, "203.0.113.9")
    assert SECRET not in body
    assert status in (404, 401)
    assert body in (b"own", b"not found\n", b"unauthorized\n", b"")


def test_the_local_rule_against_a_second_opinion() -> None:
    """From a client on loopback: if it gets the page, the Host was local, and there was no forwarding header."""
    seen: list[bool] = []

    @settings(deadline=None, max_examples=500)
    @given(request=requests | nearly_plain, integration=st.sampled_from(APPS))
    def compare(request: dict[str, Any], integration: Any) -> None:
        send, apps = integration
        status, body = send(apps[0], request, "127.0.0.1")
        assert status in (200, 204, 400, 404, 405)
        seen.append(SECRET in body)
        if SECRET in body:
            assert_local(request)

    compare()
    assert True in seen
    assert False in seen


def assert_local(request: dict[str, Any]) -> None:
    assert len(request["host"]) == 1
    assert LOOPBACK.fullmatch(request["host"][0])
    assert request["version"] not in ("1.0", "0.9")
    assert not {"x-forwarded-for", "forwarded", "via", "x-real-ip"} & {name for name, _ in request["headers"]}
    assert request["method"] == "GET"
    assert "/vars" in request["path"]


@settings(deadline=None, max_examples=200)
@given(query=st.binary(max_size=200), rest=text, integration=st.sampled_from(APPS))
def test_what_a_local_program_asks_for_is_answered_or_refused(query: bytes, rest: str, integration: Any) -> None:
    send, apps = integration
    request = {"method": "GET", "raw_path": None, "root_path": "", "headers": [], "version": "1.1"}
    request |= {"host": ["localhost"], "query": query.decode("latin-1"), "path": f"/debug/vars/{rest}"}
    assert send(apps[0], request, "127.0.0.1")[0] in (200, 404)
