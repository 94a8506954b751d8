"""The counts of the ASGI middlewares."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import import_module
from typing import Any

import pytest
from django.core.asgi import get_asgi_application
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Host, Mount, Route, Router
from starlette.staticfiles import StaticFiles

import pyvars
from pyvars import DuplicateNameError, Histogram, Int, Map, PyvarsWarning, Registry
from pyvars.asgi import CountRequests, VarsMiddleware
from tests.conftest import log_text
from tests.integrations.every import OWN
from tests.integrations.test_asgi import Application, http_scope

pytestmark = pytest.mark.usefixtures("both_kinds")

START = {"type": "http.response.start", "status": 200, "headers": []}
DISCONNECT = {"type": "http.disconnect"}


def shown(registry: Registry) -> Any:
    """The variable on the page, without the seconds, which are checked here."""
    http: Any = registry["http"].snapshot()
    seconds, by_route = http.pop("seconds"), http.pop("seconds_by_route")
    first, streams, websockets = http.pop("first_byte_seconds"), http.pop("streams"), http.pop("websockets")
    assert first["count"] == http["requests"] - http["by_status"].get("499", 0)
    assert (streams["open"], streams["seconds"]["count"]) == (0, 0)
    assert (websockets["open"], websockets["seconds"]["count"]) == (0, 0)
    assert seconds["count"] == http["requests"]
    assert {route: each["count"] for route, each in by_route.items()} == http["by_route"]
    assert sum(http["by_method"].values()) == sum(http["by_status"].values()) == http["requests"]
    return http


def routes(registry: Registry) -> dict[str, int]:
    found: dict[str, int] = shown(registry)["by_route"]
    return found


async def send_to(app: Any, path: str = "/", method: str = "GET", messages: Any = (), **changes: Any) -> list[Any]:
    """The messages that the application sends to a server, which has `messages` for it and then waits."""
    waiting, sent = list(messages), []

    async def receive() -> Any:
        if waiting:
            return waiting.pop(0)
        await asyncio.sleep(60)

    async def send(message: Any) -> None:
        sent.append(message)

    await app(http_scope(path, method=method, **changes), receive, send)
    return sent


def ask(app: Any, *args: Any, **kwargs: Any) -> list[Any]:
    return asyncio.run(send_to(app, *args, **kwargs))


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse(OWN)


def test_what_is_counted(registry: Registry) -> None:
    app = CountRequests(Starlette(routes=[Route("/items/{id}", hello)]), registry=registry)
    for number in range(3):
        ask(app, f"/items/{number}")
    ask(app, "/nothing")
    size = 3 * len(OWN) + len("Not Found")
    assert shown(registry) == {
        "requests": 4,
        "errors": 0,
        "in_flight": 0,
        "bytes_out": size,
        "by_method": {"GET": 4},
        "by_status": {"2xx": 3, "4xx": 1},
        "by_route": {"/items/{id}": 3, "unmatched": 1},
    }
    assert registry.metadata("http").help


def test_the_page_has_it_and_is_not_in_it(registry: Registry, page: Callable[..., Any]) -> None:
    app = VarsMiddleware(Starlette(routes=[Route("/", hello)]), registry=registry)
    ask(app)
    for path in ("/debug/vars", "/debug/vars/", "/debug/vars/http", "/debug/workers"):
        assert ask(app, path, messages=[DISCONNECT])[0]["status"] == 200
    assert page()["http"]["requests"] == 1
    assert ask(app, "/debug/vars", client=("10.0.0.1", 1))[0]["status"] == 404  # the application's own
    assert page()["http"]["by_status"] == {"2xx": 1, "4xx": 1}


def test_each_half_exists_alone(registry: Registry) -> None:
    app = Starlette(routes=[Route("/", hello)])
    assert ask(VarsMiddleware(app, registry=registry, count=False), "/debug/vars")[0]["status"] == 200
    ask(VarsMiddleware(app, registry=registry, count=False))
    assert "http" not in registry
    assert ask(CountRequests(app, registry=registry), "/debug/vars")[0]["status"] == 404
    assert routes(registry) == {"unmatched": 1}


def test_the_default_registry_is_the_default() -> None:
    app = Starlette(routes=[Route("/", hello)])
    ask(CountRequests(app))
    ask(VarsMiddleware(app))
    assert shown(pyvars.default_registry)["requests"] == 2


def test_middlewares_of_one_registry_share_what_they_count(registry: Registry) -> None:
    for _ in range(2):
        ask(VarsMiddleware(Starlette(routes=[Route("/", hello)]), registry=registry))
    assert routes(registry) == {"/": 2}


@pytest.mark.parametrize("kind", ["map", "int"])
def test_what_the_program_publishes_as_http_stays(
    registry: Registry, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """VarsMiddleware serves without counting, and logs that once; CountRequests raises."""
    mine = registry.publish("http", {"map": Map, "int": Int}[kind]())
    for _ in range(2):
        ask(VarsMiddleware(Starlette(routes=[Route("/", hello)]), registry=registry))
    assert log_text(caplog).count("requests are not counted") == 1
    with pytest.raises(DuplicateNameError, match="another name"):
        CountRequests(Application(), registry=registry)
    VarsMiddleware(Application(), registry=registry, count=False)
    assert registry["http"] is mine


def test_what_the_program_publishes_as_http_later_takes_its_place(registry: Registry) -> None:
    """Starlette may wrap the application long before the module with the variable is imported, or long after."""
    app = VarsMiddleware(Starlette(routes=[Route("/", hello)]), registry=registry)
    ask(app)
    with pytest.warns(PyvarsWarning, match="'http' was a variable of pyvars itself, which this one replaces"):
        mine = registry.publish("http", Int(3))
    ask(app)
    assert registry["http"] is mine
    assert mine.value == 3


@pytest.mark.parametrize("kind", ["lifespan", "something.new"])
def test_other_scopes_are_passed_on_untouched_and_not_counted(registry: Registry, kind: str) -> None:
    application = Application()
    scope = {"type": kind} if kind == "lifespan" else {"type": kind, "path": "/"}
    receive, send = object(), object()
    for middleware in (CountRequests, VarsMiddleware):
        asyncio.run(middleware(application, registry=registry)(scope, receive, send))  # type: ignore[operator,arg-type]
    assert [tuple(map(id, each)) for each in application.scopes] == [tuple(map(id, (scope, receive, send)))] * 2
    assert shown(registry)["requests"] == 0


def test_messages_are_handed_on_as_they_are_and_at_once(registry: Registry) -> None:
    messages = [START, *({"type": "http.response.body", "body": b"x" * 10, "more_body": True} for _ in range(3))]
    messages.append({"type": "http.response.body", "body": memoryview(b"y")})
    seen: list[list[int]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)
            seen.append(list(map(id, sent)))

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(CountRequests(app, registry=registry)(http_scope("/"), send, send))  # type: ignore[arg-type]
    assert seen == [list(map(id, messages[: count + 1])) for count in range(5)]
    assert shown(registry)["bytes_out"] == 31


class Clock:
    """The clock of what is counted, which goes on when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        for module in ("asgi", "in_flight", "recorder", "wsgi"):
            monkeypatch.setattr(f"pyvars.traffic.{module}.perf_counter", lambda: self.now)


