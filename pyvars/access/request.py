"""Request: one HTTP request in the form that all integrations translate theirs to."""

from collections.abc import Mapping
from typing import NamedTuple

from pyvars.core.clock import monotonic

__all__ = ("DEADLINE_SECONDS", "MAX_QUERY_BYTES", "Request", "deadline", "server_in")


class Request(NamedTuple):
    """An HTTP request. Immutable."""

    method: str
    path: str
    """The path below the mount point, percent-decoded."""
    root: str
    """The mount point, percent-decoded: root_path or SCRIPT_NAME."""
    raw_path: str | None
    """The path as it was sent, with the mount point and without the query; None if the server does not tell."""
    query: str
    """The query as it was sent, without the question mark; a longer one than MAX_QUERY_BYTES is cut one byte after."""
    headers: tuple[tuple[str, str], ...]
    """Names in lower case, and values; a header that is sent twice is there twice, if the server passes on both."""
    peer: str | None
    """The client address as the server reports it, not a header; empty for a unix socket; None if unknown."""
    http_version: str
    """Such as `1.1`; empty if the server does not report it as `HTTP/` and a version, or at all."""
    deadline: float
    """When the response must be ready, on the clock of `time.monotonic`."""
    scheme: str = ""
    """`http` or `https` as the server reports it, which behind a proxy is that of the connection; empty if unknown."""
    server: str = ""
    """The name of the server where it changes what a rule can know, such as `waitress`; empty for all others."""


MAX_QUERY_BYTES = 4096
"""The maximum length of a query. A longer one is refused, so that no request pays for the rest of it."""

DEADLINE_SECONDS = 0.2
"""The time from a request to its response. SignalFx's agent, the strictest reader of the page, gives up after 0.3."""


def deadline() -> float:
    """The deadline of a request that arrives now."""
    return monotonic() + DEADLINE_SECONDS


def server_in(environ: Mapping[str, object]) -> str:
    """`Request.server` of a WSGI environ."""
    # The name that waitress reports can be configured; its key is there since waitress 2.0.
    is_waitress = "waitress.client_disconnected" in environ or environ.get("SERVER_SOFTWARE") == "waitress"
    return "waitress" if is_waitress else "eventlet" if "eventlet.posthooks" in environ else ""
