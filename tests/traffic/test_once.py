"""Each request is counted once, through any middlewares, mounts and copies of scopes; those of pyvars never."""

import asyncio
from typing import Any

import pytest
from a2wsgi import ASGIMiddleware, WSGIMiddleware
from fastapi import FastAPI
from flask import Flask
from litestar import Litestar, asgi, get
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Mount, Route
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from pyvars import Registry, wsgi
from pyvars.asgi import CountRequests, DebugApp, Traffic, VarsMiddleware
from pyvars.health import HealthApp
from pyvars.traffic.in_flight import requests_in_flight
from tests.integrations.every import OWN
from tests.traffic.test_asgi import DISCONNECT, ask, hello, routes, send_to
from tests.traffic.test_wsgi import Server

pytestmark = pytest.mark.usefixtures("both_kinds")


def requests(registry: Registry) -> int:
    """The number of counted requests. None may be in flight."""
    http: Any = registry["http"].snapshot()
    assert (http["in_flight"], http["streams"]["open"], http["websockets"]["open"]) == (0, 0, 0)
    assert requests_in_flight() == 0
    found: int = http["requests"]
    return found


def starlette(registry: Registry) -> Any:
    """An application with a middleware, and with another one below a Mount."""
    inner = Starlette(routes=[Route("/items/{id}", hello)])
    inner.add_middleware(CountRequests, registry=registry)
    app = Starlette(routes=[Route("/", hello), Mount("/sub", inner)])
    app.add_middleware(VarsMiddleware, registry=registry)
    app.add_middleware(CountRequests, registry=registry)
    return app


def fastapi(registry: Registry) -> Any:
    inner = FastAPI()

    async def item(id: int) -> str:
        return OWN

    inner.add_api_route("/items/{id}", item)
    inner.add_middleware(CountRequests, registry=registry)
    app = FastAPI()
    app.mount("/sub", inner)
    app.add_middleware(VarsMiddleware, registry=registry)
    return app


@pytest.mark.parametrize("make", [starlette, fastapi])
def test_in_the_outermost(registry: Registry, make: Any) -> None:
    for wrap in (lambda app: app, lambda app: CountRequests(app, registry=registry)):
        for _ in range(2):
            ask(wrap(make(registry)), "/sub/items/3")
    assert routes(registry) == {"/sub/items/{id}": 4}
    assert requests(registry) == 4


def test_in_each_registry(registry: Registry) -> None:
    other, third = Registry(), Registry()
    app: Any = Starlette(routes=[Route("/", hello)])
    for each in (registry, other, registry, third, other):
        app = CountRequests(app, registry=each)
    ask(app)
    assert [requests(each) for each in (registry, other, third)] == [1, 1, 1]


def test_a_request_that_several_registries_count_is_one_in_flight(registry: Registry) -> None:
    seen: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(requests_in_flight())

    ask(CountRequests(CountRequests(app, registry=registry), registry=Registry()))
    assert seen == [1]


def copies(app: Any) -> Any:
    async def copied(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope}, receive, send)

    return copied


@pytest.mark.parametrize("wrap", [lambda app: app, copies])
def test_what_pyvars_answers_counts_nowhere(registry: Registry, wrap: Any) -> None:
    """Not in an outer middleware or another registry either, and no refused request."""
    other = Registry()
    site = Starlette(routes=[Mount("/debug", wrap(DebugApp(registry))), Mount("/status", HealthApp())])
    app = CountRequests(CountRequests(site, registry=other), registry=registry)
    for path in ("/debug/vars", "/debug/none", "/status/health"):
        for peer in ("127.0.0.1", "10.0.0.1"):
            ask(app, path, client=(peer, 1))
    answer = ask(app, "/debug/vars/http", messages=[DISCONNECT])
    assert b'"in_flight":0' in answer[1]["body"]
    assert requests(registry) == requests(other) == 0
    inner = VarsMiddleware(Starlette(routes=[Route("/", hello)]), registry=Registry())
    app = CountRequests(wrap(inner), registry=registry)
    assert ask(app, "/debug/vars")[0]["status"] == 200
    assert requests(registry) == 0
    assert ask(app, "/debug/vars", client=("10.0.0.1", 1))[0]["status"] == 404  # the application's own
    assert requests(registry) == 1


def test_a_scope_that_is_used_again_counts_anew(registry: Registry) -> None:
    kept: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        kept.append(scope if kept else {**scope})

    async def nothing(*args: Any) -> Any:
        return DISCONNECT

    app = CountRequests(app, registry=registry)  # type: ignore[assignment]
    ask(app)
    for _ in range(2):  # the copy has the first request in it
        asyncio.run(app(kept[0], nothing, nothing))
    assert len(kept) == 3
    assert requests(registry) == 3
    assert kept[1] is kept[0]


