"""What a middleware that counts is to those who call it, await it, and look at it: a coroutine function of ASGI."""

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

import anyio
import pytest
import trio
from asgiref.compatibility import is_double_callable
from hypercorn.utils import is_asgi
from starlette.applications import Starlette
from starlette.routing import Route
from uvicorn import Config

import pyvars
from pyvars import Registry
from pyvars.asgi import CountRequests, VarsMiddleware
from tests.programs import output
from tests.test_asgi import http_scope
from tests.test_traffic import DISCONNECT, START, ask, hello, routes, shown

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
    """An awaitable that hands a word to who runs the coroutine, and takes one from there."""

    def __await__(self) -> Generator[str, str, str]:
        return (yield "word")


def started(app: Any) -> Any:
    """The coroutine of a request."""
    return app(http_scope("/"), receive, send)


@pytest.mark.parametrize("middleware", [CountRequests, VarsMiddleware])
def test_servers_take_it_for_an_application(registry: Registry, middleware: Callable[..., Any]) -> None:
    app = middleware(says, registry=registry)
    assert inspect.iscoroutinefunction(app.__call__)
    assert not is_double_callable(app)
    assert is_asgi(app)
    config = Config(app)
    config.load()
    assert config.interface == "asgi3"
    assert list(inspect.signature(app).parameters) == ["scope", "receive", "send"]
    assert "Answer, or pass on" in (type(app).__call__.__doc__ or "")


def test_it_can_be_a_task(registry: Registry) -> None:
    app = CountRequests(says, registry=registry)

    async def main() -> None:
        await asyncio.create_task(started(app))
        await asyncio.wait_for(started(app), 10)
        async with anyio.create_task_group() as group:
            group.start_soon(app, http_scope("/"), receive, send)

    asyncio.run(main())
    trio.run(app, http_scope("/"), receive, send)
    assert shown(registry)["by_status"] == {"2xx": 4}


def test_arguments_by_name(registry: Registry) -> None:
    asyncio.run(CountRequests(says, registry=registry)(scope=http_scope("/"), receive=receive, send=send))
    assert shown(registry)["requests"] == 1


def test_a_subclass(registry: Registry) -> None:
    seen = []

    class Noting(VarsMiddleware):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            seen.append(scope["path"])
            await super().__call__(scope, receive, send)

    class Plain(CountRequests):
        pass

    ask(Noting(says, registry=registry), "/a")
    ask(Plain(says, registry=registry), "/b")
    assert (seen, shown(registry)["requests"]) == (["/a"], 2)


def test_the_application_can_be_replaced(registry: Registry) -> None:
    app = CountRequests(waits, registry=registry)
    app.app = says
    ask(app)
    assert shown(registry)["by_status"] == {"2xx": 1}


class Iterable:
    """An application that is no coroutine function, and whose awaitable is none either."""

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


def test_what_is_yielded_and_sent_goes_through(registry: Registry) -> None:
    """As other event loops do it: asyncio sends nothing but None."""
    got = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        got.append(await Suspended())
        got.append(await Suspended())
        await says(scope, receive, send)

    coroutine = started(CountRequests(app, registry=registry))
    assert coroutine.send(None) == "word"
    assert shown(registry)["in_flight"] == 1
    assert coroutine.send("first") == "word"
    with pytest.raises(StopIteration):
        coroutine.send("second")
    assert (got, shown(registry)["in_flight"]) == (["first", "second"], 0)
    with pytest.raises(RuntimeError):
        coroutine.send(None)


def test_what_is_thrown_goes_through(registry: Registry) -> None:
    caught = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(2):
            try:
                await Suspended()
            except LookupError as error:
                caught.append(error)
        await says(scope, receive, send)

    coroutine, error = started(CountRequests(app, registry=registry)), LookupError()
    coroutine.send(None)
    assert coroutine.throw(error) == "word"
    with pytest.raises(StopIteration):
        coroutine.throw(error)
    assert caught == [error, error]
    assert (shown(registry)["by_status"], shown(registry)["errors"]) == ({"2xx": 1}, 0)
    coroutine = started(CountRequests(app, registry=registry))
    coroutine.send(None)
    with pytest.raises(ZeroDivisionError):
        coroutine.throw(ZeroDivisionError())
    assert (shown(registry)["by_status"], shown(registry)["errors"]) == ({"2xx": 1, "5xx": 1}, 1)
    with pytest.raises(ZeroDivisionError):
        started(CountRequests(app, registry=registry)).throw(ZeroDivisionError())
    assert shown(registry)["in_flight"] == 0


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


def test_tools_find_where_a_task_is(registry: Registry) -> None:
    """They follow the chain of what awaits what, such as `python -m asyncio pstree`."""
    names = []

    async def outer() -> None:
        await started(CountRequests(waits, registry=registry))

    async def main() -> None:
        task = asyncio.create_task(outer())
        await asyncio.sleep(0)
        awaited: Any = task.get_coro()
        while awaited is not None:
            code = getattr(awaited, "cr_code", None) or getattr(awaited, "gi_code", None)
            names.append(code and code.co_name)
            awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert names[0] == "outer"
    assert {"waits", "sleep"} < set(names)


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


