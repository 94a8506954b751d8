"""The counts of the WSGI middlewares."""

import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper, setup_testing_defaults

import pytest
from django.core.wsgi import get_wsgi_application
from flask import Flask, Response, send_file
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from pyvars import DuplicateNameError, Int, Registry
from pyvars.wsgi import CountRequests, VarsMiddleware
from tests.conftest import log_text
from tests.integrations.every import OWN
from tests.traffic.test_asgi import Clock, routes, shown

pytestmark = pytest.mark.usefixtures("both_kinds")


class Server:
    """A server that follows PEP 3333."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.status = ""
        self.headers: list[tuple[str, str]] = []
        self.written: list[bytes] = []

    def start_response(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        self.status, self.headers = status, headers
        return self.written.append

    def call(self, path: str = "/", **environ: Any) -> Iterable[bytes]:
        whole: dict[str, Any] = {"PATH_INFO": path, "REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost"}
        whole.update({"SERVER_PROTOCOL": "HTTP/1.1", **environ})
        setup_testing_defaults(whole)
        body: Iterable[bytes] = self.app(whole, self.start_response)
        return body

    def ask(self, path: str = "/", **environ: Any) -> bytes:
        body = self.call(path, **environ)
        try:
            return b"".join([*self.written, *body])
        finally:
            if hasattr(body, "close"):
                body.close()


def hello(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello, ", b"world"]


def flask() -> Flask:
    app = Flask(__name__)
    app.add_url_rule("/items/<int:id>", view_func=lambda id: OWN, endpoint="items", methods=["GET", "PUT"])
    app.add_url_rule("/raises", view_func=lambda: 1 / 0, endpoint="raises")
    app.add_url_rule("/streams", view_func=lambda: Response(iter(["a", "b"])), endpoint="streams")
    app.add_url_rule("/file", view_func=lambda: send_file(Path(__file__)), endpoint="file")
    app.logger.disabled = True
    return app


def test_what_is_counted(registry: Registry) -> None:
    app = flask()
    app.wsgi_app = CountRequests(app.wsgi_app, registry=registry)  # type: ignore[method-assign]
    size = 0
    for method, path in [("GET", "/items/1"), ("PUT", "/items/2"), ("DELETE", "/items/2"), ("HEAD", "/items/3")]:
        size += len(Server(app).ask(path, REQUEST_METHOD=method))
    for path in ("/raises", "/none", "/streams"):
        size += len(Server(app).ask(path))
    assert shown(registry) == {
        "requests": 7,
        "errors": 1,
        "in_flight": 0,
        "bytes_out": size,
        "by_method": {"GET": 4, "HEAD": 1, "PUT": 1, "DELETE": 1},
        "by_status": {"2xx": 4, "4xx": 2, "5xx": 1},
        "by_route": {"/items/<int:id>": 3, "/raises": 1, "/streams": 1, "unmatched": 2},
    }


def test_routes_of_a_mounted_flask(registry: Registry) -> None:
    app = CountRequests(DispatcherMiddleware(hello, {"/api": flask()}), registry=registry)
    for root in ("", "/svc"):
        Server(app).ask("/api/items/1", SCRIPT_NAME=root)
    assert routes(registry) == {"/api/items/<int:id>": 2}


def test_routes_of_django(registry: Registry) -> None:
    app = VarsMiddleware(get_wsgi_application(), registry=registry)
    for path in ("/hello", "/none"):
        Server(app).ask(path)
    assert routes(registry) == {"/hello": 1, "unmatched": 1}


class Rule:
    rule = "/bottle/<id>"


class Odd:
    @property
    def rule(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("left", "template"),
    [
        ({"bottle.route": Rule()}, "/bottle/<id>"),
        ({"pyvars.route": "/{id}"}, "/{id}"),
        ({"pyvars.route": ""}, "/"),
        ({"pyvars.route": 3}, "unmatched"),
        ({"bottle.route": Odd()}, "unmatched"),
        ({"werkzeug.request": object()}, "unmatched"),
    ],
)
def test_routes_that_other_applications_say(registry: Registry, left: dict[str, Any], template: str) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        environ.update(left)
        return hello(environ, start_response)

    Server(CountRequests(app, registry=registry)).ask()
    assert routes(registry) == {template: 1}


def test_each_half_exists_alone(registry: Registry) -> None:
    server = Server(VarsMiddleware(hello, registry=registry, count=False))
    assert server.ask("/debug/vars") == b"{}\n"
    assert server.ask() == b"hello, world"
    assert "http" not in registry
    assert Server(CountRequests(hello, registry=registry)).ask("/debug/vars") == b"hello, world"
    assert shown(registry)["requests"] == 1


def test_the_page_has_it_and_is_not_in_it(registry: Registry) -> None:
    server = Server(VarsMiddleware(hello, registry=registry))
    server.ask()
    assert b'"requests":1' in server.ask("/debug/vars")
    assert b'"requests":1' in server.ask("/debug/vars/http")
    server.ask("/debug/vars", REMOTE_ADDR="10.0.0.1")
    assert shown(registry)["requests"] == 2


def test_what_the_program_publishes_as_http_stays(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    registry.publish("http", Int(3))
    server = Server(VarsMiddleware(hello, registry=registry))
    server.ask()
    assert b'"http": 3' in server.ask("/debug/vars")
    assert log_text(caplog).count("requests are not counted") == 1
    with pytest.raises(DuplicateNameError, match="leave the middleware out"):
        CountRequests(hello, registry=registry)


def test_a_body_that_is_all_there_is_the_applications_own(registry: Registry) -> None:
    """Servers call len() on it."""
    bodies: list[Any] = [[b"x"], (b"x", b"y"), []]

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return bodies[int(environ["PATH_INFO"][1:])]

    for number, body in enumerate(bodies):
        assert Server(CountRequests(app, registry=registry)).call(f"/{number}") is body
    assert shown(registry)["bytes_out"] == 3


def test_a_body_is_not_held_and_closed_once(registry: Registry) -> None:
    events: list[object] = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            for number in range(3):
                events.append(number)
                yield b"x" * 10

        def close(self) -> None:
            events.append("closed")

    def app(environ: Any, start_response: Any) -> Body:
        start_response("200 OK", [])
        return Body()

    body: Any = Server(CountRequests(app, registry=registry)).call()
    assert shown(registry)["in_flight"] == 1
    for part in body:
        assert part == b"x" * 10
        events.append("sent")
    assert shown(registry)["requests"] == 1
    assert events == [0, "sent", 1, "sent", 2, "sent"]
    body.close()
    assert events[-1] == "closed"
    assert (shown(registry)["requests"], shown(registry)["bytes_out"], shown(registry)["in_flight"]) == (1, 30, 0)


def test_a_client_that_leaves(registry: Registry) -> None:
    """The server closes the body, whether it has sent a part of it or not."""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"half"
        yield b"never"

    for parts in (1, 0):
        body: Any = Server(CountRequests(app, registry=registry)).call()
        for _ in range(parts):
            assert next(iter(body)) == b"half"
        body.close()
    http = shown(registry)
    assert http["by_status"] == {"2xx": 1, "499": 1}  # the second never called start_response
    assert (http["errors"], http["in_flight"], http["bytes_out"]) == (0, 0, 4)


def test_the_function_write(registry: Registry) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        write(b"one")
        write(b"two")
        return [b"three"]

    assert Server(CountRequests(app, registry=registry)).ask() == b"onetwothree"
    assert shown(registry)["bytes_out"] == 11


class Waits(Exception):
    pass


class Timeout(BaseException):
    """Like the timeouts of gevent and eventlet."""


CALLS: list[Any] = [
    lambda start: start("201 Created", []),
    lambda start: start("201 Created", [], None),
    lambda start: start("201 Created", [], exc_info=None),
    lambda start: start(headers=[], exc_info=None, status="201 Created"),
    lambda start: start("201 Created", headers=[]),
]


@pytest.mark.parametrize("call", CALLS)
def test_arguments_of_start_response_by_keyword(registry: Registry, call: Any) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        write = call(start_response)
        write(b"one")
        return [b"two"]

    server = Server(CountRequests(app, registry=registry))
    assert server.ask() == b"onetwo"
    assert (server.status, server.headers) == ("201 Created", [])
    assert (shown(registry)["by_status"], shown(registry)["bytes_out"]) == ({"2xx": 1}, 6)


def test_arguments_that_the_server_names_otherwise_or_refuses(registry: Registry) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response(status="200 OK", response_headers=[("Content-Type", "text/event-stream")])
        return [b"data: 1\n\n"]

    def start(status: str, response_headers: Any, exc_info: Any = None) -> Any:
        pass

    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    assert [*CountRequests(app, registry=registry)(environ.copy(), start)] == [b"data: 1\n\n"]
    with pytest.raises(TypeError):
        CountRequests(app, registry=registry)(environ.copy(), lambda status, headers: None)  # type: ignore[arg-type, return-value]
    assert (shown(registry)["by_status"], shown(registry)["errors"]) == ({"2xx": 1, "5xx": 1}, 1)


class ClientDisconnected(Exception):
    """Like the exception that waitress raises."""


@pytest.mark.parametrize("error", [BrokenPipeError, ClientDisconnected])
@pytest.mark.parametrize("parts", [0, 1])
@pytest.mark.parametrize("goes_on", [False, True])
def test_a_write_that_fails(registry: Registry, error: type[Exception], parts: int, goes_on: bool) -> None:
    """The client has disconnected: before the response, or during it."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        try:
            for _ in range(3):
                write(b"part")
        except error:
            if not goes_on:
                raise
        return []

    def start(status: str, headers: Any, exc_info: Any = None) -> Any:
        written: list[bytes] = []

        def write(data: bytes) -> None:
            if len(written) == parts:
                raise error
            written.append(data)

        return write

    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    with suppress(error):
        assert [*CountRequests(app, registry=registry)(environ, start)] == []
    http = shown(registry)
    assert (http["by_status"], http["errors"]) == ({"2xx" if parts else "499": 1}, 0)
    assert (http["bytes_out"], http["in_flight"]) == (4 * parts, 0)


