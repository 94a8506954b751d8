"""A middleware for Django's settings: `MIDDLEWARE = ["pyvars.django.VarsMiddleware", ...]`. Put it first in the list.

It does what VarsMiddleware of `pyvars.wsgi` and of `pyvars.asgi` does, under Django's WSGI and ASGI handlers. The
setting PYVARS is a dict with the arguments of these classes:

    PYVARS = {"access": token_file("/run/secrets/scrape"), "count": Traffic(exclude=("/healthz",))}
"""

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings  # type: ignore[import-untyped] # pyright: ignore[reportMissingTypeStubs]
from django.http import HttpResponse  # type: ignore[import-untyped] # pyright: ignore[reportMissingTypeStubs]

import pyvars
from pyvars import asgi, wsgi
from pyvars.access.request import Request
from pyvars.errors import ConfigurationError
from pyvars.runtime.event_loop import register_loop
from pyvars.site.default import checked_path, debug
from pyvars.site.event_loop import answer
from pyvars.site.http import Response
from pyvars.traffic.http_variable import recorder_of
from pyvars.traffic.in_flight import ARRIVALS
from pyvars.traffic.once import detach, discard, outer_request, stand_in
from pyvars.traffic.options import Traffic, exclusions, traffic
from pyvars.traffic.recorder import KEY, UNMATCHED, FollowedRequest, RequestRecorder
from pyvars.traffic.routes import ROUTE_KEY
from pyvars.workers import REQUESTS

__all__ = ("Traffic", "VarsMiddleware")

_OPTIONS = frozenset(("access", "count", "history", "path", "registry"))