@pytest.mark.parametrize("left", [3, None, "pyvars"])
def test_something_else_under_the_key(registry: Registry, left: object) -> None:
    ask(CountRequests(Starlette(routes=[Route("/", hello)]), registry=registry), **{"pyvars.request": left})
    assert requests(registry) == 1


def test_requests_at_once_are_each_their_own(registry: Registry) -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.01)

    app = CountRequests(CountRequests(slow, registry=registry), registry=registry)

    async def main() -> None:
        await asyncio.gather(*(send_to(app) for _ in range(20)))

    asyncio.run(main())
    assert requests(registry) == 20


def test_litestar(registry: Registry) -> None:
    @get("/items/{id:int}")
    async def item() -> str:
        return OWN

    mounted: Any = asgi("/debug", is_mount=True, copy_scope=True)(DebugApp(registry))
    app = CountRequests(CountRequests(Litestar([item, mounted]), registry=registry), registry=registry)  # type: ignore[arg-type]
    ask(app, "/debug/none")
    assert requests(registry) == 0
    ask(app, "/items/3", messages=[{"type": "http.request"}])
    assert requests(registry) == 1


def flask(registry: Registry) -> Flask:
    app = Flask(__name__)
    app.add_url_rule("/items/<int:id>", view_func=lambda id: OWN, endpoint="items")
    app.add_url_rule("/streams", view_func=lambda: iter(["a", "b"]), endpoint="streams")
    app.wsgi_app = wsgi.CountRequests(app.wsgi_app, registry=registry)  # type: ignore[method-assign]
    return app


def test_wsgi(registry: Registry) -> None:
    other = Registry()
    mounted = DispatcherMiddleware(flask(registry), {"/sub": flask(registry), "/debug": wsgi.DebugApp(registry)})
    app = wsgi.VarsMiddleware(wsgi.CountRequests(mounted, registry=other), registry=registry)
    for path in ("/items/1", "/sub/items/2", "/streams", "/sub/streams", "/none"):
        Server(app).ask(path)
    Server(app).ask("/debug/none", REMOTE_ADDR="10.0.0.1")
    assert requests(registry) == requests(other) == 5
    assert routes(registry)["/sub/items/<int:id>"] == 1
    inner = wsgi.VarsMiddleware(flask(other), registry=Registry())
    assert Server(wsgi.CountRequests(inner, registry=registry)).ask("/debug/vars")
    assert requests(registry) == 5


def test_an_environ_that_is_used_again_counts_anew(registry: Registry) -> None:
    seen: list[Any] = []

    def app(environ: Any, start_response: Any) -> Any:
        seen.append(environ)
        start_response("200 OK", [])
        return iter([b"x"])

    counting = wsgi.CountRequests(wsgi.CountRequests(app, registry=registry), registry=Registry())
    Server(counting).ask()
    assert "pyvars.request" not in seen[0]
    body: Any = counting(seen[0], lambda *args: None)
    body.close()
    assert "pyvars.request" not in seen[0]
    assert requests(registry) == 2


def test_a_wsgi_application_behind_asgi(registry: Registry) -> None:
    """a2wsgi passes the scope to it."""
    app = CountRequests(WSGIMiddleware(flask(registry)), registry=registry)
    ask(app, "/items/3", messages=[{"type": "http.request"}])
    assert requests(registry) == 1
    app = CountRequests(WSGIMiddleware(wsgi.DebugApp(registry)), registry=registry)
    assert ask(app, "/vars", messages=[{"type": "http.request"}])[0]["status"] in (200, 404)
    assert requests(registry) == 1


def test_an_asgi_application_behind_wsgi(registry: Registry) -> None:
    inner: Any = CountRequests(Starlette(routes=[Route("/", hello)]), registry=registry)
    app = wsgi.CountRequests(ASGIMiddleware(inner), registry=registry)  # type: ignore[arg-type]
    for _ in range(2):
        assert Server(app).ask() == OWN.encode()
    assert requests(registry) == 2


def test_what_the_outermost_leaves_out_is_left_out_further_in(registry: Registry) -> None:
    async def parts(request: Any) -> StreamingResponse:
        async def body() -> Any:
            yield b"x"

        return StreamingResponse(body())

    routes = [Route("/healthz", hello), Route("/a/{id}", hello), Route("/parts", parts)]
    for outside, inside in (("/healthz", "/a/{id}"), ("/a/{id}", "/healthz")):
        app: Any = CountRequests(Starlette(routes=routes), registry=registry)
        app = CountRequests(app, registry=registry, count=Traffic(exclude=(inside,)))
        app = CountRequests(app, registry=Registry())
        app = VarsMiddleware(app, registry=registry, count=Traffic(exclude=(outside,)))
        for path in ("/healthz", "/a/1"):
            ask(app, path)
    assert requests(registry) == 0
    ask(app, "/parts")
    assert requests(registry) == 1
