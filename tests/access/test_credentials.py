"""Access for other clients: tokens, files of tokens, Basic, networks, functions, and their combinations."""

import base64
import functools
import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pyvars
from pyvars import ConfigurationError, Int, Registry
from pyvars.access import Access, Rule, anyone, basic, local, networks, rule, token, token_file
from pyvars.access.request import Request
from pyvars.asgi import VarsMiddleware
from pyvars.site.default import debug
from pyvars.site.http import Response
from tests.conftest import local_request, log_text, logged
from tests.programs import output

TOKEN = "correct-horse-battery"
OTHER = "second-token-for-rotation"
PASSWORD = "pässword: with colons"
REMOTE = {"peer": "10.1.2.3"}

Question = Callable[..., Response]


@pytest.fixture
def ask(registry: Registry) -> Question:
    """The response to a request from another machine, with this Authorization, under this rule."""
    registry.publish("orders", Int(3))

    def ask(access: Access | None, *authorization: str, **changes: Any) -> Response:
        site = debug(registry, access, prefix="/debug")
        headers = (("host", "shop.example"), *(("authorization", value) for value in authorization))
        return site.respond(local_request(**{"headers": headers, **REMOTE, **changes}))

    return ask


def bearer(text: str) -> str:
    return f"Bearer {text}"


def pair(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    "right",
    [
        *(bearer(TOKEN), bearer(OTHER), f"bearer {TOKEN}", f"BEARER {OTHER}"),
        *(pair("any", TOKEN), pair("", OTHER), pair("user", TOKEN).replace("Basic", "basic")),
    ],
)
def test_a_right_token(ask: Question, right: str) -> None:
    assert ask(token(TOKEN, OTHER), right).status == 200


WRONG = [
    "",
    "Bearer",
    "Bearer ",
    bearer(f" {TOKEN}"),
    bearer(TOKEN[:-1]),
    bearer(f"{TOKEN}x"),
    bearer(f"{TOKEN}\x00"),
    bearer(TOKEN.upper()),
    bearer("\xe9\xff"),
    bearer("x" * 1_000_000),
    bearer(f"{TOKEN},{OTHER}"),
    TOKEN,
    f"Digest {TOKEN}",
    f"Token {TOKEN}",
    "Basic",
    "Basic ",
    "Basic !!!",
    pair("any", TOKEN) + "=",
    "Basic " + base64.b64encode(TOKEN.encode()).decode(),
    "Basic " + base64.b64encode(b":\xff\xfe").decode(),
    "Basic " + base64.b64encode(b"\x00" * 1_000_000).decode(),
    pair(TOKEN, "x"),
    pair("any", f"{TOKEN}x"),
    pair("any", ""),
]


@pytest.mark.parametrize("wrong", WRONG, ids=range(len(WRONG)))
def test_a_wrong_token_is_401(ask: Question, wrong: str, caplog: pytest.LogCaptureFixture) -> None:
    answer = ask(token(TOKEN, OTHER), wrong)
    assert (answer.status, answer.body) == (401, b"unauthorized\n")
    challenges = [value for name, value in answer.headers if name == "WWW-Authenticate"]
    assert challenges == ["Bearer", 'Basic realm="pyvars", charset="UTF-8"']
    assert TOKEN not in log_text(caplog)


def test_no_authorization_or_several_are_401(ask: Question) -> None:
    assert ask(token(TOKEN)).status == 401
    assert ask(token(TOKEN), bearer(TOKEN), bearer(TOKEN)).status == 401
    assert ask(token(TOKEN), bearer(TOKEN), "").status == 401


def test_a_token_is_never_taken_from_the_query(ask: Question, caplog: pytest.LogCaptureFixture) -> None:
    answer = ask(token(TOKEN), query=f"token={TOKEN}&access_token={TOKEN}")
    assert answer.status == 401
    assert TOKEN not in str(answer)
    assert TOKEN not in log_text(caplog)