class VarsMiddleware:
    """A middleware that answers requests below `/debug` as `DebugApp` does, and passes on and counts all others.

        MIDDLEWARE = ["pyvars.django.VarsMiddleware", ...]

    The dict `PYVARS` in the settings may have the arguments of `wsgi.VarsMiddleware`: `registry`, `access`, `count`,
    `path` and `history`. Requests that an earlier middleware of MIDDLEWARE answers are not counted, and the time that
    earlier middlewares take is not measured. Thread-safe.

    Raises:
        ConfigurationError: `PYVARS` is not a dict of these options, or an option has a wrong value.
        TypeError: an option has a value of a wrong type.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        options = _options()
        count, prefix = traffic(options.get("count", True)), checked_path(options.get("path", "/debug"))
        registry = options.get("registry")
        history = options.get("history", True)
        self._site = debug(registry, options.get("access"), prefix=prefix, history=history)
        self._count_request = self._count_first
        self._recorder = self._exclusions = None
        if count is not None:
            self._recorder = recorder_of(registry or pyvars.default_registry, count, required=False)
            self._exclusions = exclusions(count)
        self._get_response = get_response
        self._is_async: bool = iscoroutinefunction(get_response)  # pyright: ignore[reportDeprecated]
        if self._is_async:
            markcoroutinefunction(self)

    def _count_first(self) -> None:
        """Count the first request, and begin the history. Later requests are only counted."""
        self._count_request = REQUESTS.add
        self._site.begin()
        REQUESTS.add()

    def __call__(self, request: Any) -> Any:
        """Answer the request, or pass it on. Returns a response, or in an asynchronous handler a coroutine of one."""
        self._count_request()
        if self._is_async:
            return self._answer(request)
        if self._site.prefix in request.path:
            response = self._site.respond(_translated(request))
            if response.ours:
                return _ours(request, response)
        with self._following(request) as followed:
            return followed(self._get_response(request))

    async def _answer(self, request: Any) -> Any:
        if self._site.prefix in request.path:
            register_loop()
            response = await answer(self._site, _translated(request))
            if response.ours:
                return _ours(request, response)
        with self._following(request) as followed:
            return followed(await cast("Awaitable[Any]", self._get_response(request)))

    @contextmanager
    def _following(self, request: Any) -> Generator[Callable[[Any], Any], None, None]:
        """Follow the request in a `with` block. Yields a function, to be called with the response, which returns it."""

        def noted(response: Any) -> Any:
            _template(request)
            return response

        if self._recorder is None:
            yield noted
            return
        instead = stand_in(self._recorder, self._exclusions, _carrier(request), request.path_info)
        if instead is not None:
            try:
                yield noted
            finally:
                detach(_carrier(request), instead)
            return
        left_out = frozenset[str]() if self._exclusions is None else self._exclusions.whole
        followed = _DjangoRequest(self._recorder, request, left_out)
        try:
            yield followed.respond
        except BaseException as error:
            followed.fail(error)
            raise


class _DjangoRequest(FollowedRequest):
    """Follows one request until its response is known; if the response is a stream, until the stream has ended.

    It neither holds nor changes any part of a body.
    """

    __slots__ = ("_carrier", "_request", "_route")

    status: int
    size: int

    def __init__(self, recorder: RequestRecorder, request: Any, left_out: frozenset[str]) -> None:
        self.recorder = recorder
        self.left_out = left_out
        self._request = request
        self._carrier = _carrier(request)
        self.outer = outer_request(self._carrier)
        self._route = UNMATCHED
        self.recorded = False
        self.held = None
        self.status = self.size = 0
        self.first = 0.0
        recorder.begin()
        self.started = perf_counter()
        if self.outer is None:
            ARRIVALS[self.started] = None
        self._carrier[KEY] = self

    def respond(self, response: Any) -> Any:
        """Returns the response. The request ends when the response does."""
        self.status = response.status_code
        self._route = _template(self._request)
        if not response.streaming:
            self.size = len(response.content)
            self.end(False)
        elif getattr(response, "file_to_stream", None) is not None and "wsgi.file_wrapper" in self._request.META:
            self.size = int(response.get("Content-Length", 0))  # the server reads the file
            self.end(False)
        else:
            if response.get("Content-Type", "").strip().lower().startswith("text/event-stream"):
                if self._route in self.left_out:
                    self.discard()
                else:
                    self.recorder.hold_as_stream(self)
            body = _AsyncBody if response.is_async else _SyncBody
            response.streaming_content = body(self, response.streaming_content)
        return response

    def part(self, part: bytes) -> None:
        """Count a part of the body that the server gets."""
        if part and not self.recorded:
            self.size += len(part)
            self.recorder.begin_part(self)

    def fail(self, error: BaseException) -> None:
        """Record that the application raised `error`. Without a response the status is 500, which is then sent."""
        failed = isinstance(error, Exception)
        if failed and not self.status:
            self.status = 500
        self.end(failed)

    def end(self, failed: bool) -> None:
        """Record the request, if it is not recorded yet."""
        if not self.recorded:
            self.recorder.record(self, self._request.method, self._route, failed)
        detach(self._carrier, self)


class _Body:
    """The body of a stream. Django closes it with the response."""

    def __init__(self, request: _DjangoRequest, parts: Any) -> None:
        self._request = request
        self._parts = parts

    def close(self) -> None:
        """Record the request: the server needs no more of it."""
        self._request.end(False)

    __del__ = close  # a server may drop the response without closing it if the client has disconnected


class _SyncBody(_Body):
    def __iter__(self) -> "_SyncBody":
        return self

    def __next__(self) -> Any:
        try:
            part = next(self._parts)
        except StopIteration:
            self.close()
            raise
        except BaseException as error:
            self._request.fail(error)
            raise
        self._request.part(part)
        return part


class _AsyncBody(_Body):
    def __aiter__(self) -> "_AsyncBody":
        return self

    async def __anext__(self) -> Any:
        try:
            part = await anext(self._parts)
        except StopAsyncIteration:
            self.close()
            raise
        except BaseException as error:
            self._request.fail(error)
            raise
        self._request.part(part)
        return part


def _options() -> dict[str, Any]:
    found: object = getattr(settings, "PYVARS", {})
    names = set(cast("dict[object, object]", found)) if isinstance(found, dict) else {type(found).__name__}
    unknown = ", ".join(sorted(map(str, names - _OPTIONS)))
    if unknown:
        raise ConfigurationError(
            f"PYVARS in the settings is a dict with any of the keys {', '.join(sorted(_OPTIONS))}, got {unknown}"
        )
    return cast("dict[str, Any]", found)


def _carrier(request: Any) -> Any:
    """Returns the scope of Django's ASGIRequest, or the environ of its WSGIRequest."""
    return getattr(request, "scope", request.META)


def _template(request: Any) -> str:
    """Returns the template of the route, and notes it for outer middlewares, unless the view has set one itself."""
    carrier = _carrier(request)
    if request.resolver_match is not None:
        carrier.setdefault(ROUTE_KEY, f"/{request.resolver_match.route}")
    found = carrier.get(ROUTE_KEY)
    return found if isinstance(found, str) else UNMATCHED


def _translated(request: Any) -> Request:
    if not hasattr(request, "scope"):
        return wsgi._request(request.META)
    query = request.META["QUERY_STRING"].encode()  # in the scope of Django's test client it is a str
    return asgi._request({**request.scope, "query_string": query})


def _ours(request: Any, response: Response) -> Any:
    """Returns the response as an HttpResponse, and keeps the request out of all counts."""
    discard(_carrier(request))
    answered = HttpResponse(response.body, status=response.status)
    del answered["Content-Type"]  # Django's default
    for name, value in response.headers:
        answered[name] = f"{answered[name]}, {value}" if name in answered else value  # Django sends a name once
    return answered
