"""The WSGI integration: serves the variables, and counts requests. It translates an environ to a Request."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

import pyvars
from pyvars.access import Access
from pyvars.access.request import MAX_QUERY_BYTES, Request, deadline, server_in
from pyvars.core.registry import Registry
from pyvars.site.default import checked_path, debug
from pyvars.site.gate import Site
from pyvars.site.http import Response
from pyvars.traffic.frameworks import install_route_hook
from pyvars.traffic.http_variable import recorder_of
from pyvars.traffic.once import detach, discard, outer_request, stand_in
from pyvars.traffic.options import Traffic, exclusions, required_traffic, traffic
from pyvars.traffic.wsgi import WSGIRequest, is_websocket
from pyvars.workers import REQUESTS

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ("CountRequests", "DebugApp", "Traffic", "VarsMiddleware")


class DebugApp:
    """A WSGI application that answers `/vars`, `/history`, `/workers`, `/api/stats`, `/metrics` and `/`.

    `/` is a page with charts for browsers, and an index of the paths for other clients.

        app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/debug": wsgi.DebugApp()})       # Flask

    It serves the variables of `registry`, by default those of the default registry. `access` decides which requests may
    see the variables. The default, `pyvars.access.default()`, allows requests of programs on this machine, and, if the
    environment has PYVARS_TOKEN, requests that send that token. With `history=False` pyvars keeps no history of the
    variables. Thread-safe; may be made before the server forks its workers.

    Raises:
        TypeError: `registry` is not a Registry, or `history` is not a bool.
        ConfigurationError: `access` is not an access rule, or PYVARS_TOKEN is not a valid token.
    """

    def __init__(self, registry: Registry | None = None, *, access: Access | None = None, history: bool = True) -> None:
        self._site = debug(registry, access, prefix="", history=history)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer one request. The site begins the history at the first request that it allows."""
        REQUESTS.add()
        discard(environ)
        return _reply(self._site.respond(_request(environ)), start_response)


