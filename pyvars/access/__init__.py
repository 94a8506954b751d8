"""Who may look. `access=` of every integration takes a rule; rules combine with `|`: who one of them lets in may look.

access=local() | token("a-long-random-token")
"""

import os
from collections.abc import Sequence

from pyvars.access.credentials import Basic, TokenFile, Tokens
from pyvars.access.places import Local, Networks, is_loopback
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
    """Only programs on this machine, and no proxy that leaves a trace.

    The peer is on loopback or a unix socket; the Host names loopback (or a web page could look through its reader's
    browser, by DNS rebinding); the protocol is HTTP/1.1 or later (nginx speaks 1.0 to its backends, up to 1.29.6); and
    no header says that the request was forwarded. All of it over a unix socket too, since proxies use them most.
    """
    return Local()


def token(*tokens: str) -> Rule:
    """Whoever sends one of the tokens: as `Authorization: Bearer`, or as the password of Basic with any user name.

    Raises:
        ConfigurationError: there is none, or one has under 16 characters, or spaces.
    """
    return Tokens(tokens)


def token_file(path: str | os.PathLike[str]) -> Rule:
    """Whoever sends a token of the file, one on each line; `#` begins a comment. It is read again when it changes.

    While the file is missing or holds something else, nobody is let in by it.

    Raises:
        ConfigurationError: the file cannot be read now, or does not hold tokens.
    """
    return TokenFile(path)


def basic(user: str, password: str) -> Rule:
    """Whoever sends this user name and password as `Authorization: Basic`.

    Raises:
        ConfigurationError: the password has under 12 characters, or the user name is empty or holds a colon.
    """
    return Basic(user, password)


def networks(*networks: str, hosts: Sequence[str] = ()) -> Rule:
    """Peers in one of the networks, such as `"10.0.0.0/8"`, as the server reports them, not as a header claims.

    No header may say that the request was forwarded, the protocol is HTTP/1.1 or later, and the Host is an address or
    one of `hosts`, against DNS rebinding.

    Raises:
        ConfigurationError: there is none, or one is no network.
    """
    return Networks(networks, hosts)


def anyone() -> Rule:
    """Everybody who can reach the address. The page shows the program's inside: be sure."""
    return Anyone()


def default() -> Rule:
    """`local()`, and where the environment variable PYVARS_TOKEN is set also `token(PYVARS_TOKEN)`.

    Raises:
        ConfigurationError: PYVARS_TOKEN has under 16 characters, or spaces.
    """
    from_environment = os.environ.get("PYVARS_TOKEN")
    return local() if not from_environment else local() | token(from_environment)
