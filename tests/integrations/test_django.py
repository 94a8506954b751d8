"""The middleware in the settings of Django, under both kinds of handlers, as Django users use it."""

import asyncio
import gc
import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper

import httpx
import pytest
from asgiref.sync import async_to_sync, markcoroutinefunction
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.test.utils import override_settings
from django.utils.decorators import async_only_middleware, sync_only_middleware

from pyvars import ConfigurationError, Int, Registry, asgi, wsgi
from pyvars.access import token
from pyvars.django import Traffic, VarsMiddleware
from pyvars.traffic.in_flight import requests_in_flight
from tests.integrations import django_site
from tests.integrations.test_asgi import http_scope
from tests.programs import output
from tests.services import fetch, free_port, service
from tests.traffic.test_asgi import ask, routes, shown
from tests.traffic.test_wsgi import Server

OURS = "pyvars.django.VarsMiddleware"
SITE = "tests.integrations.django_site"
HERE = "tests.integrations.test_django"
TOKEN = "correct-horse-battery"
EMPTY = [{"type": "http.request", "body": b"", "more_body": False}]


@sync_only_middleware
def sync_only(get_response: Any) -> Any:
    return lambda request: get_response(request)


@async_only_middleware
def async_only(get_response: Any) -> Any:
    async def middleware(request: Any) -> Any:
        return await get_response(request)

    return middleware


Ask = Callable[[str], tuple[int, bytes]]
"""Status and body of the answer to a path."""


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.CRITICAL, "django")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "StreamingHttpResponse must consume")  # a stream of the other kind
        yield


@pytest.fixture
def shop(registry: Registry) -> Registry:
    registry.publish("orders", Int(3))
    return registry


CHAINS: dict[str, tuple[Any, list[str]]] = {
    "wsgi": (get_wsgi_application, [OURS]),
    "wsgi, asynchronous within": (get_wsgi_application, [OURS, f"{HERE}.async_only"]),
    "asgi": (get_asgi_application, [OURS]),
    "asgi, synchronous within": (get_asgi_application, [OURS, f"{HERE}.sync_only"]),
    "asgi, synchronous in front": (get_asgi_application, [f"{HERE}.sync_only", OURS]),
}


