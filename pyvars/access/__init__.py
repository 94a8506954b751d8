"""Access rules decide which requests may see the variables. Every integration takes a rule as `access=`.

    app.add_middleware(VarsMiddleware, access=local() | token(os.environ["SCRAPE_TOKEN"]) | networks("10.0.0.0/8"))

local()                  allows requests of programs on this machine
token("...", "...")      allows requests that send one of these tokens; use two of them to replace a token by a new one
token_file(path)         allows requests that send a token of this file, which has one token on each line; pyvars reads
                         the file again when it has changed
basic("user", "...")     allows requests that send this user name and password
networks("10.0.0.0/8")   allows requests of clients in these networks
anyone()                 allows every request
a function               allows the requests for which it returns True; it is called with a `Request`
one | another            allows the requests that at least one of the two rules allows

Without `access=` the rule is `local()`, or `local() | token(PYVARS_TOKEN)` if the environment has PYVARS_TOKEN when
the integration is made.

A request that no rule allows gets 401 with WWW-Authenticate if one of the rules takes a credential. Otherwise it gets
404; a middleware passes it on to the application, so the client gets the application's own 404. The logger `pyvars`
logs each reason of a refusal at most once a minute. The log line says how to allow such requests, and contains no data
of the request. /status/health also answers requests that no rule allows, with OK or UNAVAILABLE and without details.

The most important limit: `local()` and `networks()` cannot recognise a proxy on this machine, or in one of the
networks, if it speaks HTTP/1.1 to the service, adds no header, and sends a loopback Host or the Host of its client.
Then these rules allow the requests of all clients of the proxy. Such proxies are nginx from 1.29.7 with a bare
`proxy_pass`, any nginx with `proxy_http_version 1.1`, HAProxy without `forwardfor`, and TCP forwarders. Behind one of
them use `token()` alone, or serve the page on a side port only.

methods          GET, HEAD and OPTIONS; others get 405. No request changes the program
path             must be spelled exactly as documented: `//debug/vars`, `/%64ebug/vars`, `/debug%2fvars` and absolute
                 URIs do not reach the page. Some servers do not report how the client spelled the path, so some other
                 spellings reach it, too: under wsgiref and eventlet encoded characters and leading slashes, under
                 gevent.pywsgi encoded characters, under werkzeug leading slashes, under granian absolute URIs (WSGI:
                 encoded characters, too), under uvicorn with httptools absolute URIs
credentials      each request is compared with all credentials of a rule, as SHA-256 digests, in constant time. They are
                 never logged, never on the page, and never read from a query
headers          responses have `Cache-Control: no-store`, `X-Content-Type-Options: nosniff`,
                 `Content-Security-Policy: default-src 'none'; frame-ancestors 'none'`, `Referrer-Policy:
                 no-referrer` and `X-Robots-Tag: noindex`, and never a CORS header. Two differ: the policy of the page
                 in a browser allows scripts, styles, images and requests of its own origin, and browsers may keep
                 the files of that page, which contain no data of the program, for a year
cmdline          shows only the name of the program; after `install(registry, cmdline="redacted")` of
                 `pyvars.runtime` it shows all arguments, and masks what looks like a secret
exceptions       the page shows their type; only the log has their text
limits           a query has at most 4096 bytes and 64 names, the value of a variable at most 1 MiB of JSON. Two pages
                 are rendered at a time; a request that waits longer than 200 ms for its turn gets 503. The side port
                 compresses pages of up to 8 MiB, large ones one at a time

pyvars does not protect against: other programs of the same user, or code in the process; the proxies named above;
eavesdropping on the connection (put a proxy with TLS in front of the service); secrets that the program publishes in
names, keys and values; a function of the program that holds the GIL; clients that open many connections to a side port
that other machines can reach.

Rules are called by the gate (`pyvars.site.gate`) for each request, from any thread.
"""

import os
from collections.abc import Collection

from pyvars.access.credentials import Basic, TokenFile, Tokens
from pyvars.access.hosts import is_loopback
from pyvars.access.places import Local, Networks
from pyvars.access.request import Request
from pyvars.access.rules import Access, Anyone, Rule, rule

__all__ = (
    "Access",
    "Request",
    "Rule",
    "anyone",
    "basic",
    "default",
    "is_loopback",
    "local",
    "networks",
    "rule",
    "token",
    "token_file",
)


def local() -> Rule:
    """Allows requests of programs on this machine, but not those that a proxy visibly forwarded.

    A request is allowed if all of this holds. The client address is loopback, or the connection is a unix socket. The
    Host is a loopback name; otherwise a web page could read the variables through the browser of its visitor (DNS
    rebinding). The server reports HTTP/1.1, 2 or 3: HTTP/1.0 may come from a proxy, since nginx up to 1.29.6 speaks it
    to its backends. HTTP/2 is allowed only over TLS: without TLS a client can upgrade to it through a proxy, which then
    adds no header. No header says that a proxy forwarded the request. The headers Sec-Fetch-Site and Origin do not say
    that a web page of another site made a browser send it; a link that the user follows is allowed.

    Under waitress, which removes forwarding headers, and under eventlet, which reports HTTP/1.0 for every request, the
    rule refuses every request.
    """
    return Local()


def token(*tokens: str) -> Rule:
    """Allows requests with one of the tokens: as `Authorization: Bearer`, or as the password of Basic with any user.

    Raises:
        ConfigurationError: no token is given, or a token has under 16 characters, or contains a space or an unprintable
            character.
    """
    return Tokens(tokens)


def token_file(path: str | os.PathLike[str]) -> Rule:
    """Allows requests with one of the tokens in a file, sent as for `token`. The file is read again when it changes.

    The file is a regular file of at most 64 KiB, in UTF-8, with one token on each line; a line that begins with `#` is
    a comment. While the file is missing or malformed, its previous tokens stay valid, and the log says why.

    Raises:
        ConfigurationError: the file cannot be read, or contains no valid tokens.
    """
    return TokenFile(path)


def basic(user: str, password: str) -> Rule:
    """Allows requests with this user name and password as `Authorization: Basic`.

    Raises:
        ConfigurationError: the password has under 12 characters, or the user name is empty or holds a colon.
    """
    return Basic(user, password)


def networks(*networks: str, hosts: Collection[str] = ()) -> Rule:
    """Allows requests of clients in one of the networks, such as `"10.0.0.0/8"`.

    The client address is the one that the server reports, not one in a header. The Host must be an IP address or one of
    `hosts`, against DNS rebinding. What `local` requires of forwarding headers, HTTP versions, browsers and servers
    also holds here.

    Raises:
        ConfigurationError: no network is given, or a network or host is malformed.
    """
    return Networks(networks, hosts)


def anyone() -> Rule:
    """Allows every request that reaches the server: all its clients can read the variables."""
    return Anyone()


def default() -> Rule:
    """The rule without `access=`: `local()`, or `local() | token(PYVARS_TOKEN)` if the environment has PYVARS_TOKEN.

    Raises:
        ConfigurationError: PYVARS_TOKEN has under 16 characters, or contains a space or an unprintable character.
    """
    from_environment = os.environ.get("PYVARS_TOKEN")
    return local() if not from_environment else local() | token(from_environment)