def test_unicode_tokens_and_headers(ask: Question) -> None:
    unicode_token = "schlüssel-für-die-seite"
    as_sent = unicode_token.encode().decode("latin-1")  # as servers decode the bytes of a header
    assert ask(token(unicode_token), bearer(as_sent)).status == 200
    assert ask(token(unicode_token), pair("x", unicode_token)).status == 200
    assert ask(token(unicode_token), bearer("\u20ac" * 30)).status == 401


def test_basic(ask: Question) -> None:
    access = basic("scraper", PASSWORD)
    assert ask(access, pair("scraper", PASSWORD)).status == 200
    assert ask(access, pair("scraper", PASSWORD).replace("Basic", "basic")).status == 200
    for wrong in (pair("other", PASSWORD), pair("scraper", "wrong-password"), pair("scraper", ""), bearer(PASSWORD)):
        answer = ask(access, wrong)
        assert answer.status == 401
        assert ("WWW-Authenticate", 'Basic realm="pyvars", charset="UTF-8"') in answer.headers
        assert ("WWW-Authenticate", "Bearer") not in answer.headers
    more = base64.b64encode(f"scraper:{PASSWORD}".encode() + b"\x00").decode()
    for wrong in (f"Basic {more}", "Basic", "Basic x", "Basic " + base64.b64encode(b"scraper").decode(), ""):
        assert ask(access, wrong).status == 401


