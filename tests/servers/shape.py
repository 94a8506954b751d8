"""Shape: a request and its expected outcome."""

from typing import NamedTuple

PAGE = "page"
HEAD = "page without its body"
ALLOWED = "204"
METHOD = "405"
QUERY = "400"
REFUSED = "refused"
"""The rule refuses the request: the response is the application's own 404."""
NOT_OURS = "not ours"
"""The path is not one of pyvars: the same response."""
UNAUTHORIZED = "401"
SERVER = "server"
"""The server answers with an error, closes the connection, or waits for more: pyvars does not see the request."""

HERE = "/debug/vars"
EVIL = "evil.example"


class Shape(NamedTuple):
    """One request. The title is its key."""

    title: str
    data: bytes
    outcome: str
    rule: str
    """The name of the rule in tests/servers/app.py."""
    spelling: str
    """How the path differs from one of pyvars; some servers do not report the difference (`table.Server.untold`)."""
    odd: bool
    """Whether the request is malformed or so unusual that a server may refuse it."""


def shape(
    outcome: str,
    title: str,
    *headers: str | bytes,
    target: str | bytes = HERE,
    rule: str = "local",
    method: str = "GET",
    version: str = "HTTP/1.1",
    host: str | bytes | None = "localhost",
    body: bytes = b"",
    spelling: str = "",
    odd: bool = False,
) -> Shape:
    """A request with these headers after the Host."""
    first = [f"X-Rule: {rule}", "Connection: close", *([] if host is None else [b"Host: " + _bytes(host)])]
    line = b" ".join(part for part in (_bytes(method), _bytes(target), _bytes(version)) if part)
    return Shape(title, b"\r\n".join([line, *map(_bytes, (*first, *headers)), b"", body]), outcome, rule, spelling, odd)


def odd(outcome: str, title: str, *headers: str | bytes, **options: str | bytes | None) -> Shape:
    """The same for a request that a server may refuse."""
    return shape(outcome, title, *headers, odd=True, **options)  # type: ignore[arg-type]


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
