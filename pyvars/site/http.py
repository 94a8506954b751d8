"""Response: the HTTP response that views make and integrations send."""

from email.utils import formatdate
from typing import NamedTuple

__all__ = ("NOT_FOUND", "Response", "dated", "no_content", "respond_with", "text")


class Response(NamedTuple):
    """A whole HTTP response. Immutable."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    ours: bool = True
    """False for NOT_FOUND alone: a middleware then passes the request on to its application."""


# The headers of every response, errors included. No response has a CORS header, so no web page of another site can read
# one.
_HEADERS = (
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Robots-Tag", "noindex"),
)


def respond_with(
    status: int, body: bytes, content_type: str, *, more_headers: tuple[tuple[str, str], ...] = ()
) -> Response:
    """A Response with a body and the headers of every response; one of `more_headers` replaces that of its name."""
    length = ("Content-Length", str(len(body)))
    headers: tuple[tuple[str, str], ...] = _HEADERS
    if more_headers:
        replaced = {name for name, _ in more_headers}
        headers = tuple(field for field in _HEADERS if field[0] not in replaced)
    return Response(status, (("Content-Type", content_type), length, *headers, *more_headers), body)


def text(status: int, line: str, *, more_headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """A Response of one line of plain text."""
    return respond_with(status, f"{line}\n".encode(), "text/plain; charset=utf-8", more_headers=more_headers)


def no_content(*, more_headers: tuple[tuple[str, str], ...]) -> Response:
    """A Response 204, which has neither body nor Content-Length (RFC 9110, section 8.6)."""
    return Response(204, (*_HEADERS, *more_headers), b"")


def dated(response: Response) -> Response:
    """The Response with the header Date, which most servers add by themselves."""
    try:
        date = "Date", formatdate(usegmt=True)
    except Exception:  # the program has put another time.time in its place
        return response
    return response._replace(headers=(*response.headers, date))


NOT_FOUND = text(404, "not found")._replace(ours=False)
"""The response to a path without a view, and to a refused request if the access rule takes no credential.

Both get the same response, so that a refusal does not reveal whether there is a view.
"""
