"""Access rules: they decide which requests may see the variables. Every integration takes one as `access=`.

Rules combine with `|`: `access=local() | token("a-long-random-token")` allows a request that one of the two allows. The
gate (`pyvars.site.gate`) asks the rule for each request.
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
    """Allows requests of programs on this machine, unless a proxy forwarded them, as far as that leaves a trace.

    The client address is loopback, or the connection a unix socket; the Host is a loopback name (else a web page could
    read the variables by DNS rebinding, through the browser of its visitor); the protocol is known to be HTTP/1.1, 2 or
    3 (nginx up to 1.29.6 speaks 1.0 to its backends), and 2 only over TLS, since a client can upgrade to it past a
    proxy; no header says that the request was forwarded; and no page of another site made a browser send it
    (Sec-Fetch-Site, Origin), but its user may follow a link. All of this holds over a unix socket too, since proxies
    use these most. Under waitress, which removes forwarding headers, the rule refuses every request.
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

    The file is a regular one of at most 64 KiB, in UTF-8, with one token on each line; a line that begins with `#` is a
    comment. While it is missing or anything else, the tokens that it held before stay valid, and the log says why.

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

    The client address is the one that the server reports, not one in a header. No header may say that the request was
    forwarded, the Host is an address or one of `hosts`, against DNS rebinding, and protocol, browsers and waitress are
    judged as by `local`.

    Raises:
        ConfigurationError: no network is given, or a network or host is malformed.
    """
    return Networks(networks, hosts)


def anyone() -> Rule:
    """Allows every request that reaches the server. The page shows the inside of the program: be sure."""
    return Anyone()


def default() -> Rule:
    """The rule if no `access=` is given: `local()`, or `local() | token(PYVARS_TOKEN)` if that is in the environment.

    Raises:
        ConfigurationError: PYVARS_TOKEN has under 16 characters, or holds spaces or unprintable ones.
    """
    from_environment = os.environ.get("PYVARS_TOKEN")
    return local() if not from_environment else local() | token(from_environment)
