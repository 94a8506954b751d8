"""The default rule: it allows programs on this machine, and refuses proxies that leave a trace."""

from collections.abc import Callable
from typing import Any

import pytest

from pyvars import Int, Registry
from pyvars.site.default import debug
from tests.conftest import local_request

Question = Callable[..., bool]


@pytest.fixture
def may_look(registry: Registry) -> Question:
    """Whether a request like one of curl, with these changes, gets the page."""
    registry.publish("orders", Int())
    site = debug(registry, None, prefix="/debug")
    return lambda *args, **changes: site.respond(local_request(*args, **changes)).ours


@pytest.mark.parametrize(
    "host",
    "localhost LOCALHOST:8000 localhost. localhost: 127.0.0.1 127.0.0.1:1 127.8.9.10 [::1] [::1]:8000"
    " [::ffff:127.0.0.1] [::FFFF:7f00:1]:80".split(),
)
def test_hosts_that_name_loopback(may_look: Question, host: str) -> None:
    assert may_look(headers=(("host", host),))


@pytest.mark.parametrize(
    "host",
    [
        *("", " localhost", "127.0.0.1 ", "localhost, evil.com"),
        *"evil.example 127.0.0.1.evil.com localhost.evil.com evil.com#127.0.0.1 user@127.0.0.1 a@localhost".split(),
        *"localhost:80:80 localhost:x localhost:² ::1 [::1 ::1] [::1]x [::1]:x [localhost localhost.. *".split(),
        *"evil.com:x:y . .localhost localhost:123456 _ [::1%lo] [::1%25lo] [127.0.0.1] localhost\\".split(),
        *"0.0.0.0 2130706433 127.1 10.0.0.1 [::ffff:10.0.0.1] [fe80::1] a.localhost local\u017fhost".split(),
    ],
)
def test_hosts_that_do_not(may_look: Question, host: str) -> None:
    assert not may_look(headers=(("host", host),))


def test_a_long_host_is_not_kept(may_look: Question) -> None:
    assert not may_look(headers=(("host", "x" * 60_000),))


def test_the_host_is_there_once(may_look: Question) -> None:
    assert not may_look(headers=())
    assert not may_look(headers=(("host", "localhost"), ("host", "localhost")))


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_peers_on_loopback(may_look: Question, peer: str) -> None:
    assert may_look(peer=peer)


@pytest.mark.parametrize(
    "peer", [None, "10.0.0.1", "::ffff:10.0.0.1", "2001:db8::1", "testclient", "localhost", "unix:", "0.0.0.0"]
)
def test_other_peers(may_look: Question, peer: str | None) -> None:
    assert not may_look(peer=peer)


def test_a_unix_socket_is_judged_as_strictly(may_look: Question) -> None:
    """Most unix sockets have a proxy in front, and nginx sends no Host if its client sent none."""
    assert may_look(peer="")
    assert not may_look(peer="", headers=())
    assert not may_look(peer="", headers=(("host", ""),))
    assert not may_look(peer="", http_version="1.0")
    assert not may_look(peer="", headers=(("host", "evil.example"),))
    assert not may_look(peer="", headers=(("host", "localhost"), ("x-forwarded-for", "1.2.3.4")))


@pytest.mark.parametrize(
    "header",
    "x-forwarded-for x-forwarded-host x-forwarded-proto x-forwarded forwarded via x-real-ip cf-connecting-ip"
    " true-client-ip x-client-ip client-ip cf-ray x-envoy-external-address x-original-host x-amzn-trace-id".split(),
)
def test_a_forwarding_header_gives_a_proxy_away(may_look: Question, header: str) -> None:
    assert not may_look(headers=(("host", "localhost"), (header, "127.0.0.1")))
    assert not may_look(headers=((header, ""), ("host", "localhost")))


def test_http_1_0_gives_a_proxy_away(may_look: Question) -> None:
    """nginx with a bare `proxy_pass` speaks HTTP/1.0 to its backends, over TCP and over unix sockets."""
    for peer in ("127.0.0.1", ""):
        for version in ("1.1", "2", "2.0", "3", "3.0"):
            assert may_look(http_version=version, peer=peer)
        for version in ("1.0", "1", "0.9", "", "1.00", "1.2", "01.1", "4", "unknown", "HTTP/1.1", "1.1 ", "²"):
            assert not may_look(http_version=version, peer=peer)


def test_a_server_that_hides_a_proxy_is_never_local(may_look: Question, registry: Registry) -> None:
    assert not may_look(server="waitress")
    assert may_look(server="")


def test_http_2_without_tls_may_have_been_upgraded_past_a_proxy(may_look: Question) -> None:
    for version in ("2", "2.0"):
        assert not may_look(http_version=version, scheme="http")
        assert may_look(http_version=version, scheme="https")
    assert may_look(http_version="1.1", scheme="http")


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("/debug/vars", {"raw_path": "/debug%2fvars"}),
        ("/debug/vars", {"raw_path": "/%64ebug/vars"}),
        ("/debug/vars", {"raw_path": "//debug/vars"}),
        ("/debug/vars", {"raw_path": "/debug/../debug/vars"}),
        ("/debug/vars", {"raw_path": "http://127.0.0.1/debug/vars"}),
        ("/debug/vars/orders", {"raw_path": "/debug/vars%2forders"}),
        ("/debug/vars", {"root": "/svc", "raw_path": "/debug/vars"}),
        ("/debug/vars", {"root": "/svc", "raw_path": "/%73vc/debug/vars"}),
    ],
)
def test_other_spellings_of_the_path_are_not_ours(may_look: Question, path: str, changes: dict[str, Any]) -> None:
    assert not may_look(path, **changes)


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("/debug/vars", {"raw_path": None}),
        ("/debug/vars/orders", {"raw_path": "/debug/vars/%6frders"}),
        ("/debug/vars", {"root": "/svc", "raw_path": "/svc/debug/vars"}),
        ("/debug/vars/", {"root": "/größe x", "raw_path": "/gr%C3%B6%C3%9Fe%20x/debug/vars/"}),
    ],
)
def test_the_spelling_that_is(may_look: Question, path: str, changes: dict[str, Any]) -> None:
    assert may_look(path, **changes)