def test_an_application_that_runs_itself(registry: Registry) -> None:
    """It meets what a coroutine says to that, and goes on."""
    coroutine: Any

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for call in (coroutine.close, lambda: coroutine.send(None), lambda: coroutine.throw(LookupError())):
            with pytest.raises(ValueError, match="already executing"):
                call()
            await Suspended()
        await says(scope, receive, send)

    coroutine = started(CountRequests(app, registry=registry))
    for _ in range(3):
        assert coroutine.send(None) == "word"
    with pytest.raises(StopIteration):
        coroutine.send(None)
    assert (shown(registry)["by_status"], shown(registry)["in_flight"]) == ({"2xx": 1}, 0)


def test_an_application_that_raises_stop_iteration(registry: Registry) -> None:
    def app(scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        raise StopIteration

    async def main() -> None:
        with pytest.raises(RuntimeError, match="StopIteration"):
            await started(CountRequests(app, registry=registry))
        with pytest.raises(RuntimeError, match="StopIteration"):
            await asyncio.wait_for(asyncio.create_task(started(CountRequests(app, registry=registry))), 10)

    asyncio.run(main())
    assert (shown(registry)["errors"], shown(registry)["in_flight"]) == (2, 0)


def test_what_an_application_returns_is_nothing(registry: Registry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> int:
        await says(scope, receive, send)
        return 5

    async def main() -> None:
        assert await started(CountRequests(app, registry=registry)) is None  # type: ignore[arg-type]
        assert await asyncio.create_task(started(CountRequests(app, registry=registry))) is None  # type: ignore[arg-type]

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["http", "websocket", "lifespan"])
@pytest.mark.parametrize("count", [True, False])
def test_any_application_makes_a_coroutine(registry: Registry, kind: str, count: bool) -> None:
    app = VarsMiddleware(Iterable(), registry=registry, count=count)
    scope = {**http_scope("/"), "type": kind}
    if kind == "lifespan":
        del scope["path"]

    async def main() -> None:
        await asyncio.create_task(app(scope, receive, send))

    asyncio.run(main())


@pytest.mark.filterwarnings("error")
def test_one_that_has_not_begun(registry: Registry) -> None:
    """What is thrown into it is raised, what is sent is refused: nothing has come yet, so nothing is counted."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    coroutine = started(CountRequests(app, registry=registry))
    with pytest.raises(LookupError):
        coroutine.throw(LookupError())
    with pytest.raises(RuntimeError, match="already awaited"):
        coroutine.send(None)
    coroutine = started(CountRequests(says, registry=registry))
    with pytest.raises(TypeError, match="just-started"):
        coroutine.send(5)
    with pytest.raises(StopIteration):
        coroutine.send(None)
    assert (shown(registry)["requests"], shown(registry)["in_flight"]) == (1, 0)


def test_one_that_is_never_awaited(registry: Registry) -> None:
    with pytest.warns(RuntimeWarning, match=r"'Middleware.__call__' was never awaited"):
        started(CountRequests(says, registry=registry))
    assert registry["http"].snapshot()["in_flight"] == 0  # type: ignore[index]


def test_one_that_is_dropped_ends_at_once(registry: Registry) -> None:
    ended = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await Suspended()
        finally:
            ended.append(send)

    coroutine = started(CountRequests(app, registry=registry))
    coroutine.send(None)
    gc.disable()
    try:
        del coroutine
        assert (len(ended), shown(registry)["in_flight"]) == (1, 0)
    finally:
        gc.enable()


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


def test_a_key_of_the_scope_that_replaces_the_application(registry: Registry) -> None:
    """Then nothing of the first one is left, and its memory is soon another's."""
    others: list[object] = []

    class Key:
        def __hash__(self) -> int:
            return hash("path")

        def __eq__(self, other: object) -> bool:
            if app.app is not says and armed:
                app.app = says
                others.extend(tuple(range(3)) for _ in range(2000))
                others.extend(set[int]() for _ in range(100))
            return False

    class First:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            raise AssertionError

    armed = False
    app = CountRequests(First(), registry=registry)
    scope: Any = {Key(): 1}
    scope.update(http_scope("/"))
    armed = True
    asyncio.run(app(scope, receive, send))
    assert app.app is says
    assert shown(registry)["by_status"] == {"2xx": 1}


def test_what_tools_ask_of_it(registry: Registry) -> None:
    class Elsewhere(CountRequests):
        @property
        def app(self) -> Any:
            return says

        @app.setter
        def app(self, app: Any) -> None:
            pass

    ask(Elsewhere(waits, registry=registry))
    app = CountRequests(waits, registry=registry)
    assert weakref.WeakMethod(app.__call__)() == app.__call__

    async def main() -> None:
        task = asyncio.create_task(started(app))
        await asyncio.sleep(0)
        coroutine: Any = task.get_coro()
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_SUSPENDED
        assert "Middleware.__call__" in repr(task)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED

    asyncio.run(main())
    assert shown(registry)["by_status"] == {"2xx": 1, "499": 1}


def test_pyvars_imported_again() -> None:
    code = """
import asyncio, sys
from tests.test_exchange import says, started
import pyvars, pyvars.asgi
older = pyvars.asgi.CountRequests(says), pyvars
for name in [name for name in sys.modules if name.partition(".")[0] == "pyvars"]:
    del sys.modules[name]
import pyvars, pyvars.asgi
newer = pyvars.asgi.CountRequests(says), pyvars
for app, pyvars in (older, newer, older):
    asyncio.run(started(app))
    print(pyvars.default_registry["http"].snapshot()["requests"])
"""
    assert output(code, PYVARS_NATIVE=str(int(pyvars.native))) == "1\n1\n2\n"


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

    assert asyncio.run(main()) < 100
    assert routes(registry) == {"/": 1201}
