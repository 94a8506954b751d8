"""The access rules that ask for a credential.

Credentials are kept and compared as SHA-256 digests, in constant time, and each request is compared with all of them:
neither a credential nor how much of a guess was right can be read from memory, a log, or the time of a response.
"""

import binascii
import hmac
import os
from base64 import b64decode
from collections.abc import Sequence
from hashlib import sha256
from threading import Lock

from pyvars.access.request import Request
from pyvars.access.rules import Rule
from pyvars.errors import ConfigurationError

__all__ = ("Basic", "TokenFile", "Tokens")

MIN_TOKEN = 16
"""The minimum length of a token, in characters."""
MIN_PASSWORD = 12
"""The minimum length of a password, in characters."""

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
            # The token is the password, with any user name: every reader of expvar that sends credentials can send
            # Basic.
            credential = (_basic_credential(credential) or b":").partition(b":")[2]
        elif scheme != "bearer":
            return "it has no credential" if not scheme else "its credential is neither Bearer nor Basic"
        return "" if _is_one_of(credential, self._digests) else "its token is not the right one"


class TokenFile(Rule):
    """The rule of `pyvars.access.token_file`: a request needs one of the tokens in a file."""

    challenges: tuple[str, ...] = Tokens.challenges

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.path.abspath(path)
        self._lock = Lock()
        self._read_file()

    def _read_file(self) -> None:
        """Read state and tokens of the file, which are replaced together. A malformed file leaves no tokens."""
        self._tokens: tuple[object, Tokens | None] = (None, None)
        try:
            with open(self._path, encoding="utf-8") as file:
                state = _state(os.fstat(file.fileno()))  # of the open file: the path may be another file by now
                lines = [line.strip() for line in file]
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"the token file cannot be read: {error}") from None
        self._tokens = (state, Tokens([line for line in lines if line and not line.startswith("#")]))

    def refusal(self, request: Request) -> str:
        """See `Rule.refusal`."""
        with self._lock:
            try:
                if self._tokens[0] != _state(os.stat(self._path)):
                    self._read_file()
            except (OSError, ConfigurationError):
                self._tokens = (None, None)
            tokens = self._tokens[1]
        return "the token file holds no token" if tokens is None else tokens.refusal(request)


def _state(found: os.stat_result) -> tuple[int, ...]:
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


class Basic(Rule):
    """The rule of `pyvars.access.basic`: a request needs a user name and a password."""

    challenges: tuple[str, ...] = (_BASIC,)

    def __init__(self, user: str, password: str) -> None:
        if not isinstance(user, str) or not isinstance(password, str):
            raise ConfigurationError("basic() takes a user name and a password, both text")
        if not user or ":" in user:
            raise ConfigurationError("a user name is not empty and holds no colon")
        if len(password) < MIN_PASSWORD:
            raise ConfigurationError(f"a password has at least {MIN_PASSWORD} characters")
        self._digests = [sha256(f"{user}:{password}".encode()).digest()]

    def refusal(self, request: Request) -> str:
        """See `Rule.refusal`."""
        scheme, credential = _authorization(request)
        if scheme != "basic":
            return "it has no Basic credential"
        pair = _basic_credential(credential)
        return "" if pair and _is_one_of(pair, self._digests) else "its user name or password is not the right one"


def _authorization(request: Request) -> tuple[str, bytes]:
    """Scheme, in lower case, and credential of the Authorization header; both empty if there is none, or several."""
    headers = [value for name, value in request.headers if name == "authorization"]
    if len(headers) != 1:
        return "", b""
    scheme, _, credential = headers[0].partition(" ")
    return scheme.lower(), credential.encode("latin-1", "replace")


def _basic_credential(credential: bytes) -> bytes | None:
    """The decoded `user:password` of a Basic credential; None if it is malformed."""
    try:
        pair = b64decode(credential, validate=True)
    except binascii.Error:
        return None
    return pair if b":" in pair else None


def _digests(tokens: Sequence[str]) -> list[bytes]:
    if not tokens:
        raise ConfigurationError("at least one token is needed")
    for each in tokens:
        if not isinstance(each, str) or len(each) < MIN_TOKEN:
            raise ConfigurationError(
                f"a token is text of at least {MIN_TOKEN} characters; make one with"
                " `python -c 'import secrets; print(secrets.token_urlsafe(32))'`"
            )
        if any(character.isspace() or not character.isprintable() for character in each):
            raise ConfigurationError("a token holds no spaces and nothing unprintable")
    return [sha256(each.encode()).digest() for each in tokens]


def _is_one_of(credential: bytes, digests: Sequence[bytes]) -> bool:
    given = sha256(credential).digest()
    found = False
    for digest in digests:  # all of them, so that the time does not tell which one matched
        found |= hmac.compare_digest(given, digest)
    return found
