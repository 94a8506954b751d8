"""The path of the variables: `path=` of a middleware, mounts without root_path, and Litestar's middlewares."""

import asyncio
import warnings
from typing import Any
from urllib.parse import unquote

import pytest
from litestar import Litestar, Router, asgi, get
from litestar.testing import TestClient
from starlette.applications import Starlette
from starlette.routing import Mount

from pyvars import ConfigurationError, Int, PyvarsWarning, Registry, wsgi
from pyvars.access import anyone, token
from pyvars.asgi import ASGIApp, DebugApp, VarsMiddleware
from pyvars.health import HealthApp
from tests.integrations.test_asgi import http_scope, run
from tests.programs import output

OWN = b"own"
TOKEN = "correct-horse-battery"


async def own(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": OWN})


def own_wsgi(environ: Any, start_response: Any) -> list[bytes]:
    start_response("404 Not Found", [])
    return [OWN]


def fetch(app: Any, target: str, **changes: Any) -> tuple[int, bytes]:
    """Status and body of the response to a request for `target`, which is sent as it is."""
    path = changes.pop("path", unquote(target))
    scope = {**http_scope(path, **changes), "raw_path": target.encode()}
    sent = asyncio.run(run(app, scope, {"type": "http.request", "body": b"", "more_body": False}))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def fetch_wsgi(app: Any, path: str, root: str = "") -> tuple[int, bytes]:
    status: list[int] = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "SCRIPT_NAME": root,
        "RAW_URI": root + path,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "localhost",
    }
    body = b"".join(app(environ, lambda line, headers: status.append(int(line[:3]))))
    return status[0], body


@pytest.fixture
def shop(registry: Registry) -> Registry:
    registry.publish("orders", Int(3))
    return registry


@pytest.mark.parametrize("path", ["/internal", "/internal/debug", "/.well-known/a-b_c~d/0"])
def test_a_middleware_answers_below_its_path(shop: Registry, path: str) -> None:
    app = VarsMiddleware(own, registry=shop, count=False, path=path)
    app_of_wsgi = wsgi.VarsMiddleware(own_wsgi, registry=shop, count=False, path=path)

    def both(below: str) -> tuple[int, bytes]:
        answer = fetch(app, below)
        assert answer == fetch_wsgi(app_of_wsgi, below)
        return answer

    index = both(path)
    assert index[0] == 200
    assert index == both(f"{path}/")
    assert b"vars " in index[1]
    assert both(f"{path}/vars/orders") == (200, b"3\n")
    assert both(f"{path}/metrics")[0] == 200
    for elsewhere in (
        "/debug",
        "/debug/vars",
        f"{path}x",
        f"{path}/x",
        f"{path}//vars",
        f"/x{path}/vars",
        "/vars",
        "/",
    ):
        assert both(elsewhere) == (404, OWN)


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "//", "debug", "debug/", "/debug/", "//debug", "/debug//x", "/.", "/..", "/a/../b", "/./a", "/a/.."),
        *(
            "/caf\u00e9",
            "/%64ebug",
            "/a b",
            "/a?b",
            "/a#b",
            "/a;b",
            "/{id}",
            "/<id>",
            "/a\n",
            "/\uff41",
            "/a\\b",
            "/a\0",
        ),
    ],
)
def test_a_path_that_is_none_is_refused_where_it_is_given(path: str) -> None:
    for make in (lambda: VarsMiddleware(own, path=path), lambda: wsgi.VarsMiddleware(own_wsgi, path=path)):
        with pytest.raises(ConfigurationError, match='such as "/debug" or "/internal/debug"') as caught:
            make()
        assert repr(path) in str(caught.value)


@pytest.mark.parametrize("path", [None, b"/debug", 3, ("/debug",)])
def test_a_path_of_another_type_is_refused(path: Any) -> None:
    for make in (lambda: VarsMiddleware(own, path=path), lambda: wsgi.VarsMiddleware(own_wsgi, path=path)):
        with pytest.raises(TypeError, match="path is a str"):
            make()


def test_a_path_below_a_mount_and_behind_a_prefix(shop: Registry) -> None:
    inner = VarsMiddleware(own, registry=shop, count=False, path="/in/debug")
    assert fetch(Starlette(routes=[Mount("/shop", inner)]), "/shop/in/debug/vars/orders") == (200, b"3\n")
    for root, target in (("/svc", "/svc/in/debug/vars/orders"), ("/svc", "/in/debug/vars/orders")):
        assert fetch(inner, target, root_path=root) == (200, b"3\n")
    app = wsgi.VarsMiddleware(own_wsgi, registry=shop, count=False, path="/in/debug")
    assert fetch_wsgi(app, "/in/debug/vars/orders", "/svc") == (200, b"3\n")
    assert fetch_wsgi(app, "/debug/vars/orders", "/svc/in") == (404, OWN)


def test_who_may_not_look_at_the_index_is_the_applications(shop: Registry) -> None:
    app = VarsMiddleware(own, registry=shop, count=False)
    for below in ("", "/", "/vars", "/metrics", "/api/stats", "/workers"):
        assert fetch(app, f"/debug{below}", client=("10.0.0.1", 1)) == (404, OWN)
    app = VarsMiddleware(own, registry=shop, count=False, access=token(TOKEN))
    assert fetch(app, "/debug")[0] == 401
    assert fetch(app, "/debug/x") == (404, OWN)


@get("/hello", sync_to_thread=False)
def hello() -> str:
    return "hello"


@get("/other", sync_to_thread=False)
def other() -> str:
    return "other"


def mounted(app: ASGIApp, path: str = "/debug") -> Any:
    return asgi(path, is_mount=True, copy_scope=True)(app)  # type: ignore[arg-type]