@pytest.mark.parametrize(
    "make",
    [
        lambda: token(),
        lambda: token("short"),
        lambda: token("x" * 15),
        lambda: token(TOKEN, "x" * 15),
        lambda: token(f"{TOKEN} x"),
        lambda: token(f"{TOKEN}\n"),
        lambda: token(b"x" * 32),  # type: ignore[arg-type]
        lambda: basic("user", "x" * 11),
        lambda: basic("", PASSWORD),
        lambda: basic("a:b", PASSWORD),
        lambda: basic("user", None),  # type: ignore[arg-type]
        lambda: networks(),
        lambda: networks("10.0.0.0/40"),
        lambda: networks("10.0.0.1/8"),
        lambda: networks("example.com"),
        lambda: networks(10),  # type: ignore[arg-type]
        lambda: networks(b"\x0a\x00\x00\x01"),  # type: ignore[arg-type]
        lambda: networks("10.0.0.0/8", hosts="metrics.internal"),
        lambda: networks("10.0.0.0/8", hosts=b"metrics"),  # type: ignore[arg-type]
        lambda: networks("10.0.0.0/8", hosts=None),  # type: ignore[arg-type]
        lambda: networks("10.0.0.0/8", hosts=("",)),
        lambda: networks("10.0.0.0/8", hosts=(".",)),
        lambda: networks("10.0.0.0/8", hosts=("metrics.internal:6060",)),
        lambda: networks("10.0.0.0/8", hosts=("http://metrics.internal",)),
        lambda: networks("10.0.0.0/8", hosts=(b"metrics",)),  # type: ignore[arg-type]
        lambda: networks("10.0.0.0/8", hosts=(None,)),  # type: ignore[arg-type]
        lambda: token_file("/no/such/file"),
        lambda: rule(TOKEN),  # type: ignore[arg-type]
        lambda: local() | TOKEN,  # type: ignore[operator]
        lambda: rule(None),  # type: ignore[arg-type]
        lambda: rule(local),  # type: ignore[arg-type]
        lambda: rule(Request),  # type: ignore[arg-type]
        lambda: local() | 3,
    ],
)
def test_a_mistake_in_configuration_is_an_error_at_once(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert TOKEN not in str(caught.value)


def test_an_async_function_is_no_rule(ask: Question) -> None:
    async def allow(request: Request) -> bool:
        return True

    class Allowing:
        async def __call__(self, request: Request) -> bool:
            return True

    for access in (allow, Allowing(), functools.partial(allow)):
        with pytest.raises(ConfigurationError, match="plain function"):
            rule(access)  # type: ignore[arg-type]
    assert ask(lambda request: allow(request)).status == 404  # type: ignore[arg-type, return-value]


def test_a_function_of_the_users(ask: Question, caplog: pytest.LogCaptureFixture) -> None:
    def inside(request: Request) -> bool:
        return request.peer == "10.1.2.3"

    assert ask(inside).status == 200
    assert ask(inside, peer="10.1.2.4").status == 404
    assert ask(inside | token(TOKEN), peer="10.1.2.4").status == 401
    assert ask(token(TOKEN) | inside).status == 200
    assert ask(lambda request: 1).status == 404  # type: ignore[arg-type, return-value]  # not True itself
    assert ask(lambda request: 1 / 0).status == 404  # type: ignore[arg-type, return-value]
    assert ask(lambda request: sys.exit()).status == 404
    assert "raised ZeroDivisionError" in log_text(caplog)
    assert ask(frozenset[Request]().__contains__).status == 404


def test_rules_that_raise_do_not_hinder_others(ask: Question) -> None:
    def raising(request: Request) -> bool:
        raise LookupError

    for access in (raising | token(TOKEN), token(TOKEN) | raising, raising | (local() | token(TOKEN))):
        assert ask(access, bearer(TOKEN)).status == 200
        assert ask(access, bearer(OTHER)).status == 401


@pytest.mark.parametrize("refusal", [None, False, 0, b"", True, 1])
def test_a_rule_of_the_users_allows_with_the_empty_text_alone(ask: Question, refusal: object) -> None:
    class Own(Rule):
        def refusal(self, request: Request) -> str:
            return "" if request.peer == "10.9.9.9" else refusal  # type: ignore[return-value]

    assert ask(Own(), peer="10.9.9.9").status == 200
    assert ask(Own()).status == 404
    assert ask(Own() | Own()).status == 404


def test_reasons_that_differ_with_each_request_are_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    class Own(Rule):
        def refusal(self, request: Request) -> str:
            return request.path

    site = debug(Registry(), Own(), prefix="")
    for number in (1, 1, *range(2, 102), 1):
        assert site.respond(local_request(f"/vars/{number}")).status == 404
    said = [record.args for record in logged(caplog)]
    assert said.count(("/vars/1",)) == 2
    assert said.count(("/vars/2",)) == 1


def test_rules_combine(ask: Question) -> None:
    access = local() | token(TOKEN) | basic("scraper", PASSWORD) | networks("192.168.0.0/16")
    assert ask(access, bearer(TOKEN)).status == 200
    assert ask(access, pair("scraper", PASSWORD)).status == 200
    assert ask(access, peer="127.0.0.1", headers=(("host", "localhost"),)).status == 200
    assert ask(access, peer="192.168.7.7", headers=(("host", "192.168.1.1:80"),)).status == 200
    answer = ask(access)
    assert answer.status == 401
    assert [value for name, value in answer.headers if name == "WWW-Authenticate"] == [
        "Bearer",
        'Basic realm="pyvars", charset="UTF-8"',
    ]
    assert ask(anyone()).status == 200
    assert ask(local()).status == 404


def test_a_right_token_opens_it_through_a_proxy(ask: Question) -> None:
    headers = (("host", "evil.example"), ("x-forwarded-for", "1.2.3.4"), ("authorization", bearer(TOKEN)))
    for version in ("1.0", "1.1"):
        changes = {"headers": headers, "http_version": version, "peer": "127.0.0.1"}
        assert ask(local() | token(TOKEN), **changes).status == 200


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 200),
        ({"peer": "::ffff:10.1.2.3"}, 200),
        ({"peer": "2001:db8::7"}, 200),
        ({"headers": (("host", "Metrics.Internal:80"),)}, 200),
        ({"headers": (("host", "[2001:db8::1]"),)}, 200),
        ({"peer": "11.0.0.1"}, 404),
        ({"peer": "127.0.0.1"}, 404),
        ({"peer": ""}, 404),
        ({"peer": None}, 404),
        ({"peer": "testclient"}, 404),
        ({"headers": (("host", "evil.example"),)}, 404),
        ({"headers": (("host", "10.0.0.9.evil.example"),)}, 404),
        ({"headers": ()}, 404),
        ({"headers": (("host", "10.0.0.9"), ("host", "10.0.0.9"))}, 404),
        ({"headers": (("host", "10.0.0.9"), ("x-forwarded-for", "10.1.2.3"))}, 404),
        ({"http_version": "1.0"}, 404),
        ({"http_version": ""}, 404),
        ({"headers": (("host", "m"),)}, 404),
        ({"headers": (("host", "."),)}, 404),
        ({"headers": (("host", ""),)}, 404),
        ({"headers": (("host", "evil.com:x:y"),)}, 404),
        ({"headers": (("host", "10.0.0.9:6060"), ("origin", "http://10.0.0.9:6060"))}, 200),
        ({"headers": (("host", "10.0.0.9:6060"), ("origin", "http://evil.example"))}, 404),
        ({"headers": (("host", "10.0.0.9:6060"), ("sec-fetch-site", "cross-site"))}, 404),
    ],
)
def test_networks(ask: Question, changes: dict[str, Any], status: int) -> None:
    access = networks("10.0.0.0/8", "2001:db8::/32", hosts=["metrics.internal."])
    assert ask(access, **{"headers": (("host", "10.0.0.9:6060"),), **changes}).status == status