@pytest.mark.parametrize(
    ("handed", "errors", "status"), [(None, 0, "499"), (FileNotFoundError(), 1, "5xx"), (ValueError(), 1, "5xx")]
)
def test_a_start_that_the_server_refuses(
    registry: Registry, handed: Exception | None, errors: int, status: str
) -> None:
    """It raises again an exception that comes too late, and its own exception if the client has disconnected."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        if handed:
            start_response("200 OK", [], (type(handed), handed, None))
        start_response("200 OK", [])
        return []

    def start(status: str, headers: Any, exc_info: Any = None) -> Any:
        raise exc_info[1] if exc_info else BrokenPipeError

    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    with pytest.raises((OSError, ValueError)):
        CountRequests(app, registry=registry)(environ, start)
    assert (shown(registry)["by_status"], shown(registry)["errors"]) == ({status: 1}, errors)


@pytest.mark.parametrize("data", [7, "text"])
def test_a_write_of_what_is_no_bytes(registry: Registry, data: Any) -> None:
    """That is an error of the application, whether the middleware or the server notices it."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])(data)
        return []

    def start(status: str, headers: Any, exc_info: Any = None) -> Any:
        return b"".join  # raises TypeError, as servers do

    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    with pytest.raises(TypeError):
        CountRequests(app, registry=registry)(environ, start)
    http = shown(registry)
    assert (http["by_status"], http["errors"], http["bytes_out"]) == ({"5xx": 1}, 1, 0)


