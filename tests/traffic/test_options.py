"""Requests that are not counted, and the bounds of the Histograms."""

import asyncio
from typing import Any

import pytest
from django.core.asgi import get_asgi_application
from flask import Flask
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from pyvars import DuplicateNameError, Int, Registry, wsgi
from pyvars.asgi import CountRequests, Traffic, VarsMiddleware
from pyvars.errors import ConfigurationError
from pyvars.traffic.in_flight import requests_in_flight
from tests.integrations.every import OWN
from tests.traffic.test_asgi import ask, hello, routes, shown
from tests.traffic.test_wsgi import Server

pytestmark = pytest.mark.usefixtures("both_kinds")


def starlette() -> Starlette:
    inner = [Route("/items/{id}", hello), Route("/healthz", hello)]
    return Starlette(
        routes=[
            Route("/", hello),
            Route("/healthz", hello),
            Route("/healthz/deep", hello),
            Route("/items/{id}", hello),
            Route("/items/{id}/", hello),
            Mount("/static", StaticFiles(directory="examples")),
            Mount("/v1", routes=inner),
            Mount("/sub", Starlette(routes=inner)),
        ]
    )


PATHS = ("/", "/healthz", "/healthz/deep", "/items/3", "/items/3/", "/static/shop.py", "/v1/items/3", "/sub/healthz")


@pytest.mark.parametrize("root", ["", "/svc"])
@pytest.mark.parametrize(
    ("exclude", "gone"),
    [
        ((), set()),
        (("/healthz",), {"/healthz"}),
        (("/",), {"/"}),
        (("/static/",), {"/static/shop.py"}),
        (("/stat",), set()),
        (("/static/{path}",), {"/static/shop.py"}),
        (("/items/{id}",), {"/items/3"}),
        (("/items/{id}/",), {"/items/3/"}),
        (("/items/",), {"/items/3", "/items/3/"}),
        (("/items/3",), {"/items/3"}),
        (("/v1/items/{id}", "/sub/"), {"/v1/items/3", "/sub/healthz"}),
        (["/sub/healthz", "/healthz/"], {"/sub/healthz", "/healthz/deep"}),
        ({"/healthz"}, {"/healthz"}),
    ],
)
def test_paths_and_templates_that_are_left_out(registry: Registry, exclude: Any, gone: set[str], root: str) -> None:
    app = VarsMiddleware(starlette(), registry=registry, count=Traffic(exclude=exclude))
    bare = CountRequests(starlette(), registry=Registry())
    for path in PATHS:
        before = shown(registry)["requests"]
        assert ask(app, root + path, root_path=root) == ask(bare, root + path, root_path=root)
        assert shown(registry)["requests"] == before + (path not in gone), path
    assert (shown(registry)["in_flight"], requests_in_flight()) == (0, 0)


def test_what_is_left_out_by_its_path_is_not_in_flight(registry: Registry) -> None:
    seen: list[tuple[str, int, int]] = []

    async def view(request: Request) -> PlainTextResponse:
        seen.append((request.url.path, shown(registry)["in_flight"], requests_in_flight()))
        return PlainTextResponse(OWN)

    app = Starlette(routes=[Route("/healthz", view), Route("/items/{id}", view)])
    counting = CountRequests(app, registry=registry, count=Traffic(exclude=("/healthz", "/items/{id}")))
    for path in ("/healthz", "/items/3"):
        ask(counting, path)
    assert seen == [("/healthz", 0, 0), ("/items/3", 1, 1)]  # the template is known only at the end
    assert (shown(registry)["in_flight"], requests_in_flight(), shown(registry)["requests"]) == (0, 0, 0)


def test_of_a_mounted_application_by_the_paths_of_the_whole(registry: Registry) -> None:
    inner = Starlette(routes=[Route("/items/{id}", hello), Route("/healthz", hello)])
    inner.add_middleware(CountRequests, registry=registry, count=Traffic(exclude=("/sub/healthz",)))
    app = Starlette(routes=[Mount("/sub", inner)])
    for path in ("/sub/items/1", "/sub/healthz"):
        ask(app, path)
    assert routes(registry) == {"/sub/items/{id}": 1}