class Middleware:
    """Serves a site, or counts the requests that it passes on to the application, or both."""

    def __init__(
        self, app: "WSGIApplication", site: Site | None, registry: Registry | None, options: Traffic | None
    ) -> None:
        self.app = app
        """The application to which all other requests are passed on."""
        self._prefix = None
        if site is not None:
            self._site, self._prefix = site, site.prefix
            self._count_request = self._count_first
        self._recorder = self._exclusions = None
        self._left_out = frozenset[str]()
        if options is not None:
            self._recorder = recorder_of(registry or pyvars.default_registry, options, required=site is None)
        if options is not None and self._recorder is not None:
            self._exclusions = exclusions(options)
            if self._exclusions is not None:
                self._left_out = self._exclusions.whole
            install_route_hook(app)

    def _count_first(self) -> None:
        """Count the first request, and begin the history. Later requests are only counted."""
        self._count_request = REQUESTS.add
        self._site.begin()
        REQUESTS.add()

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer the request if it is for the site; otherwise pass it on to the application, and count it."""
        prefix = self._prefix
        if prefix is not None:
            if not is_websocket(environ):
                self._count_request()
            if prefix in environ.get("PATH_INFO", ""):
                response = self._site.respond(_request(environ))
                if response.ours:
                    discard(environ)
                    return _reply(response, start_response)
        if self._recorder is None:
            return self.app(environ, start_response)
        instead = stand_in(self._recorder, self._exclusions, environ, _text(environ.get("PATH_INFO", "")))
        if instead is not None:
            try:
                return self.app(environ, start_response)
            finally:
                detach(environ, instead)
        request = WSGIRequest(self._recorder, environ, start_response, self._left_out, outer_request(environ))
        try:
            return request.with_body(self.app(environ, request.start))
        except BaseException as error:
            request.fail(error)
            raise


class VarsMiddleware(Middleware):
    """A middleware that answers requests below `/debug` as `DebugApp` does, and passes on and counts all others.

        app.wsgi_app = wsgi.VarsMiddleware(app.wsgi_app)                    # Flask
        application = wsgi.VarsMiddleware(get_wsgi_application())           # Django

    `path` replaces `/debug`. The middleware serves the variables of `registry`, by default those of the default
    registry. `access` decides which requests may see the variables. The default, `pyvars.access.default()`, allows
    requests of programs on this machine, and, if the environment has PYVARS_TOKEN, requests that send that token. A
    refused request gets 401 if the access rule takes a credential; otherwise it is passed on to the application.

    The middleware counts the requests that it passes on in the variable `http` of the registry (see `pyvars.traffic`).
    With `count=Traffic(...)` it leaves some of them out; with `count=False` it counts none. If the program publishes a
    variable of its own as `http`, it counts none, and logs that. With `history=False` pyvars keeps no history of the
    variables. Thread-safe; may be made before the server forks its workers.

    Raises:
        TypeError: `registry` is not a Registry, `path` is not a str, `history` is not a bool, or `count` is neither a
            bool nor a Traffic.
        ConfigurationError: `path` is not a path such as `/debug`; `access` is not an access rule; PYVARS_TOKEN is not a
            valid token; or another middleware counts in the same registry with other bounds.
    """

    def __init__(
        self,
        app: "WSGIApplication",
        *,
        registry: Registry | None = None,
        access: Access | None = None,
        count: Traffic | bool = True,
        path: str = "/debug",
        history: bool = True,
    ) -> None:
        options, prefix = traffic(count), checked_path(path)
        super().__init__(app, debug(registry, access, prefix=prefix, history=history), registry, options)


class CountRequests(Middleware):
    """A middleware that counts requests as `asgi.CountRequests` does, in the variable `http`, and serves nothing.

    If the application returns a file in wsgi.file_wrapper, the middleware passes it on unchanged, so that the server
    can use sendfile. The bytes of the response are then taken from Content-Length, and the request ends when the file
    is passed on. A request with `Upgrade: websocket` is counted as a WebSocket, unless the application answers it as a
    request. Messages of WebSockets are not counted. Thread-safe.

    Raises:
        TypeError: `registry` is not a Registry, or `count` is neither True nor a Traffic.
        DuplicateNameError: another variable is published as `http`.
        ConfigurationError: another middleware counts in the registry with other bounds.
    """

    def __init__(
        self, app: "WSGIApplication", *, registry: Registry | None = None, count: Traffic | Literal[True] = True
    ) -> None:
        super().__init__(app, None, registry, required_traffic(count))


def _reply(response: Response, start_response: "StartResponse") -> Iterable[bytes]:
    status = HTTPStatus(response.status)
    start_response(f"{status.value} {status.phrase}", list(response.headers))
    return [response.body]


def _request(environ: "WSGIEnvironment") -> Request:
    return Request(
        method=environ["REQUEST_METHOD"],
        path=_text(environ.get("PATH_INFO", "")),
        root=_text(environ.get("SCRIPT_NAME", "")),
        raw_path=_raw_path(environ),
        query=environ.get("QUERY_STRING", "")[: MAX_QUERY_BYTES + 1],
        headers=tuple(
            (name[5:].replace("_", "-").lower(), value.strip(" \t"))
            for name, value in environ.items()
            if name.startswith("HTTP_")
        ),
        peer=environ.get("REMOTE_ADDR"),
        http_version=_version(environ.get("SERVER_PROTOCOL", "")),
        deadline=deadline(),
        scheme=environ.get("wsgi.url_scheme", ""),
        server=server_in(environ),
    )


def _version(protocol: str) -> str:
    name, slash, version = protocol.partition("/")
    return version if slash and name == "HTTP" else ""


def _text(native: str) -> str:
    """Decode a path as UTF-8: an environ has its bytes as Latin-1 text (PEP 3333)."""
    return native.encode("latin-1").decode(errors="replace")


def _raw_path(environ: "WSGIEnvironment") -> str | None:
    # gunicorn and werkzeug set RAW_URI; uWSGI and mod_wsgi set REQUEST_URI. A client can set neither: its headers are
    # HTTP_*.
    uri: Any = environ.get("RAW_URI", environ.get("REQUEST_URI"))
    return None if uri is None else str(uri).partition("?")[0]
