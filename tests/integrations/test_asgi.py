"""The parts of the ASGI integration that others lack: scopes, root_path, threads, event loops."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from pyvars import Int, Registry, get
from pyvars.asgi import DebugApp, VarsMiddleware, contained
from tests.conftest import until
from tests.programs import output

Scope = dict[str, Any]


def http_scope(path: str = "/debug/vars", **changes: Any) -> Scope:
    """A scope as uvicorn makes it for curl on this machine."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"localhost:8000")],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
        **changes,
    }


async def run(app: Any, scope: Scope, *messages: dict[str, Any]) -> list[Any]:
    """Send `messages` to the app, and return the messages that it sends."""
    waiting, sent = list(messages), []

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


def ask(app: Any, scope: Scope, *messages: dict[str, Any]) -> list[Any]:
    return asyncio.run(run(app, scope, *messages))


async def never(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("it is ours and must not reach the application")


class Application:
    """An application that records the scopes that it gets."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append((scope, receive, send))


@pytest.fixture
def app(registry: Registry) -> DebugApp:
    registry.publish("orders", Int(3))
    return DebugApp(registry)


def test_the_messages_of_an_answer(app: DebugApp) -> None:
    start, body = ask(app, http_scope("/vars"))
    assert start["type"] == "http.response.start"
    assert start["status"] == 200
    assert (b"content-length", b"18") in start["headers"]
    assert all(name == name.lower() for name, _ in start["headers"])
    assert body == {"type": "http.response.body", "body": b'{\n  "orders": 3\n}\n'}


def test_the_body_of_a_request_is_not_read(app: DebugApp) -> None:
    """`run` has no message for the application, so reading one would fail."""
    assert ask(app, http_scope("/vars", method="POST"))[0]["status"] == 405


def test_at_the_root_it_answers_lifespan_and_refuses_websockets(app: DebugApp) -> None:
    sent = ask(app, {"type": "lifespan"}, {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    assert sent == [{"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}]
    sent = ask(app, {**http_scope("/vars"), "type": "websocket"}, {"type": "websocket.connect"})
    assert sent == [{"type": "websocket.close", "code": 1000}]
    assert ask(app, {"type": "something.new"}) == []


@pytest.mark.parametrize("kind", ["lifespan", "websocket", "something.new"])
def test_the_middleware_passes_other_scopes_on_untouched(registry: Registry, kind: str) -> None:
    application = Application()
    scope: Scope = {"type": kind} if kind == "lifespan" else {"type": kind, "path": "/debug/vars"}
    ask(VarsMiddleware(application, registry=registry), scope)
    assert application.scopes[0][0] is scope


def test_what_is_not_ours_costs_two_looks_into_the_scope(registry: Registry) -> None:
    looks: list[object] = []

    class Noting(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            looks.append(key)
            return super().get(key, default)

    class Noted(Noting):
        def __getitem__(self, key: str) -> Any:
            looks.append(key)
            return super().__getitem__(key)

    application = Application()
    scope = Noted({"path": "/hello"} | {"type": "http"})
    ask(VarsMiddleware(application, registry=registry, count=False), scope)
    assert application.scopes[0][0] is scope
    assert looks == ["path", "type"]


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        (http_scope("/svc/debug/vars", root_path="/svc"), 200),
        (http_scope("/svc/debug/vars/orders", root_path="/svc"), 200),
        (http_scope("/debug/vars", root_path="/svc"), 200),  # a proxy has stripped the prefix, as FastAPI expects
        (http_scope("/svcs/debug/vars", root_path="/svc"), None),
        (http_scope("/svc", root_path="/svc"), None),
        (http_scope("/svc/debug/vars", root_path=""), None),
        (http_scope("/debug/vars", root_path="/debug/vars"), None),
    ],
)
def test_root_path(registry: Registry, scope: Scope, status: int | None) -> None:
    registry.publish("orders", Int(3))
    application = Application()
    sent = ask(VarsMiddleware(application, registry=registry), scope)
    assert (sent[0]["status"] if sent else None) == status
    assert bool(application.scopes) is (status is None)


@pytest.mark.parametrize(
    ("path", "root", "status"),
    [
        ("/debug/vars", "/debug", 200),
        ("/svc/debug/vars", "/svc/debug", 200),
        ("/debug/vars", "/svc/debug", 404),  # as a Starlette application mounted there answers
        ("/debug", "/debug", 200),
        ("/debug/", "/debug", 200),
        ("/debug/x", "/debug", 404),
    ],
)
def test_a_mounted_app_under_root_path(app: DebugApp, path: str, root: str, status: int) -> None:
    assert ask(app, http_scope(path, root_path=root))[0]["status"] == status


@pytest.mark.parametrize(
    ("client", "server", "status"),
    [
        (None, ("/run/app.sock", None), 200),
        (None, ("127.0.0.1", 8000), 404),
        (None, None, 404),
        (("10.0.0.1", 1), ("/run/app.sock", None), 404),
    ],
)
def test_the_peer(app: DebugApp, client: object, server: object, status: int) -> None:
    assert ask(app, http_scope("/vars", client=client, server=server))[0]["status"] == status


def test_servers_that_leave_optional_keys_out(app: DebugApp) -> None:
    scope = http_scope("/vars")
    for key in ("raw_path", "root_path", "server", "asgi", "scheme"):
        del scope[key]
    assert ask(app, scope)[0]["status"] == 200


@pytest.mark.parametrize("start", [asyncio.run, trio.run], ids=["asyncio", "trio"])
def test_functions_run_off_the_loop(registry: Registry, start: Callable[[Any], Any]) -> None:
    """A function that waits for the loop does not block the loop, neither on asyncio nor on trio."""
    reached = threading.Event()

    class Waits:
        def snapshot(self) -> bool:
            return reached.wait(60)

    registry.publish("waits", Waits())

    async def main() -> list[Any]:
        sent: list[Any] = []
        reached.clear()

        async def receive() -> Any:
            raise AssertionError

        async def send(message: Any) -> None:
            sent.append(message)

        pages: Awaitable[None] = DebugApp(registry)(http_scope("/vars"), receive, send)
        if start is trio.run:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: pages)
                await trio.sleep(0)
                reached.set()
        else:
            task = asyncio.ensure_future(pages)
            await asyncio.sleep(0)
            reached.set()
            await task
        return sent

    async def coroutine() -> list[Any]:
        return await main()

    # On a busy machine the function may be late.
    until(
        lambda: start(coroutine() if start is asyncio.run else coroutine)[1]["body"],
        lambda body: body == b'{\n  "waits": true\n}\n',
    )


def test_a_function_given_as_access_is_asked_once(registry: Registry) -> None:
    asked: list[object] = []
    registry.publish("function", lambda: 1)
    app = DebugApp(registry, access=lambda request: asked.append(request) is None)
    assert ask(app, http_scope("/vars"))[0]["status"] == 200
    assert len(asked) == 1


def test_threads_are_few_however_many_ask(registry: Registry) -> None:
    registry.publish("slow", lambda: time.sleep(0.002))
    most = 0

    async def main() -> list[int]:
        nonlocal most
        app = DebugApp(registry)
        tasks = [asyncio.create_task(run(app, http_scope("/vars"))) for _ in range(300)]
        while not all(task.done() for task in tasks):
            most = max(most, threading.active_count())
            await asyncio.sleep(0.001)
        return [task.result()[0]["status"] for task in tasks]

    before = threading.active_count()
    assert set(asyncio.run(main())) <= {200, 503}
    assert most - before < 10


def test_a_page_without_functions_stays_on_the_loop() -> None:
    """In a process of its own: children of the test process would be peers, for which a page may wait."""
    code = """
import asyncio, threading, pyvars
from tests.integrations.test_asgi import http_scope, run
from pyvars.asgi import DebugApp
app = DebugApp(pyvars.Registry())
before = set(threading.enumerate())
async def main():
    await run(app, http_scope("/vars"))
    return set(threading.enumerate())
started = asyncio.run(main()) - before
print([thread.name for thread in started])
"""
    assert output(code) == "['pyvars-history']\n"  # which begins with the first page


def test_the_loop_that_serves_is_known_to_asyncio() -> None:
    """Its tasks are counted, and its lag is measured with probes."""

    async def main() -> None:
        app = VarsMiddleware(never)
        await run(app, http_scope())
        others = [asyncio.create_task(asyncio.sleep(60)) for _ in range(3)]
        figures = get("asyncio")
        assert figures is not None
        first = figures.snapshot()
        assert isinstance(first, dict)
        assert first["loops"] >= 1
        second, end = first, time.monotonic() + 60
        # Figures may be 100 ms old, and more if all is slow, and so is the loop for a moment.
        while not (second["tasks"] >= 4 and second["lag_seconds"] < 0.15):
            assert time.monotonic() < end, second
            await asyncio.sleep(0.15)
            second = figures.snapshot()
            assert isinstance(second, dict)
        assert second["lag_seconds"] >= 0
        assert second["lag_max_seconds"] >= second["lag_seconds"]
        for task in others:
            task.cancel()

    asyncio.run(main())


def test_the_lag_of_a_stuck_loop_grows_while_it_is_stuck() -> None:
    started, stop = threading.Event(), threading.Event()

    async def main() -> None:
        await run(VarsMiddleware(never), http_scope())
        await asyncio.sleep(0.15)  # the probe of that page has run
        started.set()
        stop.wait(60)  # the loop is stuck
        await asyncio.sleep(0)

    def lag() -> float:
        figures = get("asyncio")
        assert figures is not None
        shown = figures.snapshot()
        assert isinstance(shown, dict)
        return float(shown["lag_seconds"])

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert started.wait(60)
    try:
        lag()  # sends what will not arrive
        latest = until(lag, lambda seconds: seconds >= 0.3)
        until(lag, lambda seconds: seconds > latest)
    finally:
        stop.set()
        thread.join()


def test_a_registry_that_raises_is_an_answer_of_ours() -> None:
    """In a process of its own, which has no peers, so that it raises on the event loop first."""
    code = """
import asyncio, logging
from tests.integrations.test_asgi import http_scope, run
from tests.site.test_hostile import BrokenRegistry
from pyvars.asgi import DebugApp
logging.disable()
sent = asyncio.run(run(DebugApp(BrokenRegistry()), http_scope("/vars/orders")))
print(sent[0]["status"], sent[1]["body"])
"""
    assert output(code) == "500 b'internal error; see the log\\n'\n"


def test_what_raises_after_its_answer_has_begun_goes_on() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise LookupError

    with pytest.raises(LookupError):
        asyncio.run(run(contained(app), http_scope()))


def test_functions_under_trio() -> None:
    """The page waits for them in a thread. In a process of its own, which has no peers."""
    code = """
import trio, pyvars
from tests.integrations.test_asgi import http_scope, run
from pyvars.asgi import DebugApp
registry = pyvars.Registry()
registry.publish("function", lambda: 7)
body = b"null\\n"
while body == b"null\\n":  # on a busy machine it may be late
    body = trio.run(run, DebugApp(registry), http_scope("/vars/function"))[1]["body"]
print(body)
"""
    assert output(code) == "b'7\\n'\n"