def test_of_django(registry: Registry) -> None:
    app = VarsMiddleware(get_asgi_application(), registry=registry, count=Traffic(exclude=("/hello",)))  # type: ignore[arg-type]
    for path in ("/hello", "/none"):
        ask(app, path, messages=[{"type": "http.request", "body": b"", "more_body": False}])
    assert routes(registry) == {"unmatched": 1}


def flask() -> Flask:
    app = Flask(__name__)
    app.add_url_rule("/healthz", view_func=lambda: OWN, endpoint="healthz")
    app.add_url_rule("/items/<int:id>/", view_func=lambda id: OWN, endpoint="items")
    app.add_url_rule("/caf\u00e9/<id>", view_func=lambda id: iter(["a"]), endpoint="coffee")
    return app


def test_of_wsgi(registry: Registry) -> None:
    traffic = Traffic(exclude=("/healthz", "/items/<int:id>/", "/caf\u00e9/"))
    app = wsgi.VarsMiddleware(DispatcherMiddleware(flask(), {"/sub": flask()}), registry=registry, count=traffic)
    for root in ("", "/svc"):
        for path in ("/healthz", "/items/3/", "/caf\u00e9/3", "/sub/healthz", "/none"):
            Server(app).ask(path.encode().decode("latin-1"), SCRIPT_NAME=root)
    assert routes(registry) == {"/sub/healthz": 2, "unmatched": 2}
    assert (shown(registry)["in_flight"], requests_in_flight()) == (0, 0)


@pytest.mark.parametrize(
    ("exclude", "advice"),
    [
        ("/healthz", "a collection"),
        (b"/healthz", "a collection"),
        (3, "a collection"),
        (None, "a collection"),
        (("healthz",), "begin with a slash"),
        (("",), "begin with a slash"),
        ((3,), "begin with a slash"),
        ((b"/healthz",), "begin with a slash"),
        (("^/healthz",), "begin with a slash"),
        (("/healthz$",), '"/"'),
        (("/static/.*",), '"/static/"'),
        (("/static/.+",), '"/static/"'),
        (("/static/*",), '"/static/"'),
        (("/v1/items/\\d/x",), '"/v1/items/"'),
        (("/(a|b)",), "no regular expression"),
        (("/a|b",), "no regular expression"),
        (("/[ab]",), "no regular expression"),
        (("/a?b=1",), "query"),
        (("/items/{id}$",), "the template"),
    ],
)
def test_what_is_no_path_is_refused_at_once(exclude: Any, advice: str) -> None:
    with pytest.raises(ConfigurationError, match=advice):
        Traffic(exclude=exclude)


@pytest.mark.parametrize("path", ["/c++/", "/favicon.ico", "/<any(a,b):x>/y", "/{id:\\d+}", "/a.b/", "/~x/-_", "/a b"])
def test_what_may_be_in_a_path(path: str) -> None:
    assert Traffic(exclude=(path,)).exclude == (path,)


def test_options_cannot_be_changed_and_are_equal_by_value() -> None:
    traffic = Traffic(exclude=["/a"], bounds=[1, 2])
    assert traffic == Traffic(("/a",), (1.0, 2.0))
    assert "exclude=('/a',), bounds=(1.0, 2.0)" in repr(traffic)
    with pytest.raises(AttributeError):
        traffic.exclude = ()  # type: ignore[misc]


@pytest.mark.parametrize("bounds", [(), (2, 1), (1, 1), (0, 1), (-1,), (float("inf"),), ("a",), "1", 3, range(1, 60)])
def test_what_are_no_bounds_is_refused_at_once(bounds: Any) -> None:
    with pytest.raises(ConfigurationError, match="bounds"):
        Traffic(bounds=bounds)


