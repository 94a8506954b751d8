"""Middlewares that count: their coroutines as servers see them, and any application, message and scope."""

import asyncio
import gc
import inspect
import sys
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Generator
from enum import StrEnum
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import pytest
from asgiref.compatibility import is_double_callable
from hypercorn.utils import is_asgi
from starlette.applications import Starlette
from starlette.routing import Route
from uvicorn import Config

from pyvars import Registry
from pyvars.asgi import CountRequests, VarsMiddleware
from tests.integrations.test_asgi import http_scope
from tests.traffic.test_asgi import DISCONNECT, START, ask, hello, routes, shown

pytestmark = pytest.mark.usefixtures("both_kinds")

BODY = {"type": "http.response.body", "body": b"hello"}


async def says(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    await send(BODY)


async def waits(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.sleep(60)


async def receive() -> Any:
    return DISCONNECT


async def send(message: Any) -> None:
    pass


class Suspended:
    """An awaitable that yields a word to the code that runs the coroutine, and receives one."""

    def __await__(self) -> Generator[str, str, str]:
        return (yield "word")


def started(app: Any) -> Any:
    """The coroutine of a request."""
    return app(http_scope("/"), receive, send)


@pytest.mark.parametrize("name", ["CountRequests", "VarsMiddleware"])
def test_servers_take_it_for_an_application(registry: Registry, name: str) -> None:
    middleware: Callable[..., Any] = {"CountRequests": CountRequests, "VarsMiddleware": VarsMiddleware}[name]
    app = middleware(says, registry=registry)
    assert inspect.iscoroutinefunction(app.__call__)
    assert not is_double_callable(app)
    assert is_asgi(app)
    config = Config(app)
    config.load()
    assert config.interface == "asgi3"
    assert list(inspect.signature(app).parameters) == ["scope", "receive", "send"]
    assert "Answer the request" in (type(app).__call__.__doc__ or "")


def test_the_application_can_be_replaced(registry: Registry) -> None:
    app = CountRequests(waits, registry=registry)
    app.app = says
    ask(app)
    assert shown(registry)["by_status"] == {"2xx": 1}


class Iterable:
    """An application that is no coroutine function, and returns an awaitable that is no coroutine."""

    def __call__(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        return self.Awaitable(says(scope, receive, send))

    class Awaitable:
        def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
            self.coroutine = coroutine

        def __await__(self) -> Generator[Any, None, None]:
            yield from self.coroutine.__await__()


def test_an_application_that_is_no_coroutine_function(registry: Registry) -> None:
    assert ask(CountRequests(Iterable(), registry=registry)) == [START, BODY]
    assert shown(registry)["by_status"] == {"2xx": 1}


def test_an_application_that_raises_before_it_is_awaited(registry: Registry) -> None:
    def raises(scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        raise LookupError

    for app in (raises, lambda *args: None):
        with pytest.raises((LookupError, TypeError)):
            ask(CountRequests(app, registry=registry))  # type: ignore[arg-type]
    assert (shown(registry)["errors"], shown(registry)["in_flight"]) == (2, 0)


def test_a_coroutine_that_is_closed_or_dropped(registry: Registry) -> None:
    ended = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await Suspended()
        finally:
            ended.append(scope["path"])

    coroutine = started(CountRequests(app, registry=registry))
    coroutine.send(None)
    coroutine.close()
    coroutine.close()
    assert (shown(registry)["by_status"], shown(registry)["in_flight"], ended) == ({"499": 1}, 0, ["/"])
    coroutine = started(CountRequests(app, registry=registry))
    coroutine.send(None)
    del coroutine
    gc.collect()
    assert (shown(registry)["by_status"], shown(registry)["in_flight"], ended) == ({"499": 2}, 0, ["/", "/"])

    async def stays(scope: Any, receive: Any, send: Any) -> None:
        try:
            await Suspended()
        except GeneratorExit:
            await Suspended()

    coroutine = started(CountRequests(stays, registry=registry))
    coroutine.send(None)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        coroutine.close()
    unused = started(CountRequests(app, registry=registry))
    unused.close()
    with pytest.raises(RuntimeError):
        unused.send(None)
    assert shown(registry)["in_flight"] == 0


def test_messages_of_any_mapping(registry: Registry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert await receive() == DISCONNECT
        await send(MappingProxyType({"".join(("ty", "pe")): "http.response.start", "".join(("sta", "tus")): 201}))
        await send({"".join(("more", "_body")): True, "".join(("bo", "dy")): b"one", "type": "http.response.body"})
        await send(MappingProxyType({**BODY, 5: "five", "other": 5}))

    sent = ask(CountRequests(app, registry=registry), messages=[DISCONNECT])
    assert [type(message) for message in sent] == [MappingProxyType, dict, MappingProxyType]
    assert (shown(registry)["bytes_out"], shown(registry)["by_status"]) == (8, {"499": 1})


class Word(StrEnum):
    TYPE = "type"
    STATUS = "status"


class Asked(dict[str, Any]):
    def __getitem__(self, key: str) -> Any:
        return {"type": "http.response.start", "status": 200}[key]


@pytest.mark.parametrize(
    ("message", "group"),
    [
        ({**START, "status": "200"}, "2xx"),
        ({**START, "status": 404.0}, "4xx"),
        ({**START, "status": HTTPStatus.CREATED}, "2xx"),
        ({**START, "status": 10**30}, "__other__"),
        ({**START, "status": -(10**30)}, "__other__"),
        ({Word.TYPE: "http.response.start", Word.STATUS: 204}, "2xx"),
        (Asked(), "2xx"),
    ],
)
def test_what_servers_take_for_a_start_is_one(registry: Registry, message: Any, group: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(message)
        await send({**BODY, "body": bytearray(b"12")})

    assert ask(CountRequests(app, registry=registry))[0] is message
    assert (shown(registry)["by_status"], shown(registry)["bytes_out"]) == ({group: 1}, 2)


@pytest.mark.parametrize("body", [None, False, "", b"", memoryview(b"")])
def test_a_body_of_nothing(registry: Registry, body: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send({**BODY, "body": body})

    ask(CountRequests(app, registry=registry))
    assert (shown(registry)["bytes_out"], shown(registry)["by_status"]) == (0, {"2xx": 1})


def test_a_status_that_is_no_number(registry: Registry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({**START, "status": "x"})

    with pytest.raises(ValueError, match="'x'"):
        ask(CountRequests(app, registry=registry))
    assert (shown(registry)["by_status"], shown(registry)["errors"]) == ({"5xx": 1}, 1)


def test_what_the_application_makes_of_the_scope(registry: Registry) -> None:
    class Route:
        @property
        def path_format(self) -> str:
            raise ZeroDivisionError

    async def without_method(scope: Any, receive: Any, send: Any) -> None:
        scope.clear()
        await says(scope, receive, send)

    async def with_bytes(scope: Any, receive: Any, send: Any) -> None:
        scope["method"] = b"GET"
        await says(scope, receive, send)

    async def with_route(scope: Any, receive: Any, send: Any) -> None:
        scope["route"] = Route()
        await says(scope, receive, send)

    for app in (without_method, with_bytes, with_route):
        ask(CountRequests(app, registry=registry))
    assert shown(registry)["in_flight"] == 0
    assert shown(registry)["by_method"] == {"__other__": 2, "GET": 1}
    assert routes(registry) == {"unmatched": 3}


def test_a_request_leaves_nothing_behind(registry: Registry) -> None:
    class Scope(dict[str, Any]):
        pass

    app = CountRequests(Starlette(routes=[Route("/", hello)]), registry=registry)
    scope: Any = Scope(http_scope("/"))
    seen = weakref.ref(scope)
    asyncio.run(app(scope, receive, send))
    del scope
    gc.collect()
    assert seen() is None

    async def many(number: int) -> int:
        for _ in range(number):
            await app(http_scope("/"), receive, send)
        return sys.getallocatedblocks()

    async def main() -> int:
        await many(100)
        return -await many(100) + await many(1000)

    # What is left behind is there each time; another thread may allocate something in one of them.
    assert min(asyncio.run(main()) for _ in range(3)) < 100
    assert routes(registry) == {"/": 1 + 3 * 1200}