@pytest.mark.parametrize("parts", [0, 1, 2])
def test_a_body_that_is_dropped_without_close(registry: Registry, parts: int) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"one"
        yield b"two"

    body: Any = Server(CountRequests(app, registry=registry)).call()
    for _ in range(parts):
        next(body)
    assert shown_in_flight(registry) == 1
    del body
    http = shown(registry)
    assert (http["requests"], http["errors"], http["in_flight"]) == (1, 0, 0)
    assert (http["by_status"], http["bytes_out"]) == ({"2xx" if parts else "499": 1}, 3 * parts)


def shown_in_flight(registry: Registry) -> int:
    http: Any = registry["http"].snapshot()
    found: int = http["in_flight"]
    return found


@pytest.mark.parametrize("value", [None, 7, [("Content-Type",)], [(1, 2)], iter(())])
def test_headers_that_the_server_takes_are_no_matter(registry: Registry, value: Any) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", value)
        yield b"hello"

    assert Server(CountRequests(app, registry=registry)).ask() == b"hello"
    assert shown(registry)["by_status"] == {"2xx": 1}


def test_close_that_raises(registry: Registry) -> None:
    class Body:
        def __iter__(self) -> Iterator[bytes]:
            return iter((b"whole",))

        def close(self) -> None:
            raise Waits

    def app(environ: Any, start_response: Any) -> Body:
        start_response("200 OK", [])
        return Body()

    with pytest.raises(Waits):
        Server(CountRequests(app, registry=registry)).ask()
    http = shown(registry)
    assert (http["by_status"], http["errors"], http["in_flight"]) == ({"2xx": 1}, 0, 0)


def raises(environ: Any, start_response: Any) -> list[bytes]:
    raise ValueError