@pytest.fixture(params=CHAINS)
def chain(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def handler(chain: str, *more: str, **options: Any) -> Any:
    make, middlewares = CHAINS[chain]
    with override_settings(MIDDLEWARE=[*more, *middlewares], ROOT_URLCONF=SITE, PYVARS=options):
        return make()


def asking(app: Any, chain: str) -> Ask:
    def ask_wsgi(path: str) -> tuple[int, bytes]:
        server = Server(app)
        with override_settings(ROOT_URLCONF=SITE):
            body = server.ask(path)
        return int(server.status[:3]), body

    def ask_asgi(path: str) -> tuple[int, bytes]:
        with override_settings(ROOT_URLCONF=SITE):
            start, *rest = ask(app, path, messages=EMPTY)
        return start["status"], b"".join(message.get("body", b"") for message in rest)

    return ask_wsgi if chain.startswith("wsgi") else ask_asgi


def test_it_answers_and_counts(shop: Registry, chain: str) -> None:
    get = asking(handler(chain, registry=shop), chain)
    assert get("/debug/vars/orders") == (200, b"3\n")
    assert get("/debug")[0] == 200
    for path in ("/hello", "/hello_async", "/shop/items/3/", "/shop/items/4/", "/parts", "/parts_async", "/none"):
        assert get(path)[0] == (404 if path == "/none" else 200)
    assert get("/raises")[0] == 500
    assert get("/debug/none")[0] == 404
    counted = shown(shop)
    assert counted["by_route"] == {
        **dict.fromkeys(("/hello", "/hello_async", "/parts", "/parts_async", "/raises"), 1),
        "/shop/items/<int:number>/": 2,
        "unmatched": 2,
    }
    assert counted["by_status"] == {"2xx": 6, "4xx": 2, "5xx": 1}
    assert (counted["requests"], counted["errors"], counted["in_flight"]) == (9, 1, 0)
    assert requests_in_flight() == 0


def test_bytes_of_bodies(shop: Registry, chain: str) -> None:
    get = asking(handler(chain, registry=shop), chain)
    for path, size in (("/hello", 3), ("/parts", 8), ("/parts_async", 8)):
        before = shown(shop)["bytes_out"] if "http" in shop else 0
        assert len(get(path)[1]) == size
        assert shown(shop)["bytes_out"] - before == size
    assert get("/file")[1].startswith(b'"""A project')


def test_a_file_that_the_server_reads(shop: Registry) -> None:
    server = Server(handler("wsgi", registry=shop))
    with override_settings(ROOT_URLCONF=SITE):
        body = server.call("/file", **{"wsgi.file_wrapper": FileWrapper})
        assert type(body) is FileWrapper  # sendfile works
        assert shown(shop)["bytes_out"] == len(b"".join(body))
        body.close()
    assert routes(shop) == {"/file": 1}


@pytest.mark.parametrize("path", ["/broken", "/broken_async"])
def test_a_stream_that_breaks(shop: Registry, path: str) -> None:
    chain = "asgi" if path.endswith("async") else "wsgi"
    get = asking(handler(chain, registry=shop), chain)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Django leaves the file open that has the body of the request
        with pytest.raises(LookupError):
            get(path)
        gc.collect()
    counted = shown(shop)
    assert (counted["errors"], counted["by_status"], counted["bytes_out"]) == (1, {"2xx": 1}, 5)
    assert requests_in_flight() == 0


def test_a_stream_that_is_closed_before_its_end(shop: Registry) -> None:
    app = handler("wsgi", registry=shop)
    with override_settings(ROOT_URLCONF=SITE):
        body: Any = Server(app).call("/parts")
    assert next(iter(body)) == b"12345"
    assert shop["http"]["requests"] == 0  # type: ignore[index]
    body.close()
    body.close()
    assert shown(shop)["bytes_out"] == 5
    assert (shown(shop)["requests"], requests_in_flight()) == (1, 0)


def test_a_stream_that_a_server_drops() -> None:
    code = """
import gc, pyvars
from tests.integrations.django_site import wsgi_application
from wsgiref.util import setup_testing_defaults
environ = {"PATH_INFO": "/parts"}
setup_testing_defaults(environ)
wsgi_application(environ, lambda status, headers: None)
del environ
gc.collect()
print(pyvars.get("http")["requests"], pyvars.get("http")["in_flight"])
"""
    assert output(code, DJANGO_SETTINGS_MODULE=SITE) == "1 0\n"


def test_an_event_stream(shop: Registry) -> None:
    async def main(app: Any, count: Callable[[], Any]) -> list[Any]:
        messages, seen, read = [*EMPTY], [], asyncio.Event()

        async def receive() -> Any:
            if messages:
                return messages.pop()
            await read.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message.get("body"):
                seen.append(count())
                read.set()

        await app(http_scope("/events/1"), receive, send)
        return [*seen, count()]

    def count() -> Any:
        http: Any = shop["http"].snapshot()
        return [http["streams"]["open"], http["in_flight"], http["streams"]["seconds"]["count"], http["requests"]]

    app = handler("asgi", registry=shop)
    with override_settings(ROOT_URLCONF=SITE):
        assert asyncio.run(main(app, count)) == [[1, 0, 0, 0], [0, 0, 1, 1]]
        app = handler("asgi", registry=shop, count=Traffic(exclude=("/events/<int:number>",)))
        assert asyncio.run(main(app, count)) == [[0, 0, 1, 1], [0, 0, 1, 1]]


def test_a_client_that_leaves_before_it_is_answered(shop: Registry) -> None:
    with override_settings(PYVARS={"registry": shop}):

        async def hangs(request: Any) -> HttpResponse:
            await asyncio.sleep(60)
            raise AssertionError

        markcoroutinefunction(hangs)
        middleware = VarsMiddleware(hangs)

        async def main() -> None:
            request: Any = HttpRequest()
            request.method, request.path, request.path_info, request.scope = "GET", "/x", "/x", {"path": "/x"}
            task = asyncio.ensure_future(middleware(request))
            await asyncio.sleep(0)
            assert requests_in_flight() == 1
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert request.scope == {"path": "/x"}

        asyncio.run(main())
    assert shown(shop)["by_status"] == {"499": 1}
    assert shown(shop)["errors"] == 0


def test_an_exception_that_django_passes_on(shop: Registry) -> None:
    get = asking(handler("wsgi", registry=shop), "wsgi")
    with override_settings(DEBUG_PROPAGATE_EXCEPTIONS=True), pytest.raises(LookupError):
        get("/raises")
    assert shown(shop)["by_status"] == {"5xx": 1}


@pytest.mark.parametrize("chain", ["wsgi", "asgi"])
def test_a_request_counts_once(shop: Registry, chain: str) -> None:
    inner = handler(chain, OURS, registry=shop)
    package: Any = wsgi if chain == "wsgi" else asgi
    asking(inner, chain)("/hello")
    assert routes(shop) == {"/hello": 1}
    get = asking(package.VarsMiddleware(package.CountRequests(inner, registry=shop), registry=shop), chain)
    get("/shop/items/3/")
    get("/parts")
    assert get("/debug/vars/orders") == (200, b"3\n")
    assert routes(shop) == {"/hello": 1, "/shop/items/<int:number>/": 1, "/parts": 1}


@pytest.mark.parametrize("chain", ["wsgi", "asgi"])
@pytest.mark.parametrize("count", [True, False])
def test_middlewares_further_out_know_the_route(shop: Registry, chain: str, count: bool) -> None:
    """Also if another middleware is between, so that they do not wrap the handler itself."""
    inner = handler(chain, registry=shop, count=count)
    registry = Registry()

    async def between(scope: Any, receive: Any, send: Any) -> None:
        await inner(scope, receive, send)

    outer = registry if count else shop
    if chain == "wsgi":
        app: Any = wsgi.CountRequests(lambda environ, start: inner(environ, start), registry=outer)
    else:
        app = asgi.CountRequests(between, registry=outer)
    for path in ("/shop/items/3/", "/own", "/none"):
        asking(app, chain)(path)
    assert routes(outer) == {"/shop/items/<int:number>/": 1, "of the view": 1, "unmatched": 1}
    if count:
        assert routes(shop) == routes(outer)


@pytest.mark.parametrize("chain", ["wsgi", "asgi"])
def test_what_it_answers_counts_nowhere(shop: Registry, chain: str) -> None:
    other = Registry()
    inner = handler(chain, registry=shop)
    get = asking((wsgi if chain == "wsgi" else asgi).CountRequests(inner, registry=other), chain)
    assert get("/debug/vars/orders") == (200, b"3\n")
    get("/hello")
    assert routes(shop) == routes(other) == {"/hello": 1}


def test_options_of_the_settings(shop: Registry, chain: str) -> None:
    get = asking(handler(chain, registry=shop, path="/in/debug", count=Traffic(exclude=("/hello", "/shop/"))), chain)
    for path in ("/hello", "/shop/items/3/", "/hello_async", "/debug/vars"):
        get(path)
    assert get("/in/debug/vars/orders") == (200, b"3\n")
    assert routes(shop) == {"/hello_async": 1, "unmatched": 1}
    other = Registry()
    get = asking(handler(chain, registry=other, count=False), chain)
    assert get("/hello") == (200, b"own")
    assert get("/debug/vars") == (200, b"{}\n")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"acces": 1}, "any of the keys access, count, history, path, registry, got acces"),
        ({3: 1, "token": TOKEN}, "got 3, token"),
        ("secret", "got str"),
        (None, "got NoneType"),
        ({"path": "debug"}, "path is where the variables are"),
        ({"access": 3}, "access takes a rule"),
    ],
)
def test_options_that_are_none(options: Any, text: str) -> None:
    with override_settings(PYVARS=options), pytest.raises(ConfigurationError, match=text) as caught:
        VarsMiddleware(lambda request: None)
    assert TOKEN not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("options", [{"count": 3}, {"registry": "default"}, {"path": b"/debug"}])