def test_a_token_file_is_read_again_when_it_changes(ask: Question, tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"# for Datadog\n{TOKEN}\n\n  {OTHER}  \n")
    access = token_file(path)
    assert ask(access, bearer(TOKEN)).status == 200
    assert ask(access, bearer(OTHER)).status == 200
    replacement = tmp_path / "new"
    replacement.write_text("a-third-token-of-the-file\n")
    replacement.rename(path)
    assert ask(access, bearer(TOKEN)).status == 401
    assert ask(access, bearer("a-third-token-of-the-file")).status == 200
    path.write_text(f"{TOKEN}\n")
    assert ask(access, bearer(TOKEN)).status == 200
    assert ask(access, bearer("a-third-token-of-the-file")).status == 401


def _of_other_bytes(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (Path.unlink, "No such file"),
        (_fifo, "not a regular file"),
        (_folder, "not a regular file"),
        (_loop, "symbolic links"),
        (_of_other_bytes(b""), "at least one token"),
        (_of_other_bytes(b"short\n"), "16 characters"),
        (_of_other_bytes(b"\xff\xfe\n"), "UTF-8"),
        (_of_other_bytes(f"{OTHER}\n".encode() * 40_000), "at most 65536 bytes"),
    ],
)
def test_a_token_file_that_is_spoilt_leaves_its_last_tokens(
    ask: Question, tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], object], why: str
) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"{TOKEN}\n")
    access = token_file(path)
    spoil(path)
    for _ in range(3):
        assert ask(access, bearer(TOKEN)).status == 200
        assert ask(access, bearer(OTHER)).status == 401
    said = [record.getMessage() for record in logged(caplog) if str(path) in record.getMessage()]
    assert len(said) == 1
    assert why in said[0]
    if not path.is_dir():
        path.unlink(missing_ok=True)
        path.write_text(f"{OTHER}\n")
        assert ask(access, bearer(OTHER)).status == 200
        assert ask(access, bearer(TOKEN)).status == 401


def test_a_token_file_of_a_windows_editor(ask: Question, tmp_path: Path) -> None:
    """The file begins with a byte order mark, and each line ends with a carriage return."""
    (tmp_path / "tokens").write_bytes(f"\ufeff{TOKEN}\r\n{OTHER}\r\n".encode())
    access = token_file(tmp_path / "tokens")
    assert [ask(access, bearer(right)).status for right in (TOKEN, OTHER)] == [200, 200]


def test_a_token_file_is_opened_only_when_it_has_changed(tmp_path: Path) -> None:
    """Even if it is malformed; and never for a request without a credential."""
    code = f"""
import logging, sys
from pyvars.access import token_file
from tests.conftest import local_request
logging.disable()
path, opened = sys.argv[1], []
def write(text):
    with open(path, "w") as file:
        file.write(text)
write("{TOKEN}")
rule = token_file(path)
sys.addaudithook(lambda event, about: opened.append(1) if event == "open" and about[0] == path else None)
def ask(count, *headers):
    opened.clear()
    for _ in range(count):
        rule.refusal(local_request(headers=headers))
    print(len(opened))
bearer = "authorization", "Bearer {OTHER}"
ask(10, bearer)
write("x" * 1_000_000)
ask(10)
ask(10, ("authorization", "Digest x"))
ask(10, bearer)
ask(10, bearer)
"""
    assert output(code, str(tmp_path / "tokens")).split() == ["0", "0", "0", "1", "0"]


