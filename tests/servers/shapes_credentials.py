"""Shapes of credentials: tokens and passwords, in all forms that are accepted or refused."""

from base64 import b64encode
from functools import partial

from tests.servers.app import PASSWORD, TOKEN
from tests.servers.shape import ALLOWED, EVIL, HEAD, HERE, METHOD, NOT_OURS, PAGE, UNAUTHORIZED, odd, shape


def _basic(pair: str | bytes, scheme: str = "Basic") -> bytes:
    return f"Authorization: {scheme} ".encode() + b64encode(pair.encode() if isinstance(pair, str) else pair)


_RIGHT, _WRONG = f"Authorization: Bearer {TOKEN}", "Authorization: Bearer wrong-horse-battery"
_RIGHT_TOKENS = (
    *(_RIGHT, f"Authorization: bearer {TOKEN}", f"authorization: BEARER {TOKEN}", f"AUTHORIZATION:Bearer {TOKEN}"),
    *(_basic(f"any:{TOKEN}"), _basic(f":{TOKEN}"), _basic(f"any:{TOKEN}", "basic")),
)
_WRONG_TOKENS: tuple[str | bytes, ...] = (
    *("Authorization:", "Authorization: Bearer", "Authorization: Bearer ", f"Authorization: Bearer  {TOKEN}", _WRONG),
    *(f"Authorization: {TOKEN}", f"Authorization: Bearer{TOKEN}", f"Authorization: Bearer\t{TOKEN}", f"{_RIGHT}x"),
    *(f"{_RIGHT[:-1]}", f"Authorization: Bearer x{TOKEN}", f"Authorization: Bearer {TOKEN.upper()}", f"{_RIGHT[:-1]}Y"),
    *(f"{_RIGHT}, Bearer {TOKEN}", f"{_RIGHT} x", f"{_RIGHT},", f'Authorization: Bearer "{TOKEN}"', f"{_RIGHT}\u00e9"),
    *(f"Authorization: Bearer token={TOKEN}", f"Authorization: Digest {TOKEN}", f"Authorization: Token {TOKEN}"),
    *(f"Authorization: Negotiate {TOKEN}", b"Authorization: Bearer \xe9\xff", f"Authorization: Basic any:{TOKEN}"),
    *(_basic(TOKEN), _basic(f"{TOKEN}:"), _basic(f"{TOKEN}:x"), _basic(f"any:{TOKEN}x"), _basic(f"any:x:{TOKEN}")),
    *(_basic(f"any:{TOKEN}", "Bearer"), f"Authorization: Basic {TOKEN}", f"Proxy-Authorization: Bearer {TOKEN}"),
    *(f"X-Authorization: Bearer {TOKEN}", f"Cookie: token={TOKEN}", f"X-Api-Key: {TOKEN}", f"PYVARS-TOKEN: {TOKEN}"),
)
_BROKEN_TOKENS: tuple[bytes, ...] = (
    f"{_RIGHT}\0".encode(),
    f"Authorization: Bearer \0{TOKEN}".encode(),
    b"Authorization: Bearer " + b"x" * 60_000,
    b"Authorization: Bearer " + b"x" * 1_000_000,
    b"Authorization : Bearer wrong-horse-battery",
    b"Authorization: Bearer\r\n  wrong-horse-battery",
)
SPACES_BEHIND = "right token, and spaces"
_token, _odd_token = partial(shape, rule="token"), partial(odd, rule="token")
TOKENS = (
    _token(UNAUTHORIZED, "no credential"),
    *(_token(PAGE, f"token {right!r}", right) for right in _RIGHT_TOKENS),
    *(_token(UNAUTHORIZED, f"token {wrong!r}", wrong) for wrong in _WRONG_TOKENS),
    *(_odd_token(UNAUTHORIZED, f"token {wrong!r:.60} ({len(wrong)})", wrong) for wrong in _BROKEN_TOKENS),
    _odd_token(UNAUTHORIZED, "two credentials, right first", _RIGHT, _WRONG),
    _odd_token(UNAUTHORIZED, "two credentials, right last", _WRONG, _RIGHT),
    _odd_token(UNAUTHORIZED, "two credentials, both right", _RIGHT, _RIGHT),
    *(
        _token(UNAUTHORIZED, f"token in the query: {name}", target=f"{HERE}?{name}={TOKEN}")
        for name in ("token", "access_token", "Authorization")
    ),
    _token(PAGE, SPACES_BEHIND, f"{_RIGHT}  "),
    _token(HEAD, "right token, by HEAD", _RIGHT, method="HEAD"),
    _token(ALLOWED, "right token, by OPTIONS", _RIGHT, method="OPTIONS"),
    _token(METHOD, "right token, by POST", _RIGHT, method="POST"),
    _token(METHOD, "right token, by TRACE", _RIGHT, method="TRACE"),
    *(_token(UNAUTHORIZED, f"no token, by {method}", method=method) for method in ("HEAD", "OPTIONS", "POST", "TRACE")),
    _token(PAGE, "right token, another's Host", _RIGHT, host=EVIL),
    _token(PAGE, "right token, HTTP/1.0", _RIGHT, version="HTTP/1.0"),
    _token(PAGE, "right token, forwarded", _RIGHT, "Via: 1.1 x"),
    _token(PAGE, "right token, cross-site", _RIGHT, "Sec-Fetch-Site: cross-site"),
    _token(NOT_OURS, "no token, elsewhere", target="/debug/x"),
    _token(UNAUTHORIZED, "no token, the index", target="/debug"),
    _token(NOT_OURS, "right token, another spelling", _RIGHT, target="/debug/%76ars", spelling="encoded"),
    _token(UNAUTHORIZED, "no token, 65 names", target=f"{HERE}?{'name=x&' * 65}"),
)