def has_no_time(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    raise Timeout


def has_no_time_in_the_body(environ: Any, start_response: Any) -> Iterator[bytes]:
    raise Timeout
    yield b""


def is_closed(environ: Any, start_response: Any) -> list[bytes]:
    raise GeneratorExit


def returns_nothing(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [])


def never_starts(environ: Any, start_response: Any) -> list[bytes]:
    return []


def never_starts_a_file(environ: Any, start_response: Any) -> Any:
    return environ["wsgi.file_wrapper"](io.BytesIO(b""))


def raises_without_a_start(environ: Any, start_response: Any) -> Iterator[bytes]:
    yield b"half"
    raise ValueError


def ends_the_program(environ: Any, start_response: Any) -> list[bytes]:
    sys.exit()


def raises_before_the_body(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [])
    raise ValueError
    yield b""


def raises_in_the_body(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b"half"
    raise ValueError


def is_killed_in_the_body(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b"half"
    raise KeyboardInterrupt


def answers_its_own_error(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    try:
        raise ValueError
    except ValueError:
        start_response("500 Internal Server Error", [], sys.exc_info())
    return [b"oops"]


def says_an_odd_status(environ: Any, start_response: Any) -> list[bytes]:
    start_response("OK", [])
    return [b""]


def starts_late(environ: Any, start_response: Any) -> Iterable[bytes]:
    class Late(list[bytes]):
        def __iter__(self) -> Iterator[bytes]:
            start_response("204 No Content", [])
            return iter(())

    return Late()


@pytest.mark.parametrize(
    ("app", "status", "errors", "size"),
    [
        (raises, "5xx", 1, 0),
        (has_no_time, "5xx", 1, 0),
        (has_no_time_in_the_body, "5xx", 1, 0),
        (is_closed, "499", 0, 0),
        (returns_nothing, "5xx", 1, 0),
        (never_starts, "5xx", 1, 0),
        (raises_without_a_start, "5xx", 1, 4),
        (ends_the_program, "5xx", 1, 0),
        (raises_before_the_body, "5xx", 1, 0),  # the server has not sent the 200 yet, and sends 500
        (raises_in_the_body, "2xx", 1, 4),
        (is_killed_in_the_body, "2xx", 1, 4),
        (answers_its_own_error, "5xx", 1, 4),
        (says_an_odd_status, "__other__", 1, 0),
        (starts_late, "2xx", 0, 0),
    ],
)
def test_how_a_request_ends(registry: Registry, app: Any, status: str, errors: int, size: int) -> None:
    def outcome(app: Any) -> object:
        try:
            return Server(app).ask()
        except BaseException as error:
            return type(error)

    assert outcome(CountRequests(app, registry=registry)) == outcome(app)
    http = shown(registry)
    assert http["by_status"] == {status: 1}
    assert (http["errors"], http["in_flight"], http["bytes_out"]) == (errors, 0, size)


def test_a_part_or_a_file_without_a_start_is_refused_by_the_server(registry: Registry) -> None:
    def part(environ: Any, start_response: Any) -> Iterator[bytes]:
        yield b"part"

    body: Any = Server(CountRequests(part, registry=registry)).call()
    next(body)
    body.close()
    Server(CountRequests(never_starts_a_file, registry=registry)).call(**{"wsgi.file_wrapper": FileWrapper})
    assert (shown(registry)["by_status"], shown(registry)["errors"]) == ({"5xx": 2}, 2)


@pytest.mark.parametrize("length", ["1000", "", "many"])
def test_a_file_for_the_server_is_handed_on_as_it_is(registry: Registry, length: str) -> None:
    """Otherwise the server would not know that it can use sendfile."""
    made: list[Any] = []

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", length)] if length else [])
        made.append(environ["wsgi.file_wrapper"](io.BytesIO(b"x" * 1000)))
        return made[-1]

    class Wrapper:
        def __init__(self, file: Any) -> None:
            pass

    def bare(file: Any) -> Any:  # uWSGI's
        return Path(__file__).open("rb")

    for wrapper in (FileWrapper, Wrapper, bare):
        body: Any = Server(CountRequests(app, registry=registry)).call(**{"wsgi.file_wrapper": wrapper})
        assert body is made[-1]
        with suppress(AttributeError):
            body.close()
    http = shown(registry)
    assert (http["requests"], http["bytes_out"]) == (3, 3000 if length == "1000" else 0)


def test_a_file_of_flask(registry: Registry) -> None:
    app = flask()
    app.wsgi_app = CountRequests(app.wsgi_app, registry=registry)  # type: ignore[method-assign]
    size = Path(__file__).stat().st_size
    assert len(Server(app).ask("/file")) == size
    body: Any = Server(app).call("/file", **{"wsgi.file_wrapper": FileWrapper})
    assert type(body) is FileWrapper
    body.close()
    http = shown(registry)
    assert (http["by_route"], http["bytes_out"]) == ({"/file": 2}, 2 * size)


def test_seconds(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        for _ in range(3):
            clock.now += 0.25
            yield b"x"

    Server(CountRequests(app, registry=registry)).ask()
    http: Any = registry["http"].snapshot()
    assert http["seconds"]["sum"] == 0.75
