"""Event streams, long responses and WebSockets are not part of the latency."""

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from pyvars import Registry, wsgi
from pyvars.asgi import CountRequests, DebugApp, Traffic, VarsMiddleware
from pyvars.prometheus import PyvarsCollector
from pyvars.site.default import debug
from pyvars.traffic.in_flight import requests_in_flight
from tests.conftest import local_request
from tests.integrations.test_asgi import http_scope
from tests.traffic.test_asgi import DISCONNECT, START, ask, hello, send_to
from tests.traffic.test_wsgi import Server, raises

pytestmark = pytest.mark.usefixtures("both_kinds")

PART = {"type": "http.response.body", "body": b"data: x\n\n", "more_body": True}
LAST = {"type": "http.response.body", "body": b""}


def level(registry: Registry) -> tuple[int, int, int]:
    """The numbers of requests in flight, open streams and open WebSockets."""
    http: Any = registry["http"].snapshot()
    assert http["in_flight"] == requests_in_flight()
    return http["in_flight"], http["streams"]["open"], http["websockets"]["open"]


def ended(registry: Registry) -> tuple[int, int, int, int]:
    """The numbers of ended requests, of those in the latency, of ended streams and ended WebSockets."""
    http: Any = registry["http"].snapshot()
    assert level(registry) == (0, 0, 0)
    assert http["requests"] == http["seconds"]["count"] + http["streams"]["seconds"]["count"]
    assert http["seconds"]["count"] == sum(each["count"] for each in http["seconds_by_route"].values())
    assert http["requests"] == sum(http["by_route"].values()) == sum(http["by_status"].values())
    counts = [http[each]["seconds"]["count"] for each in ("streams", "websockets")]
    return http["requests"], http["seconds"]["count"], counts[0], counts[1]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request counts as long."""
    monkeypatch.setattr("pyvars.traffic.recorder.LONG_SECONDS", -1.0)


EVENTS = [
    [(b"content-type", b"text/event-stream")],
    [(b"cache-control", b"no-store"), (b"content-type", b"text/event-stream; charset=utf-8")],
    [(b"Content-Type", b"Text/Event-Stream;charset=utf-8")],
    ((b"content-type", b" text/event-stream"),),
    [[b"content-type", b"text/event-stream"]],
]
NO_EVENTS: list[Any] = [
    [],
    [(b"content-type", b"text/plain")],
    [(b"x-type", b"text/event-stream")],
    [(b"content-length", b"3"), (b"content-type", b"text/html")],
    [(b"x", b"y")],
    [3],
    None,
]


@pytest.mark.parametrize("headers", [*EVENTS, *NO_EVENTS])
def test_an_event_stream(registry: Registry, headers: Any) -> None:
    stream = headers in EVENTS
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(level(registry))
        await send({**START, "headers": headers})
        seen.append(level(registry))  # the first event may come late
        await send(PART)
        seen.append(level(registry))
        await send(LAST)
        seen.append(level(registry))

    ask(CountRequests(app, registry=registry))
    opened = (0, 1, 0) if stream else (1, 0, 0)
    assert seen == [(1, 0, 0), opened, opened, (0, 0, 0)]
    assert ended(registry) == (1, 0, 1, 0) if stream else (1, 1, 0, 0)
    http: Any = registry["http"].snapshot()
    assert (http["bytes_out"], http["first_byte_seconds"]["count"]) == (9, 1)


def test_headers_that_can_be_read_only_once_are_the_servers(registry: Registry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({**START, "headers": iter(EVENTS[0])})
        await send(LAST)

    sent = ask(CountRequests(app, registry=registry))
    assert [*sent[0]["headers"]] == EVENTS[0]


def test_an_application_that_begins_twice(registry: Registry) -> None:
    """And an application that has answered, and then calls pyvars, which answers again."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({**START, "headers": EVENTS[0]})
        await send({**START, "headers": EVENTS[0]})
        assert level(registry) == (0, 1, 0)
        await send(LAST)
        await send({**START, "headers": EVENTS[0]})
        await DebugApp(Registry())(scope, receive, send)

    ask(CountRequests(app, registry=registry))
    assert ended(registry) == (1, 0, 1, 0)


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError, None])
def test_an_event_stream_that_ends_otherwise(registry: Registry, error: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({**START, "headers": EVENTS[0]})
        await send(PART)
        if error:
            raise error
        await receive()

    with suppress(ValueError, asyncio.CancelledError):
        ask(CountRequests(app, registry=registry), messages=[DISCONNECT])
    assert ended(registry) == (1, 0, 1, 0)
    http: Any = registry["http"].snapshot()
    assert http["errors"] == (error is not None)


def test_what_is_open_for_long_is_a_stream(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    for module in ("asgi", "in_flight", "recorder"):
        monkeypatch.setattr(f"pyvars.traffic.{module}.perf_counter", lambda: now)
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal now
        await send(START)
        for _ in range(4):
            now += 4
            await send(PART)
            seen.append(level(registry))
        await send(LAST)

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        nonlocal now
        now += 11
        await send(START)
        await send(LAST)

    ask(CountRequests(app, registry=registry))
    assert seen == [(1, 0, 0), (1, 0, 0), (0, 1, 0), (0, 1, 0)]
    assert ended(registry) == (1, 0, 1, 0)
    http: Any = registry["http"]
    assert http["first_byte_seconds"]["sum"] == 4
    assert http["streams"]["seconds"]["sum"] == 16
    ask(CountRequests(slow, registry=registry))
    assert ended(registry) == (2, 0, 2, 0)
    assert http["first_byte_seconds"]["sum"] == 4 + 11


def test_a_stream_of_starlette_that_is_left_out(registry: Registry) -> None:
    seen: list[Any] = []

    async def events(request: Any) -> StreamingResponse:
        async def parts() -> Any:
            yield "data: 1\n\n"
            seen.append(level(registry))
            yield "data: 2\n\n"

        return StreamingResponse(parts(), media_type="text/event-stream")

    app = Starlette(routes=[Route("/events/{id}", events), Mount("/debug", DebugApp(registry))])
    for exclude in ((), ("/events/{id}",), ("/events/",)):
        ask(CountRequests(app, registry=registry, count=Traffic(exclude=exclude)), "/events/1")
    assert seen == [(0, 1, 0), (0, 0, 0), (0, 0, 0)]
    assert ended(registry) == (1, 0, 1, 0)


# WebSockets


def connect(app: Any, *messages: Any, path: str = "/ws") -> list[Any]:
    waiting, sent = [{"type": "websocket.connect"}, *messages], []

    async def receive() -> Any:
        if waiting:
            return waiting.pop(0)
        await asyncio.sleep(60)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {**http_scope(path), "type": "websocket"}
    del scope["method"]
    asyncio.run(app(scope, receive, send))
    return sent


TEXT = {"type": "websocket.receive", "text": "hello"}
LEAVES = {"type": "websocket.disconnect", "code": 1001}


def chat(registry: Registry, seen: list[Any], then: Any = None) -> Starlette:
    async def echo(socket: WebSocket) -> None:
        seen.append(level(registry))
        await socket.accept()
        seen.append(level(registry))
        try:
            while True:
                await socket.send_text(await socket.receive_text())
                await socket.send_text("and more")
                if then:
                    await then(socket)
        except WebSocketDisconnect:
            seen.append(level(registry))

    return Starlette(routes=[WebSocketRoute("/ws", echo), Route("/", hello), WebSocketRoute("/rooms/{id}", echo)])


def messages(registry: Registry) -> tuple[int, int]:
    found: Any = registry["http"].snapshot()
    return found["websockets"]["messages_in"], found["websockets"]["messages_out"]


def test_a_websocket_whose_client_leaves(registry: Registry) -> None:
    seen: list[Any] = []
    app = CountRequests(chat(registry, seen), registry=registry)
    assert len(connect(app, TEXT, TEXT, LEAVES)) == 5
    assert seen == [(1, 0, 0), (0, 0, 1), (0, 0, 0)]
    assert ended(registry) == (0, 0, 0, 1)
    assert messages(registry) == (2, 4)


def test_a_websocket_is_no_request_of_the_worker(registry: Registry) -> None:
    """`requests` in /debug/workers."""
    with_asgi = VarsMiddleware(chat(registry, []), registry=registry)
    with_wsgi = wsgi.VarsMiddleware(lambda environ, start: start("101 Switching", []) and [], registry=registry)

    def requests() -> int:
        body = debug(registry, None, prefix="/debug").respond(local_request("/debug/workers")).body
        return next(row["requests"] for row in json.loads(body)["workers"] if row["pid"] == os.getpid())

    before = requests()
    connect(with_asgi, TEXT, LEAVES)
    Server(with_wsgi).ask("/ws", HTTP_UPGRADE="WebSocket")
    assert requests() == before
    ask(with_asgi, "/")
    Server(with_wsgi).ask("/")
    assert requests() == before + 2


def test_a_websocket_counts_once(registry: Registry) -> None:
    other = Registry()
    app: Any = chat(registry, [])
    for each in (registry, other, registry, other):
        app = CountRequests(app, registry=each)
    connect(app, TEXT, LEAVES)
    for each in (registry, other):
        http: Any = each["http"].snapshot()
        assert (http["websockets"]["seconds"]["count"], http["websockets"]["open"], http["in_flight"]) == (1, 0, 0)
        assert messages(each) == (1, 2)


async def closes(socket: WebSocket) -> None:
    await socket.close()
    with suppress(RuntimeError):
        await socket.send_text("too late")
    raise WebSocketDisconnect


async def fails(socket: WebSocket) -> None:
    raise ZeroDivisionError


async def is_cancelled(socket: WebSocket) -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize("then", [closes, fails, is_cancelled])
def test_a_websocket_that_the_application_ends(registry: Registry, then: Any) -> None:
    app = CountRequests(chat(registry, [], then), registry=registry)
    with suppress(ZeroDivisionError, asyncio.CancelledError):
        connect(app, TEXT, LEAVES)
    assert ended(registry) == (0, 0, 0, 1)
    assert messages(registry) == (1, 2)


def test_a_websocket_that_is_refused_is_a_request(registry: Registry) -> None:
    async def denies(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"no", "more_body": True})
        await send({"type": "websocket.http.response.body"})

    async def returns(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    async def gives_up(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        assert (await receive())["type"] == "websocket.disconnect"

    connect(CountRequests(chat(registry, []), registry=registry), path="/none")
    for app in (denies, returns, gives_up):
        connect(CountRequests(app, registry=registry), LEAVES)
    http: Any = registry["http"].snapshot()
    assert http["by_status"] == {"4xx": 2, "499": 1, "5xx": 1}
    assert http["by_method"] == {"GET": 4}
    assert (http["errors"], http["bytes_out"]) == (1, 2)
    assert ended(registry) == (4, 4, 0, 0)


@pytest.mark.parametrize("exclude", ["/rooms/", "/rooms/{id}", "/rooms/3"])
def test_a_websocket_that_is_left_out(registry: Registry, exclude: str) -> None:
    seen: list[Any] = []
    app = CountRequests(chat(registry, seen), registry=registry, count=Traffic(exclude=(exclude,)))
    connect(app, TEXT, LEAVES, path="/rooms/3")
    assert seen[1:] == [(0, 0, 0), (0, 0, 0)]
    assert (ended(registry), messages(registry)) == ((0, 0, 0, 0), (0, 0))


def test_messages_out_of_order_do_no_harm(registry: Registry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})
        await send({"type": "websocket.close"})
        await send({"type": "websocket.accept"})
        for _ in range(3):
            await receive()
        await send({"type": "something.new"})

    connect(CountRequests(app, registry=registry), TEXT, LEAVES)
    assert (ended(registry), messages(registry)) == ((0, 0, 0, 1), (0, 0))


def test_a_websocket_to_pyvars_counts_nowhere(registry: Registry) -> None:
    app = CountRequests(Starlette(routes=[Mount("/debug", DebugApp(registry))]), registry=registry)
    assert connect(app, path="/debug/vars")[-1]["type"] == "websocket.close"
    assert ended(registry) == (0, 0, 0, 0)


# WSGI


def events(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("X", "y"), ("Content-Type", "text/event-stream; charset=utf-8")])
    return iter([b"", b"data: 1\n\n", b"data: 2\n\n"])


def late_events(environ: Any, start_response: Any) -> Iterator[bytes]:
    yield from events(environ, start_response)


def route_of_events(environ: Any, start_response: Any) -> Iterator[bytes]:
    environ["pyvars.route"] = "/events/{id}"
    return events(environ, start_response)


@pytest.mark.parametrize("app", [events, late_events])
def test_an_event_stream_of_wsgi(registry: Registry, app: Any) -> None:
    for exclude in ((), ("/events",)):
        counting = wsgi.CountRequests(app, registry=registry, count=Traffic(exclude=exclude))
        body: Any = Server(counting).call("/events")
        parts = iter(body)
        assert next(parts) == b""
        assert next(parts) == b"data: 1\n\n"
        assert level(registry) == (0, not exclude, 0)
        for close in (body, body):
            getattr(close, "close", lambda: None)()
    assert ended(registry) == (1, 0, 1, 0)
    http: Any = registry["http"].snapshot()
    assert (http["first_byte_seconds"]["count"], http["bytes_out"]) == (1, 9)


def test_an_event_stream_of_wsgi_that_is_left_out_by_its_template(registry: Registry) -> None:
    counting = wsgi.CountRequests(route_of_events, registry=registry, count=Traffic(exclude=("/events/{id}",)))
    body: Any = Server(counting).call("/events/3")
    assert level(registry) == (0, 0, 0)
    assert b"".join(body) == b"data: 1\n\ndata: 2\n\n"
    body.close()
    assert ended(registry) == (0, 0, 0, 0)


@pytest.mark.usefixtures("at_once")
def test_what_is_open_for_long_of_wsgi(registry: Registry) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        write = start_response("200 OK", [])
        write(b"one")
        assert level(registry) == (0, 1, 0)
        return iter([b"two"])

    assert Server(wsgi.CountRequests(app, registry=registry)).ask() == b"onetwo"
    assert ended(registry) == (1, 0, 1, 0)


def takes_the_socket(environ: Any, start_response: Any) -> list[bytes]:
    return []


def says_200(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "0")])
    return [b""]