_PAIR = f"ann:{PASSWORD}"
_WRONG_PAIRS: tuple[bytes, ...] = (
    *(_basic(f"ann:{PASSWORD}x"), _basic(f"bob:{PASSWORD}"), _basic("ann:"), _basic(":"), _basic(f":{PASSWORD}")),
    *(_basic("ann"), _basic(""), _basic(f"Ann:{PASSWORD}"), _basic(_PAIR.encode("latin-1"))),
    *(
        _basic(_PAIR.encode() + b"\xff"),
        _basic(_PAIR.encode() + b"\0"),
        _basic(_PAIR, "Bearer"),
        _basic(_PAIR, "Digest"),
    ),
    *(
        b"Authorization: Basic",
        b"Authorization: Basic !!!!",
        b"Authorization: Basic YQ=",
        b"Authorization: Basic \xff\xfe",
    ),
    *(
        _basic(_PAIR) + b"=",
        _basic(_PAIR)[:-4] + b"\t" + _basic(_PAIR)[-4:],
        _basic(_PAIR) + b" x",
        _basic(f"{_PAIR}:"),
    ),
    *(_basic(_PAIR).replace(b"Basic ", b"Basic  "), f"Authorization: Basic {_PAIR}".encode()),
    f"Authorization: Bearer {PASSWORD}".encode(),
)
_password, _odd_password = partial(shape, rule="basic"), partial(odd, rule="basic")
PASSWORDS = (
    _password(UNAUTHORIZED, "no password"),
    _password(PAGE, "right password", _basic(_PAIR)),
    _password(PAGE, "right password, scheme in lower case", _basic(_PAIR, "basic")),
    _password(PAGE, "right password, HTTP/1.0", _basic(_PAIR), version="HTTP/1.0"),
    *(_password(UNAUTHORIZED, f"password {wrong!r}", wrong) for wrong in _WRONG_PAIRS),
    _odd_password(UNAUTHORIZED, "a password of 1 MB", _basic("ann:" + "x" * 750_000)),
    _odd_password(UNAUTHORIZED, "two passwords", _basic(_PAIR), _basic("ann:x")),
)

_either = partial(shape, rule="either")
EITHER = (
    _either(PAGE, "either, local"),
    _either(PAGE, "either, local with a wrong token", _WRONG),
    _either(UNAUTHORIZED, "either, a stranger", host=EVIL),
    _either(UNAUTHORIZED, "either, HTTP/1.0", version="HTTP/1.0"),
    _either(PAGE, "either, a stranger with the token", _RIGHT, host=EVIL),
    _either(PAGE, "either, HTTP/1.0 with the token", _RIGHT, version="HTTP/1.0"),
    _either(PAGE, "either, forwarded with the token", _RIGHT, "X-Forwarded-For: ::1"),
)