def test_a_token_file_that_changes_all_the_time_lets_in_its_token_of_the_moment(ask: Question, tmp_path: Path) -> None:
    path, done = tmp_path / "tokens", threading.Event()
    path.write_text(f"{TOKEN}\n")
    access = token_file(path)
    wrong: list[int] = []

    def look() -> None:
        while not done.is_set():
            if ask(access, bearer(TOKEN)).status != 200:
                wrong.append(1)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(200):
        replacement = tmp_path / "new"
        replacement.write_text(f"{TOKEN}\nanother-token-number-{number}\n")
        replacement.rename(path)
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert ask(access, bearer("another-token-number-199")).status == 200
    assert ask(access, bearer("another-token-number-198")).status == 401


def test_a_token_file_must_be_right_at_the_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for wrong in (tmp_path / "fifo", tmp_path, "no\x00path"):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            token_file(wrong)
    for content in ("", "# nothing\n", "short\n", "two words of a long text\n"):
        (tmp_path / "tokens").write_text(content)
        with pytest.raises(ConfigurationError):
            token_file(tmp_path / "tokens")


def test_the_token_of_the_environment(ask: Question, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(None, bearer(TOKEN)).status == 404
    monkeypatch.setenv("PYVARS_TOKEN", TOKEN)
    assert ask(None, bearer(TOKEN)).status == 200
    assert ask(None).status == 401
    assert ask(None, peer="127.0.0.1", headers=(("host", "localhost"),)).status == 200
    monkeypatch.setenv("PYVARS_TOKEN", "short")
    with pytest.raises(ConfigurationError, match="16 characters"):
        VarsMiddleware(VarsMiddleware)  # type: ignore[arg-type]
    monkeypatch.setenv("PYVARS_TOKEN", "")
    assert ask(None, bearer(TOKEN)).status == 404


def test_why_it_was_refused_is_said_once_a_minute(
    registry: Registry, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = debug(registry, local() | token(TOKEN), prefix="/debug")
    clock = [1000.0]
    monkeypatch.setattr("pyvars.core.log.monotonic", lambda: clock[0])

    def said() -> list[logging.LogRecord]:
        """Not what a function of an earlier test makes pyvars say just now."""
        return [record for record in logged(caplog) if "was refused: " in record.getMessage()]

    def refuse(**changes: Any) -> int:
        before = len(said())
        assert site.respond(local_request(**{"headers": (("host", "secret.example"),), **changes})).status == 401
        return len(said()) - before

    assert [refuse(), refuse(), refuse(peer="9.9.9.9"), refuse(peer="8.8.8.8")] == [1, 0, 1, 0]
    clock[0] += 59
    assert refuse() == 0
    clock[0] += 1
    assert refuse() == 1
    for word in ("its Host is neither localhost nor", "it has no credential", "send a token or password"):
        assert word in log_text(caplog)
    for echoed in ("secret.example", "9.9.9.9", TOKEN):
        assert echoed not in log_text(caplog)
    assert site.respond(local_request("/hello")).status == 404
    assert len(said()) == 3


def test_an_open_bind_needs_a_rule_for_others(registry: Registry) -> None:
    for access in (None, local(), local() | local()):
        with pytest.raises(ConfigurationError, match=r"PYVARS_TOKEN.*token\(.*networks\("):
            pyvars.serve(0, "0.0.0.0", registry=registry, access=access)
    for access in (token(TOKEN), local() | token(TOKEN), networks("10.0.0.0/8"), anyone(), lambda request: False):
        with pyvars.serve(0, "0.0.0.0", registry=registry, access=access) as server:
            assert server.url == f"http://0.0.0.0:{server.port}"


def test_nothing_shows_a_credential() -> None:
    for access in (token(TOKEN), basic("u", TOKEN), local() | token(TOKEN)):
        assert TOKEN not in repr(access) + str(vars(access))
    assert os.environ.get("PYVARS_TOKEN") is None