def test_options_of_another_type(options: Any) -> None:
    with override_settings(PYVARS=options), pytest.raises(TypeError):
        VarsMiddleware(lambda request: None)


def test_a_program_that_publishes_http_itself_is_served(shop: Registry, chain: str) -> None:
    shop.publish("http", Int(7))
    get = asking(handler(chain, registry=shop), chain)
    assert get("/hello") == (200, b"own")
    assert json.loads(get("/debug/vars")[1]) == {"http": 7, "orders": 3}


def test_who_has_no_credential_is_asked_for_one(shop: Registry) -> None:
    """Django sends each header once, so one header has both challenges."""
    with override_settings(MIDDLEWARE=[OURS], ROOT_URLCONF=SITE, PYVARS={"registry": shop, "access": token(TOKEN)}):
        for client in (Client(), AsyncClient()):
            get = client.get if isinstance(client, Client) else async_to_sync(client.get)
            answer = get("/debug/vars")
            assert answer.status_code == 401
            assert answer["WWW-Authenticate"] == 'Bearer, Basic realm="pyvars", charset="UTF-8"'
            assert answer["Content-Type"] == "text/plain; charset=utf-8"
            assert get("/hello").content == b"own"
        answer = Client().options("/debug/vars", headers={"Authorization": f"Bearer {TOKEN}"})
        assert (answer.status_code, answer.content, answer.get("Content-Type")) == (204, b"", None)
    assert routes(shop) == {"/hello": 2}