def test_it_is_counted_when_the_last_message_is_handed_on(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has the whole answer finds it on the page; what Starlette does in the background takes its own time."""
    clock, counted = Clock(monkeypatch), list[int]()

    async def send(message: Any) -> None:
        counted.append(shown(registry)["requests"])

    async def later() -> None:
        await asyncio.sleep(0)
        clock.now += 60

    async def view(request: Request) -> PlainTextResponse:
        assert shown(registry)["in_flight"] == 1
        clock.now += 0.25
        return PlainTextResponse("ok", background=BackgroundTask(later))

    app = CountRequests(Starlette(routes=[Route("/", view)]), registry=registry)
    asyncio.run(app(http_scope("/"), send, send))  # type: ignore[arg-type]
    assert counted == [0, 1]
    http: Any = registry["http"].snapshot()
    assert (clock.now, http["seconds"]["sum"]) == (1060.25, 0.25)
    assert http["in_flight"] == 0


def test_seconds(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    async def slow(request: Request) -> StreamingResponse:
        async def parts() -> Any:
            for _ in range(3):
                await asyncio.sleep(0)
                clock.now += 0.25
                yield b"x"

        return StreamingResponse(parts())

    app = CountRequests(Starlette(routes=[Route("/", hello), Route("/slow", slow)]), registry=registry)
    ask(app)
    ask(app, "/slow")
    http: Any = registry["http"].snapshot()
    assert {route: each["sum"] for route, each in http["seconds_by_route"].items()} == {"/": 0, "/slow": 0.75}
    assert http["seconds"]["sum"] == 0.75


# Ends of requests: an application, the server's messages for it, and the counts: status class, errors, bytes.


async def raises(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError


async def raises_in_the_body(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise ValueError


async def raises_after_all(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    await send({"type": "http.response.body", "body": b"whole"})
    raise ValueError


async def says_500(scope: Any, receive: Any, send: Any) -> None:
    await send({**START, "status": 500})
    await send({"type": "http.response.body"})


async def does_nothing(scope: Any, receive: Any, send: Any) -> None:
    pass


async def does_half(scope: Any, receive: Any, send: Any) -> None:
    await send(START)


async def is_cancelled(scope: Any, receive: Any, send: Any) -> None:
    raise asyncio.CancelledError


async def is_closed(scope: Any, receive: Any, send: Any) -> None:
    raise GeneratorExit


async def is_cancelled_in_the_body(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    raise asyncio.CancelledError


async def is_cancelled_when_the_client_has_left(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    raise asyncio.CancelledError


async def exits(scope: Any, receive: Any, send: Any) -> None:
    raise SystemExit


async def answers_who_has_left(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send(START)
    await send({"type": "http.response.body", "body": b""})


async def returns_when_the_client_leaves(scope: Any, receive: Any, send: Any) -> None:
    assert await receive() == DISCONNECT


async def raises_when_the_client_leaves(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    raise ValueError


async def reads_a_body(request: Request) -> PlainTextResponse:
    await request.body()
    return PlainTextResponse("read")


async def streams_until_the_client_leaves(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    await receive()
    raise ValueError


async def says_too_much(scope: Any, receive: Any, send: Any) -> None:
    await says_500(scope, receive, send)
    await says_500(scope, receive, send)


async def sends_a_path(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    await send({"type": "http.response.pathsend", "path": "/etc/hostname"})


async def sends_a_file(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.early_hint", "links": []})
    await send(START)
    await send({"type": "http.response.zerocopysend", "file": 3, "more_body": True})
    await send({"type": "http.response.zerocopysend", "file": 3})


async def says_an_odd_status(scope: Any, receive: Any, send: Any) -> None:
    await send({**START, "status": 799})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize(
    ("app", "messages", "status", "errors", "size"),
    [
        (raises, [], "5xx", 1, 0),
        (raises_in_the_body, [], "2xx", 1, 4),  # the status that the client got, and an error
        (raises_after_all, [], "2xx", 0, 5),
        (says_500, [], "5xx", 1, 0),
        (does_nothing, [], "5xx", 1, 0),  # the server says 500
        (does_half, [], "2xx", 1, 0),
        (is_cancelled, [], "5xx", 1, 0),  # for example by a timeout: the client waits, and gets 500
        (is_cancelled, [DISCONNECT], "5xx", 1, 0),  # the application has not received the disconnect
        (is_cancelled_when_the_client_has_left, [DISCONNECT], "499", 0, 0),
        (exits, [], "5xx", 1, 0),
        (is_closed, [], "499", 0, 0),
        (is_cancelled_in_the_body, [], "2xx", 1, 0),
        (answers_who_has_left, [DISCONNECT], "499", 0, 0),
        (returns_when_the_client_leaves, [DISCONNECT], "499", 0, 0),
        (raises_when_the_client_leaves, [DISCONNECT], "499", 0, 0),
        (Starlette(routes=[Route("/", reads_a_body)]), [DISCONNECT], "499", 0, 21),  # "Internal Server Error"
        (streams_until_the_client_leaves, [DISCONNECT], "2xx", 0, 4),
        (says_too_much, [], "5xx", 1, 0),
        (sends_a_path, [], "2xx", 0, 0),
        (sends_a_file, [], "2xx", 0, 0),
        (says_an_odd_status, [], "__other__", 1, 0),
    ],
)
def test_how_a_request_ends(
    registry: Registry, app: Any, messages: list[Any], status: str, errors: int, size: int
) -> None:
    with suppress(Exception, asyncio.CancelledError, GeneratorExit, SystemExit):
        ask(CountRequests(app, registry=registry), messages=messages)
    http = shown(registry)
    assert http["by_status"] == {status: 1}
    assert (http["errors"], http["in_flight"], http["bytes_out"]) == (errors, 0, size)


@pytest.mark.parametrize("app", [raises, is_cancelled, is_closed, raises_in_the_body])
def test_what_an_application_raises_goes_on_as_it_is(registry: Registry, app: Any) -> None:
    async def outcome(app: Any) -> type[BaseException]:
        try:
            await send_to(app)
        except BaseException as error:
            return type(error)
        raise AssertionError

    assert asyncio.run(outcome(CountRequests(app, registry=registry))) is asyncio.run(outcome(app))


def test_a_send_that_says_that_the_client_has_left(registry: Registry) -> None:
    """As servers do since version 2.4 of the specification; Starlette then raises another exception."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        try:
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
        except OSError:
            raise RuntimeError("ClientDisconnect") from None

    async def send(message: Any) -> None:
        if message is not START:
            raise OSError

    with pytest.raises(RuntimeError):
        asyncio.run(CountRequests(app, registry=registry)(http_scope("/"), send, send))  # type: ignore[arg-type]
    http = shown(registry)
    assert (http["by_status"], http["errors"]) == ({"2xx": 1}, 0)


@pytest.mark.parametrize("then", [None, RuntimeError("ClientDisconnect"), asyncio.CancelledError()])
def test_a_send_of_the_start_that_fails(registry: Registry, then: BaseException | None) -> None:
    """The client gets no part of the response."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await send(START)
        except OSError:
            if then:
                raise then from None

    async def send(message: Any) -> None:
        raise BrokenPipeError

    with suppress(RuntimeError, asyncio.CancelledError):
        asyncio.run(CountRequests(app, registry=registry)(http_scope("/"), send, send))  # type: ignore[arg-type]
    http = shown(registry)
    assert (http["by_status"], http["errors"], http["in_flight"]) == ({"499": 1}, 0, 0)


def test_an_error_of_the_operating_system_is_not_a_client_that_leaves(registry: Registry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        raise FileNotFoundError

    with pytest.raises(FileNotFoundError):
        ask(CountRequests(app, registry=registry))
    assert (shown(registry)["by_status"], shown(registry)["errors"]) == ({"2xx": 1}, 1)


@pytest.mark.parametrize("message", [{}, {"type": "http.response.body", "body": 3}, {**START, "status": "x"}])
def test_what_is_no_message_is_the_applications_error(registry: Registry, message: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(message)

    with pytest.raises((KeyError, TypeError, ValueError)):
        ask(CountRequests(app, registry=registry))
    assert (shown(registry)["errors"], shown(registry)["in_flight"]) == (1, 0)


def test_a_cancelled_task(registry: Registry) -> None:
    async def waits(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.create_task(send_to(CountRequests(waits, registry=registry)))
        await asyncio.sleep(0)
        assert shown(registry)["in_flight"] == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert (shown(registry)["in_flight"], shown(registry)["by_status"]) == (0, {"5xx": 1})


def test_methods(registry: Registry) -> None:
    app = CountRequests(Starlette(routes=[Route("/", hello)]), registry=registry)
    for method in ("GET", "HEAD", "OPTIONS", "POST", "PATCH", "BREW", "get", "x" * 1000):
        ask(app, method=method)
    http = shown(registry)
    assert http["by_method"] == {"GET": 1, "HEAD": 1, "OPTIONS": 1, "POST": 1, "PATCH": 1, "__other__": 3}
    assert http["by_status"] == {"2xx": 2, "4xx": 6}
    assert http["by_route"] == {"/": 8}
    assert http["bytes_out"] == len(OWN) + 6 * len("Method Not Allowed")  # the body for HEAD is not sent


def test_routes_are_bounded(registry: Registry) -> None:
    templates = [*(f"/{number}" for number in range(1050)), "/" * 300, "/\udcff" * 100, ""]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["pyvars.route"] = templates.pop()

    async def main() -> None:
        while templates:
            await send_to(CountRequests(app, registry=registry))

    asyncio.run(main())
    found = routes(registry)
    assert len(found) == 1001
    assert found["__other__"] == 53
    http: Any = registry["http"]
    assert isinstance(http["seconds_by_route"], dict)
    assert isinstance(http.var("seconds"), Histogram)


def test_two_threads_that_are_first_with_a_route(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread makes the Histogram while the other has already stored one."""
    module = import_module("pyvars.traffic.recorder")
    app = CountRequests(says_500, registry=registry)
    made: list[object] = []

    def make(**options: Any) -> object:
        made.append(None)
        if len(made) == 1:
            with ThreadPoolExecutor() as pool:
                pool.submit(ask, app).result()
        return Histogram(**options)

    monkeypatch.setattr(module, "Histogram", make)
    ask(app)
    assert len(made) == 2
    assert routes(registry) == {"unmatched": 2}


def sub() -> Starlette:
    return Starlette(routes=[Route("/z/{id:int}", hello), Route("/", hello)])


def starlette() -> Starlette:
    return Starlette(
        routes=[
            Route("/", hello),
            Route("/files/{path:path}", hello),
            Mount("/static", StaticFiles(directory="examples")),
            Mount("/v1", routes=[Route("/items/{id}", hello), Mount("/deep", routes=[Route("/x", hello)])]),
            Mount("/u/{name}", sub()),
            Mount("/any/{name}", StaticFiles(directory="examples")),
            Host("{name}.example", Router([Route("/at/{id}", hello), Mount("/m/{x}", sub())])),
            Mount("", routes=[Route("/flat/{x}", hello)]),
        ]
    )


STARLETTE = [
    ("/", "/"),
    ("/files/a/b", "/files/{path}"),
    ("/static/shop.py", "/static/{path}"),
    ("/static/none.py", "/static/{path}"),
    ("/v1/items/3", "/v1/items/{id}"),
    ("/v1/deep/x", "/v1/deep/x"),
    ("/v1/none", "unmatched"),
    ("/u/bob/z/03", "/u/{name}/z/{id}"),
    ("/u/bob/", "/u/{name}/"),
    ("/u/bob/none", "unmatched"),
    ("/any/bob/shop.py", "/any/{name}/{path}"),
    ("/at/3", "/at/{id}"),
    ("/m/3/z/4", "/m/{x}/z/{id}"),
    ("/flat/3", "/flat/{x}"),
    ("/none", "unmatched"),
]


def forgetful(app: Any) -> Any:
    """Leaves in the scope what old versions of Starlette, which set no route, left there."""

    async def forgets(scope: Any, receive: Any, send: Any) -> None:
        async def before(message: Any) -> None:
            scope.pop("route", None)
            await send(message)

        await app(scope, receive, before)

    return forgets


@pytest.mark.parametrize("root", ["", "/svc"])
@pytest.mark.parametrize("wrap", [lambda app: app, forgetful])
@pytest.mark.parametrize(("path", "template"), STARLETTE)
def test_routes_of_starlette(registry: Registry, path: str, template: str, wrap: Any, root: str) -> None:
    host = "bob.example" if path[:3] in ("/at", "/m/") else "localhost"
    headers = [(b"host", host.encode())]
    ask(CountRequests(wrap(starlette()), registry=registry), root + path, root_path=root, headers=headers)
    assert routes(registry) == {template: 1}


def fastapi() -> FastAPI:
    app, router, inner, below = FastAPI(), APIRouter(), APIRouter(), FastAPI()

    async def answer() -> str:
        return OWN

    app.add_api_route("/direct/{a}", answer)
    router.add_api_route("/items/{id}", answer)
    router.add_api_route("", answer)
    inner.add_api_route("/deep/{x}", answer)
    router.include_router(inner, prefix="/inner/{y}")
    router.add_route("/plain/{q}", hello)
    app.include_router(router, prefix="/api")
    below.add_api_route("/s/{k}", answer)
    app.mount("/sub", below)
    app.mount("/u/{name}", sub())
    app.mount("/static", StaticFiles(directory="examples"))
    return app


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/direct/1", "/direct/{a}"),
        ("/api/items/1", "/api/items/{id}"),
        ("/api", "/api"),
        ("/api/inner/1/deep/2", "/api/inner/{y}/deep/{x}"),
        ("/api/plain/1", "/api/plain/{q}"),
        ("/sub/s/1", "/sub/s/{k}"),
        ("/sub/none", "unmatched"),
        ("/u/bob/z/1", "/u/{name}/z/{id}"),
        ("/static/shop.py", "/static/{path}"),
        ("/docs", "/docs"),
        ("/none", "unmatched"),
    ],
)
def test_routes_of_fastapi(registry: Registry, path: str, template: str) -> None:
    ask(CountRequests(fastapi(), registry=registry), path, messages=[{"type": "http.request"}])
    assert routes(registry) == {template: 1}


