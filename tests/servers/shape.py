"""What one request is, and what is to come of it."""

from typing import NamedTuple

PAGE = "page"
HEAD = "page without its body"
ALLOWED = "204"
METHOD = "405"
QUERY = "400"
REFUSED = "refused"
"""The rule refuses it: the application's own 404 answers."""
NOT_OURS = "not ours"
"""Its path is none of ours: the same answer."""
UNAUTHORIZED = "401"
SERVER = "server"
"""The server itself answers with an error, or closes the connection, or waits for more: nobody of ours is asked."""

HERE = "/debug/vars"
EVIL = "evil.example"


class Shape(NamedTuple):
    """One request. The title is its key."""

    title: str
    data: bytes
    outcome: str
    rule: str
    """Which of the rules in tests/servers/app.py is asked."""
    spelling: str
    """How its path differs from ours; where the server does not tell that, it is ours (see `table.Server.untold`)."""
    odd: bool
    """Whether it is malformed, or rare enough that a server may refuse it by itself."""


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
    """A request whose headers stand behind the Host."""
    first = [f"X-Rule: {rule}", "Connection: close", *([] if host is None else [b"Host: " + _bytes(host)])]
    line = b" ".join(part for part in (_bytes(method), _bytes(target), _bytes(version)) if part)
    return Shape(title, b"\r\n".join([line, *map(_bytes, (*first, *headers)), b"", body]), outcome, rule, spelling, odd)


def odd(outcome: str, title: str, *headers: str | bytes, **options: str | bytes | None) -> Shape:
    """The same of one that a server may refuse by itself."""
    return shape(outcome, title, *headers, odd=True, **options)  # type: ignore[arg-type]


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