def test_another_machine_gets_what_the_application_answers(shop: Registry) -> None:
    with override_settings(MIDDLEWARE=[OURS], ROOT_URLCONF=SITE, PYVARS={"registry": shop}):
        assert Client(REMOTE_ADDR="10.0.0.1").get("/debug/vars").status_code == 404
        assert b"/hello" not in Client().get("/hello").content
    assert routes(shop) == {"unmatched": 1, "/hello": 1}


SERVERS = {
    "runserver": (SITE, "runserver", "--noreload", "{port}"),
    "gunicorn": ("gunicorn", "-b", "127.0.0.1:{port}", "--threads", "2", f"{SITE}:wsgi_application"),
    "uvicorn": (
        "uvicorn",
        "--port",
        "{port}",
        "--log-level",
        "critical",
        "--lifespan",
        "off",
        f"{SITE}:asgi_application",
    ),
}


@pytest.mark.parametrize("name", SERVERS)
def test_under_real_servers(name: str) -> None:
    port = free_port()
    command = [part.format(port=port) for part in SERVERS[name]]
    with service(*command, ready=port, DJANGO_SETTINGS_MODULE=SITE):
        assert fetch(port, "/hello").body == b"own"
        assert fetch(port, "/shop/items/3/").body == b"own"
        assert fetch(port, "/parts_async" if name == "uvicorn" else "/parts").body == b"12345678"
        assert fetch(port, "/file").body.startswith(b'"""A project')
        until = time.monotonic() + 60
        while (http := json.loads(fetch(port, "/debug/vars/http").body))["requests"] < 4:
            assert time.monotonic() < until
        assert http["by_route"] == {
            **dict.fromkeys(("/hello", "/file", "/shop/items/<int:number>/"), 1),
            ("/parts_async" if name == "uvicorn" else "/parts"): 1,
        }
        assert http["bytes_out"] == 3 + 3 + 8 + Path(django_site.__file__).stat().st_size
        assert (http["requests"], http["in_flight"], http["errors"]) == (4, 0, 0)
        assert json.loads(fetch(port).body)["memstats"]["HeapAlloc"] > 0
        assert httpx.get(f"http://127.0.0.1:{port}/debug", headers={"Via": "1.1 x"}).status_code == 404
