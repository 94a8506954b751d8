"""The access rules that ask for a credential.

Credentials are kept and compared as SHA-256 digests, in constant time, and each request is compared with all of them.
So neither memory nor logs nor response times reveal a credential, or how much of a guess was right.
"""

import binascii
import hmac
import os
import stat
from base64 import b64decode, b64encode
from collections.abc import Sequence
from hashlib import sha256

from pyvars.access.request import Request
from pyvars.access.rules import Rule
from pyvars.core.log import MinuteLog
from pyvars.core.own_file import OwnFile
from pyvars.errors import ConfigurationError

__all__ = ("Basic", "TokenFile", "Tokens")

MIN_TOKEN = 16
"""The minimum length of a token, in characters."""
MIN_PASSWORD = 12
"""The minimum length of a password, in characters."""
MAX_TOKEN_FILE = 65536
"""The maximum size of a token file, in bytes."""

_BEARER = "Bearer"
_BASIC = 'Basic realm="pyvars", charset="UTF-8"'


class Tokens(Rule):
    """The rule of `pyvars.access.token`: a request needs one of some tokens."""

    challenges: tuple[str, ...] = (_BEARER, _BASIC)

    def __init__(self, tokens: Sequence[str]) -> None:
        self._digests = _digests(tokens)

    def refusal(self, request: Request) -> str:
        """See `Rule.refusal`."""
        scheme, credential = _authorization(request)
        if scheme == "basic":
            # The token may be sent as the password, with any user name: all readers of expvar that can send a
            # credential can send Basic, but not all can send Bearer.
            credential = (_basic_credential(credential) or b":").partition(b":")[2]
        elif scheme != "bearer":
            return "it has no credential" if not scheme else "its credential is neither Bearer nor Basic"
        return "" if _is_one_of(credential, self._digests) else "its token is not the right one"


class TokenFile(Rule):
    """The rule of `pyvars.access.token_file`: a request needs one of the tokens in a file."""

    challenges: tuple[str, ...] = Tokens.challenges

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.path.abspath(path)
        self._log = MinuteLog()
        try:
            state, content = _read(self._path)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"the token file cannot be read: {error}") from None
        self._latest: tuple[object, Tokens] = (state, Tokens(_tokens_in(content)))
        """The state of the file at the last reading, and the last valid tokens: one tuple, which needs no lock."""

    def refusal(self, request: Request) -> str:
        """See `Rule.refusal`."""
        if _authorization(request)[0] in ("bearer", "basic"):
            self._read_again()
        return self._latest[1].refusal(request)

    def _read_again(self) -> None:
        """Read the file if it has changed since it was last read. If it is unusable now, the last tokens stay valid."""
        read, tokens = self._latest
        problem = ""
        try:
            if _state(os.stat(self._path)) == read:
                return
            read, content = _read(self._path)
            tokens = Tokens(_tokens_in(content))
        except (OSError, ConfigurationError) as error:
            problem = f"{self._path}: {error}"
        self._latest = (read, tokens)
        if problem:
            self._log.warn("a token file cannot be used now, so its previous tokens stay valid: %s", problem)


def _read(path: str) -> tuple[object, bytes]:
    """Returns the state of the file, and its content, of which it reads one byte more than is allowed at most."""
    if not stat.S_ISREG(os.stat(path).st_mode):  # opening a FIFO may block, opening a device may have effects
        raise OSError(f"{path} is not a regular file")
    with OwnFile(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))) as file:  # it may be a FIFO by now
        found = os.fstat(file.number)  # of the open file: the path may name another one by now
        return _state(found), os.read(file.number, MAX_TOKEN_FILE + 1) if stat.S_ISREG(found.st_mode) else b""


def _state(found: os.stat_result) -> tuple[int, ...]:
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_dev, found.st_ino


def _tokens_in(content: bytes) -> list[str]:
    if len(content) > MAX_TOKEN_FILE:
        raise ConfigurationError(f"a token file must have at most {MAX_TOKEN_FILE} bytes")
    try:
        lines = [line.strip() for line in content.decode("utf-8-sig").splitlines()]  # Windows' editors write a BOM
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"a token file must be in UTF-8: {error.reason}") from None
    return [line for line in lines if line and not line.startswith("#")]


class Basic(Rule):
    """The rule of `pyvars.access.basic`: a request needs a user name and a password."""

    challenges: tuple[str, ...] = (_BASIC,)

    def __init__(self, user: str, password: str) -> None:
        if not isinstance(user, str) or not isinstance(password, str):
            raise ConfigurationError("basic() takes a user name and a password, both of class str")
        if not user or ":" in user:
            raise ConfigurationError("a user name must not be empty, and must not contain a colon")
        if len(password) < MIN_PASSWORD:
            raise ConfigurationError(f"a password must have at least {MIN_PASSWORD} characters")
        self._digests = [sha256(f"{user}:{password}".encode()).digest()]

    def refusal(self, request: Request) -> str:
        """See `Rule.refusal`."""
        scheme, credential = _authorization(request)
        if scheme != "basic":
            return "it has no Basic credential"
        pair = _basic_credential(credential)
        return "" if pair and _is_one_of(pair, self._digests) else "its user name or password is not the right one"


def _authorization(request: Request) -> tuple[str, bytes]:
    """Returns the scheme, in lower case, and the credential of Authorization; empty unless there is exactly one."""
    headers = [value for name, value in request.headers if name == "authorization"]
    if len(headers) != 1:
        return "", b""
    scheme, _, credential = headers[0].partition(" ")
    return scheme.lower(), credential.encode("latin-1", "replace")


def _basic_credential(credential: bytes) -> bytes | None:
    """Returns the decoded `user:password` of a Basic credential, or None if it is malformed."""
    try:
        pair = b64decode(credential, validate=True)
    except binascii.Error:
        return None
    # b64decode() also accepts superfluous padding, so compare with the canonical encoding.
    return pair if b":" in pair and b64encode(pair) == credential else None


def _digests(tokens: Sequence[str]) -> list[bytes]:
    if not tokens:
        raise ConfigurationError("at least one token is needed")
    for each in tokens:
        if not isinstance(each, str) or len(each) < MIN_TOKEN:
            raise ConfigurationError(
                f"a token must be a str of at least {MIN_TOKEN} characters; make one with"
                " `python -c 'import secrets; print(secrets.token_urlsafe(32))'`"
            )
        if any(character.isspace() or not character.isprintable() for character in each):
            raise ConfigurationError("a token must not contain spaces or unprintable characters")
    return [sha256(each.encode()).digest() for each in tokens]


def _is_one_of(credential: bytes, digests: Sequence[bytes]) -> bool:
    given = sha256(credential).digest()
    found = False
    for digest in digests:  # without a break, so that the time does not reveal which digest matched
        found |= hmac.compare_digest(given, digest)
    return found
