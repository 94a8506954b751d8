"""Access rules decide which requests may see the variables. Every integration takes a rule as `access=`.

    app.add_middleware(VarsMiddleware, access=local() | token(os.environ["SCRAPE_TOKEN"]) | networks("10.0.0.0/8"))

local()                  allows requests of programs on this machine
token("...", "...")      allows requests that send one of these tokens; several are for rotation
token_file(path)         allows requests that send a token of this file, which has one on each line; pyvars reads the
                         file again when it changes
basic("user", "...")     allows requests that send this user name and password
networks("10.0.0.0/8")   allows requests of clients in these networks
anyone()                 allows every request
a function               allows the requests for which it returns True; it is called with a `Request`
one | another            allows a request that one of the two allows

Without `access=` the rule is `local()`, or `local() | token(PYVARS_TOKEN)` if the environment has PYVARS_TOKEN when
the integration is made.

A request that no rule allows gets 401 with WWW-Authenticate if one of the rules takes a credential. Otherwise it gets
404; a middleware passes it on to the application, so the client gets the application's own 404. The logger `pyvars`
logs each reason once a minute, says how to allow such requests, and shows nothing of the request. Only /status/health
answers everybody: clients without access see whether the checks pass, and nothing more.

The most important limit of `local()` and `networks()`: they take the requests of a proxy on this machine, or in one of
the networks, for those of a program there, if the proxy speaks HTTP/1.1 to the service, adds no header, and sends a
loopback Host or passes on the client's. Such proxies are nginx from 1.29.7 with a bare `proxy_pass`, any nginx with
`proxy_http_version 1.1`, HAProxy without `forwardfor`, and TCP forwarders. Behind one of them use `token()` alone, or
do not mount the page and use a side port.

methods          GET, HEAD and OPTIONS; others get 405. No request changes anything
path             must be spelled exactly as documented: `//debug/vars`, `/%64ebug/vars`, `/debug%2fvars` and absolute
                 URIs are not paths of pyvars. Some servers hide how the client spelled the path, and then another
                 spelling works, too: wsgiref and eventlet (encoded characters, leading slashes), gevent.pywsgi
                 (encoded characters), werkzeug (leading slashes), granian (absolute URIs; its WSGI server encoded
                 characters too), uvicorn with httptools (absolute URIs)
credentials      are compared as SHA-256 digests in constant time, all of them; they are never logged, never on the
                 page, and never read from a query
headers          of every response: `Cache-Control: no-store`, `X-Content-Type-Options: nosniff`,
                 `Content-Security-Policy: default-src 'none'; frame-ancestors 'none'`, `Referrer-Policy:
                 no-referrer`, `X-Robots-Tag: noindex`; never a CORS header
cmdline          shows only the name of the program; `install(registry, cmdline="redacted")` shows all arguments, and
                 masks what looks like a secret
exceptions       the page shows their type; only the log has their text
limits           a query has at most 4 KB and 64 names, a value 1 MiB. Two pages are rendered at a time; a request
                 that still waits after 200 ms gets 503. The side port compresses pages up to 8 MiB, one at a time

pyvars does not protect against: other programs of the same user, or code in the process; the proxies above; anybody who
can read the connection (put TLS in front); secrets that the program publishes in names, keys and values; a function of
the program that keeps the GIL; clients that open ever more connections to a side port that other machines can reach.

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
    rebinding). The protocol is known to be HTTP/1.1, 2 or 3, since nginx up to 1.29.6 speaks 1.0 to its backends;
    HTTP/2 only over TLS, since without TLS a client can upgrade to it through a proxy, which then adds no header. No
    header says that the request was forwarded. No page of another site made a browser send it (Sec-Fetch-Site, Origin);
    a link that the user follows is allowed.

    Under waitress, which removes forwarding headers, the rule refuses every request.
    """
    return Local()


def token(*tokens: str) -> Rule:
    """Allows requests with one of the tokens: as `Authorization: Bearer`, or as the password of Basic with any user.

    Raises:
        ConfigurationError: no token is given, or one has under 16 characters, or holds spaces or unprintable ones.
    """
    return Tokens(tokens)


def token_file(path: str | os.PathLike[str]) -> Rule:
    """Allows requests with one of the tokens in a file, sent as for `token`. The file is read again when it changes.

    The file is a regular file of at most 64 KiB, in UTF-8, with one token on each line; a line that begins with `#` is
    a comment. While the file is missing or malformed, the tokens that it held before stay valid, and the log says why.

    Raises:
        ConfigurationError: the file cannot be read now, or does not hold tokens.
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

    The client address is the one that the server reports, not one in a header. The Host must be an address or one of
    `hosts`, against DNS rebinding. Forwarding headers, protocol, browsers and waitress are judged as by `local`.

    Raises:
        ConfigurationError: no network is given, or a network or host is malformed.
    """
    return Networks(networks, hosts)


def anyone() -> Rule:
    """Allows every request that reaches the server: then everybody can see the inside of the program."""
    return Anyone()


def default() -> Rule:
    """The rule without `access=`: `local()`, or `local() | token(PYVARS_TOKEN)` if the environment has PYVARS_TOKEN.

    Raises:
        ConfigurationError: PYVARS_TOKEN has under 16 characters, or holds spaces or unprintable ones.
    """
    from_environment = os.environ.get("PYVARS_TOKEN")
    return local() if not from_environment else local() | token(from_environment)