def litestar(*handlers: Any, **options: Any) -> Any:
    return Litestar([hello, *handlers], logging_config=None, **options)


LITESTAR = [
    ("/debug/vars", 200),
    ("/debug/vars/", 200),
    ("/debug/vars/orders", 200),
    ("/debug/vars/%6frders", 200),
    ("/debug/vars/nothing", 404),
    ("/debug/vars/vars", 200),
    ("/debug/metrics", 200),
    ("/debug", 200),
    ("/debug/", 200),
    ("/debug//", 404),
    ("//debug", 404),
    ("//debug/vars", 404),
    ("/debug//vars", 404),
    ("/debug/vars//", 404),
    ("/debug/vars//orders", 404),
    ("/debugx/vars", 404),
    ("/%64ebug", 404),
    ("/%64ebug/vars", 404),
    ("/debug/%76ars", 404),
    ("/debug%2fvars", 404),
    ("/debug/./vars", 404),
    ("/debug/../debug/vars", 404),
    ("/x/debug/vars", 404),
    ("/DEBUG/vars", 404),
]


@pytest.mark.parametrize(("target", "status"), LITESTAR)
def test_a_mount_in_litestar(shop: Registry, target: str, status: int) -> None:
    """Litestar removes the mount point and doubled slashes from the path, and does not set root_path."""
    shop.publish("vars", Int(4))
    app = litestar(mounted(DebugApp(shop)))
    assert fetch(app, target)[0] == status
    if "vars/" in target and status == 200:
        assert fetch(app, target)[1] in (b"3\n", b"4\n", fetch(app, "/debug/vars")[1])
    assert fetch(app, f"/svc{target}", root_path="/svc")[0] == status


def test_a_mount_in_a_router_of_litestar(shop: Registry) -> None:
    """Litestar deep-copies the applications in a Router; a mount point may have any name."""
    router = Router("/in ner/\u00fc", route_handlers=[mounted(DebugApp(shop)), mounted(HealthApp(), "/status")])
    app = litestar(Router("/outer", route_handlers=[router]))
    assert fetch(app, "/outer/in%20ner/%C3%BC/debug/vars/orders") == (200, b"3\n")
    assert fetch(app, "/outer/in%20ner/%C3%BC/status/health") == (200, b"OK\n")
    assert fetch(app, "/outer/in%20ner/%c3%bc/debug/vars/orders")[0] == 404


def test_a_mount_as_the_test_client_of_litestar_asks(shop: Registry) -> None:
    with TestClient(litestar(mounted(DebugApp(shop, access=anyone())))) as client:
        assert client.get("/debug/vars/orders").text == "3\n"
        assert client.get("/debug/vars?name=orders").text == '{\n  "orders": 3\n}\n'


def test_a_service_in_a_mount_that_nobody_tells(shop: Registry) -> None:
    app = litestar(mounted(VarsMiddleware(own, registry=shop, count=False), "/shop"))
    assert fetch(app, "/shop/debug/vars/orders") == (200, b"3\n")
    for target in ("/shop/debug/%76ars/orders", "/shop//debug/vars/orders", "/%73hop/debug/vars/orders"):
        assert fetch(app, target) == (404, OWN)


@pytest.mark.parametrize(
    "target",
    [
        "//vars",
        "/./vars",
        "/../vars",
        "/a/../vars",
        "/a//vars",
        "http://localhost/vars",
        "a/vars",
        "/%61/vars",
        "/vars%2f",
    ],
)
def test_another_spelling_is_no_mount(shop: Registry, target: str) -> None:
    """The path as the client sent it decides, even if a server or framework normalises it."""
    for path in ("/vars", "/vars/"):
        assert fetch(DebugApp(shop), target, path=path)[0] == 404


def told(*middlewares: Any) -> list[tuple[str, str]]:
    """The warnings for a Litestar with these middlewares, each with the file that it names."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        litestar(other, middleware=[*middlewares])
    return [(str(each.message), each.filename) for each in found if issubclass(each.category, PyvarsWarning)]


IN_LITESTAR = """
import json, warnings
from litestar.middleware import DefineMiddleware
from pyvars.asgi import CountRequests, VarsMiddleware
from tests.integrations.test_places import Passing, told
"""


class Passing:
    """A middleware of the program."""

    def __init__(self, app: Any) -> None:
        self.inner = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.inner(scope, receive, send)


@pytest.mark.parametrize(
    ("middlewares", "name"),
    [
        ("VarsMiddleware", "VarsMiddleware"),
        ("CountRequests", "CountRequests"),
        ("DefineMiddleware(VarsMiddleware, count=False)", "VarsMiddleware"),
        ("lambda app: VarsMiddleware(app)", "VarsMiddleware"),
        ("Passing, VarsMiddleware, Passing", "VarsMiddleware"),
    ],
)
def test_litestar_is_told_once_that_its_middlewares_are_not_in_front(middlewares: str, name: str) -> None:
    (text, file), *more = eval(output(f"{IN_LITESTAR}print(told({middlewares}))"))
    assert text.endswith(f"write app = {name}(Litestar(...))")
    assert file == __file__ or middlewares.startswith("lambda")
    assert not more


def test_in_front_of_litestar_nothing_is_told(shop: Registry) -> None:
    """There is no warning, which would be an error in tests."""
    app = VarsMiddleware(litestar(), registry=shop)  # type: ignore[arg-type]
    assert fetch(app, "/debug/vars/orders") == (200, b"3\n")
    assert fetch(app, "/hello")[0] == 200
    assert fetch(app, "/nothing")[0] == 404
    assert fetch(app, "/debug/vars/http")[1].count(b'"requests":2') == 1