@pytest.mark.parametrize("middleware", [VarsMiddleware, CountRequests, wsgi.VarsMiddleware, wsgi.CountRequests])
@pytest.mark.parametrize("count", [None, 1, "yes", ("/healthz",)])
def test_what_is_no_option_is_refused(registry: Registry, middleware: Any, count: object) -> None:
    with pytest.raises(TypeError, match="Traffic"):
        middleware(starlette(), registry=registry, count=count)


@pytest.mark.parametrize("middleware", [CountRequests, wsgi.CountRequests])
def test_a_middleware_that_only_counts_must_count(registry: Registry, middleware: Any) -> None:
    with pytest.raises(TypeError, match="leave the middleware out"):
        middleware(starlette(), registry=registry, count=False)
    assert list(registry) == []


def test_bounds(registry: Registry) -> None:
    traffic = Traffic(bounds=(0.5, 30, 60))
    ask(CountRequests(starlette(), registry=registry, count=traffic), "/items/3")
    Server(wsgi.CountRequests(flask(), registry=registry, count=Traffic(bounds=(0.5, 30.0, 60)))).ask("/healthz")
    http: Any = registry["http"]
    of_route = http.var("seconds_by_route").var("/healthz")
    for histogram in (
        http.var("seconds"),
        http.var("first_byte_seconds"),
        of_route,
    ):
        assert histogram.bounds == (0.5, 30.0, 60.0)
        assert histogram.count >= 1


@pytest.mark.parametrize(("one", "other"), [(None, (1, 2)), ((1, 2), None), ((1, 2), (1, 2, 3))])
def test_other_bounds_in_one_registry_are_an_error(registry: Registry, one: Any, other: Any) -> None:
    CountRequests(starlette(), registry=registry, count=Traffic(bounds=one))
    for middleware in (CountRequests, VarsMiddleware, wsgi.CountRequests):
        with pytest.raises(ConfigurationError, match=r"the same Traffic\(bounds"):
            middleware(starlette(), registry=registry, count=Traffic(bounds=other))  # type: ignore[arg-type]
    CountRequests(starlette(), registry=Registry(), count=Traffic(bounds=other))


@pytest.mark.parametrize("options", [{"exclude": ("/healthz",)}, {"bounds": (0.5, 30)}], ids=["exclude", "bounds"])
def test_a_variable_of_the_program_stays_whatever_the_options(registry: Registry, options: Any) -> None:
    """VarsMiddleware serves without counting; CountRequests raises."""
    registry.publish("http", Int(3))
    count = Traffic(**options)
    asgi = VarsMiddleware(starlette(), registry=registry, count=count)
    server = Server(wsgi.VarsMiddleware(flask(), registry=registry, count=count))
    for path in ("/items/3", "/healthz", "/debug/vars"):
        assert ask(asgi, path)[0]["status"] == 200
        server.ask(path)
    assert b'"http": 3' in server.ask("/debug/vars")
    for middleware in (CountRequests, wsgi.CountRequests):
        with pytest.raises(DuplicateNameError, match="another name"):
            middleware(starlette(), registry=registry, count=count)  # type: ignore[arg-type]
    assert registry["http"].snapshot() == 3


def test_the_page_of_a_middleware_that_leaves_out_is_not_left_out(registry: Registry) -> None:
    app = VarsMiddleware(starlette(), registry=registry, count=Traffic(exclude=("/debug/",)))
    assert ask(app, "/debug/vars")[0]["status"] == 200
    ask(app, "/debug/none")
    assert shown(registry)["requests"] == 0


def test_the_application_raises_in_what_is_left_out(registry: Registry) -> None:
    async def raises(scope: Any, receive: Any, send: Any) -> None:
        assert "pyvars.request" in scope
        scopes.append(scope)
        raise ValueError

    scopes: list[Any] = []
    app = CountRequests(raises, registry=registry, count=Traffic(exclude=("/a",)))
    for path in ("/a", "/b"):
        with pytest.raises(ValueError):  # noqa: PT011
            ask(app, path)
    assert not any("pyvars.request" in scope for scope in scopes)
    assert (shown(registry)["requests"], shown(registry)["errors"]) == (1, 1)
    assert asyncio.iscoroutinefunction(app.__call__)
