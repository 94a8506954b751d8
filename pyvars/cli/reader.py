"""Fetches a page of pyvars or of Go's expvar over HTTP, and prints the lines that a command makes from it."""

import base64
import json
import os
import re
import sys
import urllib.request
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Iterable
from http.client import HTTPException
from typing import Any, NamedTuple, TypeAlias, cast
from urllib.error import HTTPError
from urllib.parse import SplitResult, unquote, urlsplit

from pyvars.cli.figures import printable
from pyvars.cli.usage import Parser, failed

__all__ = ("Page", "Shown", "print_lines", "reader", "show")

MAX_PAGE_BYTES = 256 * 1024 * 1024
"""How much of a response is read at most."""
MAX_REASON_BYTES = 200
"""How much of the body of an error response is read at most."""

Page: TypeAlias = dict[str, object]


class Shown(NamedTuple):
    """What a command prints."""

    lines: Iterable[str]
    missing: Iterable[str]
    """A line for standard error for each requested figure that is missing. If there are any, the exit status is 1."""


class Credential(NamedTuple):
    """The value of the header Authorization, and where it comes from, in words."""

    header: str
    source: str


def reader(command: str) -> Parser:
    """The parser of a command that reads a page: its URL, and the options that all these commands have."""
    parser = Parser(prog=f"pyvars {command}", allow_abbrev=False)
    parser.add_argument("url")
    parser.add_argument("--token-file")
    parser.add_argument("--timeout", type=_seconds, default=5.0)
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86400:
        raise ArgumentTypeError(f"a number of seconds is needed, got {text!r}")
    return seconds


def show(options: Namespace, view: Callable[[Page], Shown], *, path: str, query: str = "") -> int:
    """Fetch the page and print what `view` makes of it. Returns the exit status: 1 if anything is missing.

    `path` is the path of a URL that has none, and `query` is added to its query.
    """
    place = options.url.rpartition("@")[2]  # the URL without user name and password
    credential = None
    try:
        url, credential = _parsed(options.url, path)
        credential = credential or _token(options.token_file)
        shown = view(
            _fetch(url._replace(query="&".join(filter(None, (url.query, query)))), options.timeout, credential)
        )
        print_lines(shown.lines)
    except HTTPError as error:
        return failed(f"{place}: {_reason(error, credential)}")
    except (OSError, HTTPException, ValueError, RecursionError) as error:
        return failed(f"{place}: {getattr(error, 'reason', error)}")
    return max([0, *(failed(f"{place}: {each}") for each in shown.missing)])


def _parsed(url: str, path: str) -> tuple[SplitResult, Credential | None]:
    """A URL, which may be a port, host, or host:port alone; and the user and password in it, for Basic.

    Raises:
        ValueError: it is no http URL.
    """
    if re.match(r"[0-9]+(?=[/?]|$)", url):
        url = f"127.0.0.1:{url}"
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not an http URL")
    user, at, place = parts.netloc.rpartition("@")
    if parts.port is None and "://" not in url:
        place += ":6060"
    name, _, password = user.partition(":")
    basic = f"Basic {base64.b64encode(f'{unquote(name)}:{unquote(password)}'.encode()).decode()}"
    whole = parts.path if parts.path not in ("", "/") else path
    return parts._replace(netloc=place, path=whole, fragment=""), Credential(
        basic, "the user and password of the URL"
    ) if at else None


def _token(path: str | None) -> Credential | None:
    """The first token of a token file, which has one on each line; else the token in PYVARS_TOKEN, if there is one.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file holds no token, or the token is malformed.
    """
    if path is None:
        source, token = "the token in PYVARS_TOKEN", os.environ.get("PYVARS_TOKEN", "").strip()
        if not token:
            return None
    else:
        with open(path, encoding="utf-8-sig") as file:
            stripped = (line.strip() for line in file)
            source, token = (
                f"the token in {path}",
                next((line for line in stripped if line and not line.startswith("#")), ""),
            )
        if not token:
            raise ValueError(f"{path} holds no token")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise ValueError(f"{source} contains a space, or a character that is not printable ASCII")
    return Credential(f"Bearer {token}", source)


def _fetch(url: SplitResult, timeout: float, credential: Credential | None) -> Page:
    """The page at `url`. The credential is not sent again after a redirect.

    Raises:
        OSError: there is no response within `timeout` seconds, or it is an error.
        ValueError: the response is no page of variables.
    """
    request = urllib.request.Request(url.geturl())
    if credential is not None:
        request.add_unredirected_header("Authorization", credential.header)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy: the page is not on the internet
    with opener.open(request, timeout=timeout) as answer:
        body = answer.read(MAX_PAGE_BYTES)
    name = unquote(url.path.partition("/debug/vars/")[2])  # of one variable: units are read from its name
    try:
        page: object = json.loads(body)
    except (ValueError, RecursionError):
        page = name = ""
    if not (name or isinstance(page, dict)):
        raise ValueError("the response is no page of variables (no JSON object)")
    return {name: page} if name else cast("Page", page)


def _reason(error: HTTPError, credential: Credential | None) -> str:
    """Why the response is an error: its body if that is one line, else its status; and a hint if access was refused."""
    with error:
        text = error.read(MAX_REASON_BYTES).decode(errors="replace").strip()
    is_line = error.headers.get_content_type() == "text/plain" and text.isprintable() and text
    reason = text if is_line else printable(str(error.reason))
    if error.code not in (401, 404) or (error.code == 404 and not reason.lower().endswith("not found")):
        return reason
    if credential is not None:
        return f"{reason}; pyvars sent {credential.source}"
    hint = "give a token with" if error.code == 401 else "if the page is there, it needs a token: give it with"
    return f"{reason}; {hint} --token-file FILE or PYVARS_TOKEN"


def print_lines(lines: Iterable[str]) -> None:
    """Print the lines. A terminal that lacks a character, or a pipe that was closed, is no error."""
    reconfigure: Any = getattr(sys.stdout, "reconfigure", None)  # a program may have replaced it
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has ended; the flush at exit must not raise the same error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