def says_101(environ: Any, start_response: Any) -> list[bytes]:
    start_response("101 Switching Protocols", [])
    return []


def is_closed(environ: Any, start_response: Any) -> list[bytes]:
    raise StopIteration  # as flask-sock does under gunicorn


def has_no_such_page(environ: Any, start_response: Any) -> list[bytes]:
    start_response("404 Not Found", [])
    return []


def says_hello(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"hello"]


def redirects(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("308 Permanent Redirect", [])
    yield b""


@pytest.mark.parametrize("upgrade", ["websocket", "WebSocket", " websocket"])
@pytest.mark.parametrize(
    ("app", "websocket"),
    [
        (takes_the_socket, True),
        (says_200, True),
        (says_101, True),
        (is_closed, True),
        (has_no_such_page, False),
        (says_hello, False),
        (redirects, False),
    ],
)
def test_an_upgrade_to_a_websocket_of_wsgi(registry: Registry, app: Any, websocket: bool, upgrade: str) -> None:
    def watched(environ: Any, start_response: Any) -> Any:
        assert level(registry) == (0, 0, 1)
        return app(environ, start_response)

    with suppress(StopIteration):
        Server(wsgi.CountRequests(watched, registry=registry)).ask("/ws", HTTP_UPGRADE=upgrade)
    assert ended(registry) == ((0, 0, 0, 1) if websocket else (1, 1, 0, 0))
    http: Any = registry["http"].snapshot()
    assert http["errors"] == 0


def test_other_upgrades_of_wsgi_are_requests(registry: Registry) -> None:
    app = wsgi.CountRequests(raises, registry=registry)
    with suppress(ValueError):
        Server(app).ask("/", HTTP_UPGRADE="h2c")
    assert ended(registry) == (1, 1, 0, 0)


@pytest.mark.parametrize("exclude", ["/ws", "/ws/{id}"])
def test_an_upgrade_of_wsgi_that_is_left_out(registry: Registry, exclude: str) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        environ["pyvars.route"] = "/ws/{id}"
        return says_200(environ, start_response)

    counting = wsgi.CountRequests(app, registry=registry, count=Traffic(exclude=(exclude,)))
    Server(counting).ask("/ws", HTTP_UPGRADE="websocket")
    assert ended(registry) == (0, 0, 0, 0)


def test_an_answer_of_pyvars_to_an_upgrade(registry: Registry) -> None:
    app = wsgi.CountRequests(wsgi.DebugApp(registry), registry=registry)
    Server(app).ask("/vars", HTTP_UPGRADE="websocket")
    assert ended(registry) == (0, 0, 0, 0)


def test_their_names_for_prometheus(registry: Registry) -> None:
    asyncio.run(send_to(CountRequests(Starlette(routes=[Route("/", hello)]), registry=registry)))
    names = {family.name for family in PyvarsCollector(registry).collect()}
    assert {
        "http_first_byte_seconds",
        "http_streams_open",
        "http_streams_seconds",
        "http_websockets_open",
        "http_websockets_seconds",
        "http_websockets_messages_in",
        "http_websockets_messages_out",
    } <= names
