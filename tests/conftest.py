"""Fixtures: a fresh registry, pages of it through the gate for a local client, and both kinds of cells."""

import importlib
import json
import logging
import os
import pkgutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from types import ModuleType
from typing import Any, TypeVar

import pytest

import pyvars
from pyvars.access.request import Request
from pyvars.site.default import debug
from pyvars.site.http import Response

# In these helpers, too, pytest shows the values of a failed assertion.
pytest.register_assert_rewrite("tests.programs", "tests.services", "tests.integrations.every", "tests.servers.running")

Read = Callable[..., Any]
T = TypeVar("T")

# If a shell starts the tests in the background, they ignore SIGINT, and so does every program that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure() -> None:
    """How long an example takes to be made and tested says nothing of pyvars: the machine of a test may be busy."""
    from hypothesis import HealthCheck, settings  # not for the programs of tests that import this module

    settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("busy machine")


_in_python: dict[str, ModuleType] = {}


def _ours() -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "pyvars"}


@pytest.fixture(scope="session", params=["native", "python"])
def kind_of_cells(request: pytest.FixtureRequest) -> dict[str, ModuleType]:
    """The modules of pyvars: imported once with cells in C, and once with cells in Python."""
    names = [info.name for info in pkgutil.walk_packages(pyvars.__path__, "pyvars.") if info.name[-1] != "_"]
    for name in names:  # all of them, so that a test of the other kind imports none
        importlib.import_module(name)
    native = _ours()
    if request.param == "native":
        if not pyvars.native:
            pytest.skip("the extension is not there: no compiler, or PYVARS_NATIVE=0")
        return native
    if _in_python:  # each process imports each kind once, in any order of tests
        return _in_python
    for name in native:
        del sys.modules[name]
    os.environ["PYVARS_NATIVE"] = "0"
    try:
        for name in names:
            if "._" not in name:
                importlib.import_module(name)
        _in_python.update(_ours())
        # Threads of both kinds may join the group after a test; they must not count as peers of each other.
        files = "pyvars.workers.together.files"
        vars(_in_python[files])["own"] = vars(native[files])["own"]
        return _in_python
    finally:
        del os.environ["PYVARS_NATIVE"]
        sys.modules.update(native)


@pytest.fixture
def both_kinds(
    kind_of_cells: dict[str, ModuleType], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs the test twice, with cells in C and in Python, for the test itself and for the programs that it starts.

    Names that the modules of tests have imported from pyvars are replaced by those of that kind.
    """
    monkeypatch.setenv("PYVARS_NATIVE", str(int(kind_of_cells["pyvars"].native)))
    monkeypatch.setenv("PYVARS_SHARE", "off")  # otherwise the process would be two workers
    for name in _ours():
        monkeypatch.delitem(sys.modules, name)
    for name, module in kind_of_cells.items():
        monkeypatch.setitem(sys.modules, name, module)
    for user in (sys.modules[__name__], request.module):
        for name, value in vars(user).copy().items():
            home = kind_of_cells.get(getattr(value, "__module__", None) or "")
            if isinstance(value, ModuleType) and value.__name__ in kind_of_cells:
                monkeypatch.setattr(user, name, kind_of_cells[value.__name__])
            elif home is not None and hasattr(home, getattr(value, "__name__", "")):
                monkeypatch.setattr(user, name, getattr(home, value.__name__))


@pytest.fixture
def registry() -> pyvars.Registry:
    """An empty registry."""
    return pyvars.Registry()


@pytest.fixture(autouse=True)
def _default_registry_as_it_was(request: pytest.FixtureRequest) -> Iterator[None]:
    """Removes what a test has published on the default registry."""
    if "both_kinds" in request.fixturenames:
        request.getfixturevalue("both_kinds")
    before = dict(pyvars.default_registry.items())
    yield
    for name in [name for name in pyvars.default_registry if name not in before]:
        pyvars.delete(name)
    assert dict(pyvars.default_registry.items()) == before


@pytest.fixture(autouse=True)
def _logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="pyvars")


def logged(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """The log records of pyvars, once its log thread has written all of them."""
    for thread in threading.enumerate():
        if thread.name == "pyvars-log":
            thread.join(60)
    return caplog.records


def log_text(caplog: pytest.LogCaptureFixture) -> str:
    """The log records of pyvars as text."""
    return "".join(record.getMessage() + (record.exc_text or "") for record in logged(caplog))


def local_request(path: str = "/debug/vars", *, query: str = "", method: str = "GET", **changes: Any) -> Request:
    """A request such as curl on this machine sends, with a late deadline, since the machine may be busy."""
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
        "deadline": time.monotonic() + 30,
    }
    return Request(**{**fields, **changes})


def until(read: Callable[[], T], true: Callable[[T], object], seconds: float = 60) -> T:
    """What is read, once it is as it must come to be: a busy machine may be late with it."""
    end = time.monotonic() + seconds
    while not true(found := read()):
        assert time.monotonic() < end, found
        time.sleep(0.005)
    return found


def strict(text: bytes) -> Any:
    """JSON as the strictest readers take it: no NaN, no Infinity, and 1.0 is no integer."""

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no JSON")

    return json.loads(text.decode("utf-8", "strict"), parse_constant=refuse, parse_float=Decimal)


@pytest.fixture
def respond(registry: pyvars.Registry) -> Callable[..., Response]:
    """The response to a request for the fresh registry, through the gate."""
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
