"""Fixtures: a fresh registry, and a page read through the gate as a program on this machine reads it."""

import json
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

import pyvars
from pyvars.site.default import debug
from pyvars.site.http import Request, Response, deadline

Read = Callable[..., Any]

# A shell that starts the tests in the background has them ignore Ctrl-C, and so every program that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def registry() -> pyvars.Registry:
    """A registry that holds nothing."""
    return pyvars.Registry()


@pytest.fixture(autouse=True)
def _default_registry_as_it_was() -> Iterator[None]:
    """What a test publishes on the default registry is gone after it."""
    before = dict(pyvars.default_registry.items())
    yield
    for name in [name for name in pyvars.default_registry if name not in before]:
        pyvars.delete(name)
    assert dict(pyvars.default_registry.items()) == before


@pytest.fixture(autouse=True)
def _logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="pyvars")


def logged(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What pyvars has said, once the thread that says it has said all."""
    for thread in threading.enumerate():
        if thread.name == "pyvars-log":
            thread.join(10)
    return caplog.records


def log_text(caplog: pytest.LogCaptureFixture) -> str:
    """The same, as text."""
    return "".join(record.getMessage() + (record.exc_text or "") for record in logged(caplog))


def local_request(path: str = "/debug/vars", *, query: str = "", method: str = "GET", **changes: Any) -> Request:
    """A request such as curl on this machine sends."""
    raw_path = path.encode("utf-8", "surrogateescape").decode("latin-1")
    fields: dict[str, Any] = {
        "method": method,
        "path": path,
        "root": "",
        "raw_path": raw_path,
        "query": query,
        "headers": (("host", "localhost"),),
        "peer": "127.0.0.1",
        "http_version": "1.1",
        "deadline": deadline(),
    }
    return Request(**{**fields, **changes})


def strict(text: bytes) -> Any:
    """JSON as the strictest readers take it: no NaN, no Infinity, and 1.0 is no integer."""

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no JSON")

    return json.loads(text.decode("utf-8", "strict"), parse_constant=refuse, parse_float=Decimal)


@pytest.fixture
def respond(registry: pyvars.Registry) -> Callable[..., Response]:
    """The answer to a request for the fresh registry, through the gate."""
    site = debug(registry, None, prefix="/debug")
    return lambda *args, **kwargs: site.respond(local_request(*args, **kwargs))


@pytest.fixture
def page(respond: Callable[..., Response]) -> Read:
    """The page of the fresh registry, parsed: `page()`, `page(query="name=a")`, `page("/debug/vars/a")`."""

    def read(*args: Any, **kwargs: Any) -> Any:
        response = respond(*args, **kwargs)
        assert response.status == 200
        return strict(response.body)

    return read
