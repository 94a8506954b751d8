"""Response: what every view answers, and every integration passes on."""

from typing import NamedTuple

__all__ = ("NOT_FOUND", "Response", "no_content", "respond_with", "text")


class Response(NamedTuple):
    """The whole answer. Immutable."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    ours: bool = True
    """False if nothing is said by it but that there is no page: a middleware lets its application answer instead."""


# On every answer, errors included. No answer has a CORS header, ever: no web page is meant to read this.
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
    """A Response with the headers that each answer has."""
    length = ("Content-Length", str(len(body)))
    return Response(status, (("Content-Type", content_type), length, *_HEADERS, *more_headers), body)


def text(status: int, line: str, *, more_headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """A Response of one line of plain text."""
    return respond_with(status, f"{line}\n".encode(), "text/plain; charset=utf-8", more_headers=more_headers)


def no_content(*, more_headers: tuple[tuple[str, str], ...]) -> Response:
    """A 204, which has neither body nor Content-Length (RFC 9110, section 8.6)."""
    return Response(204, (*_HEADERS, *more_headers), b"")


NOT_FOUND = text(404, "not found")._replace(ours=False)
"""The one answer to a path that is not ours and to who may not look."""
