"""Request: an HTTP request, in the form into which each integration translates the requests of its interface."""

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
    """The path as it was sent, with the mount point and without the query; None if the server does not report it."""
    query: str
    """The query as it was sent, without the question mark; at most MAX_QUERY_BYTES + 1 bytes of it."""
    headers: tuple[tuple[str, str], ...]
    """Names in lower case, and values. A header that was sent twice is here twice, unless the server joins the two."""
    peer: str | None
    """The client address as the server reports it, not a header; empty for a unix socket; None if unknown."""
    http_version: str
    """Such as `1.1`; empty if the server does not report a version in the form `HTTP/1.1`."""
    deadline: float
    """When the response must be ready, on the clock of `time.monotonic`."""
    scheme: str = ""
    """`http` or `https` as the server reports it (behind a proxy, of the connection to the proxy); empty if unknown."""
    server: str = ""
    """The name of a server that hides something from the access rules, such as `waitress`; empty for all others."""


MAX_QUERY_BYTES = 4096
"""The maximum length of a query, in bytes. A longer one is refused without parsing it."""

DEADLINE_SECONDS = 0.2
"""The maximum time from a request to its response. SignalFx's agent, the strictest reader, gives up after 0.3 s."""


def deadline() -> float:
    """The deadline of a request that arrives now."""
    return monotonic() + DEADLINE_SECONDS


def server_in(environ: Mapping[str, object]) -> str:
    """`Request.server` of a WSGI environ."""
    # The name that waitress reports can be configured; its key is there since waitress 2.0.
    is_waitress = "waitress.client_disconnected" in environ or environ.get("SERVER_SOFTWARE") == "waitress"
    return "waitress" if is_waitress else "eventlet" if "eventlet.posthooks" in environ else ""
