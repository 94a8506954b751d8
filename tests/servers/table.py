"""The table of servers: what each server reports to an application, and how `local()` decides there.

tests/servers/test_servers.py checks every column with the real server; `python -m tests.servers` prints the table.
"""

import sys
from pathlib import Path
from typing import NamedTuple

ASGI = "tests.servers.app:asgi_application"
WSGI = "tests.servers.app:wsgi_application"

Commands = tuple[tuple[str, ...], ...]


class Server(NamedTuple):
    """What a server reports, in the terms of its interface."""

    name: str
    commands: Commands
    """The commands that start it: the first listens on `{port}`; the last also or only on the unix socket `{unix}`."""
    version_1_0: str
    version_1_1: str
    raw_path: str
    """The key with the path as the client sent it."""
    twice: str
    """How it reports a header that is sent twice."""
    unix_peer: str | None
    """The peer that it reports on a unix socket; None if it cannot listen on one."""
    version_2: str = ""
    """The version that it reports for HTTP/2 without TLS; empty if it does not support that."""
    forwarded_peer: str = "127.0.0.1"
    """The peer that it reports for a client on loopback that sends `X-Forwarded-For: 203.0.113.7`."""
    untold: tuple[str, ...] = ()
    """Other spellings of a path that the application cannot distinguish from the path."""
    hidden: tuple[str, ...] = ()
    """Headers of proxies that it does not pass on to the application."""
    local: str = ""
    """Why `local()` refuses all its requests; empty if it allows those of programs on this machine."""
    local_unix: str = ""
    """The same for requests over its unix socket."""
    tunnels: bool = False
    """Whether it upgrades to HTTP/2: after an upgrade a proxy passes on the bytes of its client unread."""
    needs: str = ""
    """A module that it needs, and that may not be installed."""


def _asgi(name: str, commands: Commands, **columns: object) -> Server:
    peer = "client None, server (path, None)"  # as the ASGI specification says
    usual = {"version_1_0": "1.0", "raw_path": "raw_path", "twice": "two headers", "unix_peer": peer}
    return Server(name, commands, version_1_1="1.1", **{**usual, **columns})  # type: ignore[arg-type]


def _wsgi(name: str, commands: Commands, **columns: object) -> Server:
    usual = {"version_1_0": "HTTP/1.0", "version_1_1": "HTTP/1.1", "twice": "joined by `,`", "unix_peer": ""}
    return Server(name, commands, **{**usual, **columns})  # type: ignore[arg-type]


def _uvicorn(*options: str) -> Commands:
    common = ("uvicorn", "--log-level", "critical", *options)
    return (*common, "--port", "{port}", ASGI), (*common, "--uds", "{unix}", ASGI)


def _granian(interface: str, application: str) -> Commands:
    # A worker may miss the signal to end, and the server waits for it.
    common = ("granian", "--interface", interface, "--no-log", "--workers", "1", "--workers-kill-timeout", "3")
    return (*common, "--port", "{port}", application), (*common, "--uds", "{unix}", application)


def _gunicorn(*options: str) -> Commands:
    common = ("gunicorn", "--log-level", "critical", "--graceful-timeout", "1")
    return ((*common, "-b", "127.0.0.1:{port}", "-b", "unix:{unix}", *options),)


def _launched(name: str) -> Commands:
    return (("tests.servers.launch", name, "{port}", "{unix}"),)


_HYPERCORN = ("hypercorn", "-b", "127.0.0.1:{port}", "-b", "unix:{unix}", "--log-level", "CRITICAL", ASGI)
_DAPHNE = ("daphne", "-v", "0", "-b", "127.0.0.1", "-p", "{port}", "-u", "{unix}", ASGI)
_UWSGI = (
    *(str(Path(sys.executable).parent / "uwsgi"), "--http-socket", "127.0.0.1:{port}", "--http-socket", "{unix}"),
    *("--disable-logging", "--die-on-term", "--module", WSGI),
)
_REWRITTEN = "203.0.113.7"
_OF_URL = ("absolute", "fragment")
"""The spellings that parsers hide which report the path of a parsed URL."""
_NO_PEER = "the server does not report the client's address, as some servers do not over a unix socket"
_NO_UNIX_PEER = {"unix_peer": "client None, server None", "local_unix": _NO_PEER}
_HIDES = "waitress, removes the headers that tell whether a proxy forwarded it"
_WAITRESS = {
    "unix_peer": "localhost",
    "raw_path": "REQUEST_URI",
    "twice": "joined by `, `",
    "hidden": ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded"),
    "local": _HIDES,
    "local_unix": _HIDES,
}