def test_routes_of_django(registry: Registry) -> None:
    handler = get_asgi_application()
    app = VarsMiddleware(CountRequests(handler, registry=Registry()), registry=registry)  # type: ignore[arg-type]
    CountRequests(handler, registry=registry)  # a second middleware changes nothing
    for path in ("/hello", "/none"):
        ask(app, path, messages=[{"type": "http.request", "body": b"", "more_body": False}])
    assert routes(registry) == {"/hello": 1, "unmatched": 1}


def test_routes_that_an_application_says_itself(registry: Registry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["path_template" if scope["path"] == "/1" else "pyvars.route"] = "/{id}"

    for path in ("/1", "/2"):
        ask(CountRequests(app, registry=registry), path)
    assert routes(registry) == {"/{id}": 2}


class Odd:
    """Has attributes of a route, but is none."""

    path_format = "/odd/{path}"

    @property
    def routes(self) -> None:
        raise ZeroDivisionError


class Unknown:
    path_format = "/unknown"
    param_convertors: dict[str, object] = {}  # noqa: RUF012


@pytest.mark.parametrize(
    ("left", "template"),
    [
        ({"route": Odd()}, "unmatched"),
        ({"route": object()}, "unmatched"),
        ({"route": Unknown(), "path_params": {"a": 1}, "router": Router()}, "/unknown"),
        ({"route": Unknown(), "root_path": "/x"}, "/unknown"),  # FastAPI(root_path="/x")
        ({"route": Unknown(), "root_path": "/x/y", "app_root_path": "/x"}, "/y/unknown"),
        ({"endpoint": hello, "router": Router([Mount("/a", routes=[Route("/b", hello)])])}, "unmatched"),
        ({"fastapi": {"effective_route_context": None}, "route": Unknown()}, "/unknown"),
        ({"fastapi": 3, "route": Unknown()}, "unmatched"),
        ({"root_path": 3, "app_root_path": "", "route": Unknown()}, "unmatched"),
    ],
)
def test_what_an_application_leaves_in_the_scope_does_no_harm(
    registry: Registry, left: dict[str, Any], template: str
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope.update(left)

    ask(CountRequests(app, registry=registry))
    assert routes(registry) == {template: 1}


def test_a_scope_that_is_no_dict(registry: Registry) -> None:
    class Scope(dict[str, Any]):
        pass

    app = CountRequests(Starlette(routes=[Route("/", hello)]), registry=registry)

    async def send(message: Any) -> None:
        pass

    scope = Scope(http_scope("/"))
    del scope["root_path"]
    asyncio.run(app(scope, send, send))  # type: ignore[arg-type]
    assert routes(registry) == {"/": 1}


def test_it_takes_no_time_to_speak_of(registry: Registry) -> None:
    """The benchmark measures the time; this test only finds a tenfold increase."""
    app = CountRequests(says_500, registry=registry)

    async def send(message: Any) -> None:
        pass

    async def main() -> float:
        started = time.thread_time()  # of the CPU, for which it may have to wait
        for _ in range(1000):
            await app(http_scope("/"), send, send)  # type: ignore[arg-type]
        return time.thread_time() - started

    assert min(asyncio.run(main()) for _ in range(3)) < 0.3


def test_more_routes_than_are_remembered(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their templates are found anew for each request."""
    monkeypatch.setattr("pyvars.traffic.routes._MAX_WHOLE_PATHS", 0)
    app = CountRequests(Starlette(routes=[Route("/more/{id}", hello)]), registry=registry)
    ask(app, "/more/1")
    ask(app, "/more/2")
    assert routes(registry) == {"/more/{id}": 2}
