"""The shapes that a server treats differently from the others, and why."""

from typing import NamedTuple

from tests.servers.shape import METHOD, PAGE


class Difference(NamedTuple):
    servers: tuple[str, ...]
    titles: tuple[str, ...]
    outcome: str
    reason: str


_HTTPTOOLS = ("uvicorn, httptools", "uvicorn, httptools, --no-proxy-headers", "gunicorn, uvicorn worker")
_OF_THE_STANDARD_LIBRARY = ("wsgiref", "werkzeug", "gevent.pywsgi")

EXCEPTIONS = (
    Difference(
        _OF_THE_STANDARD_LIBRARY,
        (
            "forwarded, with a line without a colon",
            "forwarded, with a space before the colon",
            "forwarded, with a NUL in a name",
            "forwarded, with a bare CR in a value",
            "forwarded, with a bare CR twice",
            "forwarded, with bytes above ASCII in a name",
            "forwarded, a space before the colon",
            "Host b'localhost\\revil.com'",
        ),
        PAGE,
        "email.parser ends the headers at a line that is none, or a bare CR: it hides what follows. Proxies do not pass"
        " such a line on before what they add; of nginx test_a_visitor_cannot_hide_what_nginx_adds asserts it",
    ),
    Difference(
        ("wsgiref", "gevent.pywsgi"),
        ("Host b'localhost\\xa0'", "Host b'\\x85localhost'", "Host b'localhost\\x0b'", "Host b'localhost\\x1c'"),
        PAGE,
        "str.strip() takes all that is white space in Unicode from the ends of a value",
    ),
    Difference(("cheroot",), ("Host b'localhost\\x0b'",), PAGE, "bytes.strip() takes a vertical tab, too"),
    Difference(
        ("cheroot",),
        (
            "two Hosts, ours last",
            "two Hosts, both ours",
            "Sec-Fetch-Site twice, cross-site first",
            "Origin twice, ours last",
            "two credentials, right last",
            "two credentials, both right",
        ),
        PAGE,
        "of a header that is sent twice the last one counts; no browser and no proxy sends these twice",
    ),
    Difference(("cheroot",), ("Host on a second line",), PAGE, "of a folded header the last line counts"),
    Difference(("cheroot",), ("Host with a space before the colon",), PAGE, "it takes the space from the name"),
    Difference(
        ("granian, ASGI", "granian, WSGI"), ("absolute URI, and no Host",), PAGE, "the Host is that of an absolute URI"
    ),
    Difference(("hypercorn",), ("get", "Get"), PAGE, "it writes methods in upper case"),
    Difference(("uWSGI",), ("a blank line before it",), METHOD, "the blank line is part of the method"),
)