SERVERS = (
    _asgi("uvicorn, h11", _uvicorn("--http", "h11"), forwarded_peer=_REWRITTEN),
    _asgi("uvicorn, h11, --no-proxy-headers", _uvicorn("--http", "h11", "--no-proxy-headers")),
    _asgi("uvicorn, httptools", _uvicorn("--http", "httptools"), forwarded_peer=_REWRITTEN, untold=_OF_URL),
    _asgi(
        "uvicorn, httptools, --no-proxy-headers",
        _uvicorn("--http", "httptools", "--no-proxy-headers"),
        untold=_OF_URL,
    ),
    _asgi("hypercorn", (_HYPERCORN,), version_2="2", tunnels=True, **_NO_UNIX_PEER),
    _asgi("daphne", (_DAPHNE,), **_NO_UNIX_PEER),
    _asgi(
        "granian, ASGI",
        _granian("asgi", ASGI),
        version_1_0="1",
        version_2="2",
        untold=_OF_URL,
        unix_peer="",
        local_unix=_NO_PEER,
    ),
    _wsgi(
        "granian, WSGI",
        _granian("wsgi", WSGI),
        version_1_0="HTTP/1",
        version_2="HTTP/2",
        raw_path="none",
        untold=("absolute", "encoded", "fragment"),
    ),
    _wsgi("gunicorn, sync", _gunicorn(WSGI), raw_path="RAW_URI"),
    _wsgi("gunicorn, gthread", _gunicorn("--threads", "2", WSGI), raw_path="RAW_URI"),
    _asgi(
        "gunicorn, uvicorn worker",
        _gunicorn("-k", "uvicorn_worker.UvicornWorker", ASGI),
        forwarded_peer=_REWRITTEN,
        untold=_OF_URL,
    ),
    _asgi(
        "gunicorn, asgi",
        _gunicorn("-k", "asgi", ASGI),
        unix_peer="client None, server ('/', 't')",  # the first two letters of the path
        local_unix=_NO_PEER,
        needs="gunicorn.workers.gasgi",
    ),
    _wsgi("waitress", _launched("waitress"), **_WAITRESS),
    _wsgi("waitress, ident=None", _launched("waitress_renamed"), **_WAITRESS),
    _wsgi(
        "uWSGI",
        (_UWSGI,),
        raw_path="REQUEST_URI",
        twice="joined by `, `",
        unix_peer="0.0.0.0",
        local_unix=_NO_PEER,
    ),
    _wsgi("cheroot", _launched("cheroot"), raw_path="REQUEST_URI", twice="the last one"),
    _wsgi("wsgiref", _launched("wsgiref"), raw_path="none", untold=("encoded", "slashes"), unix_peer=None),
    _wsgi(
        "werkzeug",
        _launched("werkzeug"),
        raw_path="RAW_URI",
        untold=("slashes",),
        unix_peer="<local>",
        local_unix=_NO_PEER,
    ),
    _wsgi(
        "eventlet",
        _launched("eventlet"),
        version_1_1="HTTP/1.0",  # for every request
        raw_path="none",
        untold=("encoded", "slashes"),
        unix_peer="unix",
        local="the server, eventlet, reports HTTP/1.0 for every request",
        local_unix=_NO_PEER,
    ),
    _wsgi(
        "gevent.pywsgi",
        _launched("gevent"),
        raw_path="none",
        untold=("encoded",),
        unix_peer="none",
        local_unix=_NO_PEER,
    ),
)
