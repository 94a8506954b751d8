"""If a built-in cannot be read, only its own value is null: the rest of the page, and all other views, are complete."""

import asyncio
import gc
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pyvars.formats.prometheus  # noqa: F401 - prometheus_client reads gc when it is imported
from pyvars import Int, Registry
from pyvars.runtime import install, reading
from pyvars.site.default import debug
from pyvars.site.http import Response
from tests.conftest import Read, local_request, log_text, strict, until
from tests.programs import output, run

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}


class Hostile(Exception):
    """The exception that replaced functions of the program raise."""


def raising(*args: object, **kwargs: object) -> Any:
    raise Hostile("with a secret")


class Hanging:
    """An object whose conversion to text hangs or raises."""

    def __fspath__(self) -> str:
        raise AssertionError("no code of the program runs")

    __str__ = __repr__ = __len__ = __iter__ = __fspath__  # type: ignore[assignment]


class HangingText(str):
    __slots__ = ()
    __eq__ = __ne__ = __len__ = __getitem__ = __str__ = Hanging.__fspath__  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


class HangingList(list[object]):
    __iter__ = __getitem__ = __bool__ = __len__ = Hanging.__fspath__  # type: ignore[assignment]


@pytest.fixture(autouse=True)
def _anew(registry: Registry) -> Iterator[None]:
    """All built-ins and a variable of the program. Figures are read anew before the test and after it."""
    install(registry)
    registry.publish("orders", Int(62))
    reading.expire()
    yield
    reading.expire()


# By built-in: replacements that a program, or a test of it, may make for the sources of its figures.
BROKEN: dict[str, tuple[str, object, str, object]] = {
    "argv holds None": ("cmdline", sys, "argv", [None]),
    "argv holds bytes": ("cmdline", sys, "argv", [b"/srv/app.py"]),
    "argv holds an object": ("cmdline", sys, "argv", [Hanging()]),
    "argv is None": ("cmdline", sys, "argv", None),
    "argv is an object": ("cmdline", sys, "argv", Hanging()),
    "argv is a list that hangs": ("cmdline", sys, "argv", HangingList()),
    "gc.get_stats": ("gc", gc, "get_stats", raising),
    "gc.get_stats, another number": ("gc", gc, "get_stats", list),
    "gc.get_stats, no numbers": ("gc", gc, "get_stats", lambda: [{"collections": "many"}] * 3),
    "gc.get_threshold": ("gc", gc, "get_threshold", raising),
    "gc.get_debug": ("memstats", gc, "get_debug", raising),
    "sys.getallocatedblocks": ("memstats", sys, "getallocatedblocks", raising),
    "sys.getallocatedblocks, no number": ("memstats", sys, "getallocatedblocks", lambda: "many"),
    "resource.getrusage": ("process", resource, "getrusage", raising),
    "resource.getrlimit": ("process", resource, "getrlimit", raising),
    "threading.enumerate": ("threads", threading, "enumerate", raising),
    "threading.enumerate, no threads": ("threads", threading, "enumerate", lambda: [object()]),
    "threading.enumerate, None": ("threads", threading, "enumerate", lambda: None),
}


@pytest.fixture(params=BROKEN)
def broken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name, module, attribute, value = BROKEN[request.param]
    gc.collect()  # otherwise the figures of gc would not change
    monkeypatch.setattr(module, attribute, value)
    return name


def assert_ours(response: Response) -> None:
    assert dict(response.headers).items() >= HEADERS.items()


def test_it_is_null_alone_and_named(
    broken: str,
    registry: Registry,
    respond: Callable[..., Response],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    reading.expire()
    answers = {path: respond(path) for path in ("/debug/vars", "/debug/vars/")}
    part = respond(query=f"name={broken}")
    one = respond(f"/debug/vars/{broken}")
    errors = respond("/debug/vars/pyvars.errors")
    monkeypatch.undo()
    for response in (*answers.values(), part, one, errors):
        assert response.status == 200
        assert_ours(response)
    for response in answers.values():
        shown = strict(response.body)
        assert {name for name, value in shown.items() if value is None} == {broken}
        assert shown["orders"] == 62
        assert shown.keys() == {*registry, "pyvars.errors"}
        assert shown["pyvars.errors"].keys() == {broken}
        assert "secret" not in response.body.decode()
    assert strict(part.body).keys() == {broken, "pyvars.errors"}
    assert one.body == b"null\n"
    assert strict(errors.body).keys() == {broken}
    assert log_text(caplog).count(f"variable {broken!r} is null") <= 1  # logged once in each process
    reading.expire()
    whole = strict(respond("/debug/vars").body)
    assert "pyvars.errors" not in whole
    assert None not in whole.values()


def test_every_view_answers(broken: str, respond: Callable[..., Response]) -> None:
    statuses = {}
    reading.expire()
    for path in ("", "/workers", "/vars/orders", "/api/stats", "/metrics"):
        response = respond(f"/debug{path}")
        assert_ours(response)
        statuses[path] = response.status
    assert statuses == {
        "": 200,
        "/workers": 200,
        "/vars/orders": 200,
        "/api/stats": 503 if broken in ("memstats", "threads") else 200,
        "/metrics": 200,
    }
    lines = respond("/debug/metrics").body.decode().splitlines()
    assert "orders_total 62" in lines
    left_out = [line for line in lines if line.startswith("pyvars_left_out{") and f'variable="{broken}"' in line]
    assert len(left_out) == 1
    assert not any("None" in line for line in lines)


def test_a_flood_of_pages_does_not_read_it_again_and_again(page: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception is reused as a figure is: the built-in is read at most ten times a second."""
    calls: list[None] = []

    def costly() -> Any:
        calls.append(None)
        raise Hostile

    page()
    monkeypatch.setattr(threading, "enumerate", costly)
    reading.expire()
    began = time.monotonic()
    for _ in range(50):
        assert page()["threads"] is None
    assert len(calls) <= 1 + (time.monotonic() - began) / 0.1


def test_an_exception_that_is_kept_does_not_grow(page: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    error = Hostile()

    def raise_it() -> Any:
        raise error

    def length() -> int:
        found, traceback = 0, error.__traceback__
        while traceback is not None:
            found, traceback = found + 1, traceback.tb_next
        return found

    page()
    monkeypatch.setattr(threading, "enumerate", raise_it)
    reading.expire()
    page()
    before = length()
    for _ in range(20):
        page()
    assert length() <= before + 3


@pytest.mark.parametrize("instead", [raising, lambda: "noon", lambda: None])
def test_a_clock_of_the_program_that_tells_no_time(page: Read, monkeypatch: pytest.MonkeyPatch, instead: Any) -> None:
    before = page()["process"]["start_time_seconds"]
    monkeypatch.setattr(time, "time", instead)
    reading.expire()
    shown = page()
    assert "pyvars.errors" not in shown
    assert abs(shown["process"]["start_time_seconds"] - before) <= 1


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        ([Path("/srv/app.py"), None], ["app.py"]),
        (("/srv/app.py",), ["app.py"]),
        ([HangingText("/srv/app.py")], ["app.py"]),
        (["/srv/\ud800.py"], ["\ufffd.py"]),
    ],
)
def test_what_is_a_text_or_a_path_is_shown(
    page: Read, monkeypatch: pytest.MonkeyPatch, argv: Any, shown: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    assert page()["cmdline"] == shown


def test_without_argv_the_name_is_empty(page: Read, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sys, "argv")
    assert page()["cmdline"] == [""]
    install(registry, cmdline="redacted", only=["cmdline"])
    assert page()["cmdline"] == [""]


def test_the_whole_command_line_is_contained_too(
    page: Read, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(registry, cmdline="redacted", only=["cmdline"])
    monkeypatch.setattr(sys, "argv", ["app.py", Path("/etc/app.conf"), "--token", "abc"])
    assert page()["cmdline"] == ["app.py", "/etc/app.conf", "--token", "***"]
    monkeypatch.setattr(sys, "argv", ["app.py", None])
    shown = page()
    assert (shown["cmdline"], shown["pyvars.errors"]["cmdline"]["type"]) == (None, "TypeError")
    monkeypatch.setattr(sys, "argv", ["x" * 200] * 10_000)
    shown = page()
    assert (shown["cmdline"], shown["pyvars.errors"]["cmdline"]["type"]) == (None, "too_large")
    assert shown["orders"] == 62


@pytest.mark.parametrize("character", ["x", "\u20ac", "\ud800", "\0"], ids=ascii)
def test_a_long_text_is_cut(
    page: Read, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, character: str
) -> None:
    monkeypatch.setattr(sys, "argv", [f"/srv/{character * 1_900_000}"])
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="  " + character * 1_100_000, daemon=True)
    thread.start()
    try:
        reading.expire()
        shown = page()
        of_one = page("/debug/vars/cmdline")
        metrics = page(query="name=threads")
    finally:
        stop.set()
        thread.join()
    valid = "\ufffd" if character == "\ud800" else character
    assert shown["cmdline"] == of_one == [valid * 1024]
    assert "  " + valid * 1022 in shown["threads"]["names"]
    assert shown["threads"]["count"] >= 2
    assert {name: entry["type"] for name, entry in shown["pyvars.errors"].items()} == {
        "cmdline": "truncated",
        "threads": "truncated",
    }
    assert metrics["pyvars.errors"].keys() == {"threads"}
    assert shown["orders"] == 62
    assert "x" * 2000 not in log_text(caplog)
    monkeypatch.undo()
    reading.expire()
    assert "pyvars.errors" not in page()


class Unnamed(threading.Thread):
    """A thread whose property `name` raises; threading itself does not use the property."""

    name = property(raising, raising)  # type: ignore[assignment]


def test_a_thread_whose_name_raises(page: Read) -> None:
    stop = threading.Event()
    thread = Unnamed(target=stop.wait, args=(60,))
    thread.start()
    try:

        def anew() -> Any:
            reading.expire()
            return page()

        # Threads of other tests may end meanwhile; what is not named is counted all the same.
        shown = until(anew, lambda shown: shown["threads"]["count"] == len(threading.enumerate()))
        assert "pyvars.errors" not in shown
        assert thread in threading.enumerate()
        thread._name = None  # type: ignore[attr-defined]
        reading.expire()
        shown = page()
        assert (shown["threads"], shown["pyvars.errors"]["threads"]["type"]) == (None, "TypeError")
        assert shown["orders"] == 62
    finally:
        thread._name = "any"  # type: ignore[attr-defined]
        stop.set()
        thread.join()


def test_a_thread_name_of_lone_surrogates(page: Read) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="\udcff-worker", daemon=True)
    thread.start()
    try:
        reading.expire()
        assert "\ufffd-worker" in page()["threads"]["names"]
    finally:
        stop.set()
        thread.join()


def test_tasks_that_raise(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the first page may show the count of the last second."""

    async def read() -> Any:
        from pyvars.runtime.event_loop import register_loop

        register_loop()
        monkeypatch.setattr(asyncio, "all_tasks", raising)
        for _ in range(600):
            reading.expire()
            shown = strict(debug(registry, None, prefix="/debug").respond(local_request()).body)
            if shown["asyncio"] is None:
                return shown
            await asyncio.sleep(0.05)
        return shown

    shown = asyncio.run(read())
    assert (shown["asyncio"], shown["pyvars.errors"]["asyncio"]["type"]) == (None, "Hostile")
    assert shown["orders"] == 62


def test_a_loop_that_does_not_say_whether_it_is_closed(page: Read) -> None:
    """It counts as closed, and requests to the program on another loop do not fail."""

    class Loop(asyncio.SelectorEventLoop):
        broken = False

        def is_closed(self) -> bool:
            return raising() if self.broken else super().is_closed()

    async def known() -> None:
        from pyvars.runtime.event_loop import register_loop

        register_loop()

    loop = Loop()
    loop.run_until_complete(known())
    loop.broken = True
    try:
        asyncio.run(known())
        shown = page()
        assert "pyvars.errors" not in shown
        assert shown["orders"] == 62
    finally:
        loop.broken = False
        loop.close()


def test_collections_are_timed_whatever_the_program_puts_in_place_of_gc(
    page: Read, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    before = page()["memstats"]["NumGC"]
    for name in ("get_threshold", "get_count", "isenabled"):
        monkeypatch.setattr(gc, name, raising)
    gc.collect()
    monkeypatch.undo()
    reading.expire()
    assert page()["memstats"]["NumGC"] > before
    assert "Hostile" not in capfd.readouterr().err


def test_the_name_of_an_exception_is_bounded(page: Read, registry: Registry) -> None:
    error = type("E" * 2_000_000, (Exception,), {})

    @registry.publish("broken")
    def broken() -> None:
        raise error

    shown = page()
    assert shown["pyvars.errors"]["broken"]["type"] == "E" * 255
    assert shown["orders"] == 62


def test_an_object_whose_other_attributes_raise(page: Read, registry: Registry) -> None:
    class Careless:
        def snapshot(self) -> int:
            return 5

        def __getattr__(self, name: str) -> Any:
            raise KeyError(name)

    registry.publish("careless", Careless())
    shown = page()
    assert (shown["careless"], shown["orders"]) == (5, 62)
    assert "pyvars.errors" not in shown


@pytest.mark.parametrize("error", ['RuntimeError("can\'t start new thread")', "MemoryError()"])
def test_no_memory_for_a_thread(error: str) -> None:
    """Functions are skipped, and log records are late; the rest of the page is complete."""
    code = f"""
import json, threading, pyvars
from pyvars.site.default import debug
from tests.conftest import local_request
pyvars.publish("function", lambda: 1)
pyvars.publish("orders", pyvars.Int(62))
site = debug(None, None, prefix="/debug")
def page():
    return json.loads(site.respond(local_request()).body)
def refuse(thread):
    raise {error}
start, threading.Thread.start = threading.Thread.start, refuse
shown = page()
threading.Thread.start = start
print(shown["function"], shown["pyvars.errors"]["function"]["type"], shown["orders"], shown["threads"]["count"] > 0)
import logging; logging.disable()
print(page()["function"])
"""
    assert output(code) == "None skipped 62 True\n1\n"


def test_a_clock_that_stands_still_bounds_functions_all_the_same() -> None:
    """freezegun replaces the clocks in all modules."""
    code = """
import json, sys, threading, time, pyvars
from pyvars.access.request import Request
from pyvars.site.default import debug
site = debug(None, None, prefix="/debug")
pyvars.publish("orders", pyvars.Int(62))
pyvars.publish("hangs", threading.Event().wait)
pyvars.publish("quick", lambda: 1)
clocks = {getattr(time, name): name for name in ("time", "monotonic", "perf_counter", "time_ns", "perf_counter_ns")}
values = {name: getattr(time, name)() for name in clocks.values()}
real = time.monotonic
for module in list(sys.modules.values()):
    if getattr(module, "__name__", "").partition(".")[0] in ("pyvars", "time"):
        for name, value in list(vars(module).items()):
            if isinstance(value, type(len)) and value in clocks:
                setattr(module, name, lambda value=values[clocks[value]]: value)
until = real() + 50
while real() < until:
    about = (("host", "localhost"),), "127.0.0.1", "1.1", real() + 0.2
    shown = json.loads(site.respond(Request("GET", "/debug/vars", "", None, "", *about)).body)
    if {name: error["type"] for name, error in shown["pyvars.errors"].items()} == {"hangs": "timeout"}: break
print(shown["orders"], shown["hangs"], shown["pyvars.errors"]["hangs"]["type"], shown["quick"], shown["gc"]["enabled"])
"""
    assert run(code, PYVARS_SHARE="off").stdout == "62 None timeout 1 True\n"


OF_STATUS = ("HeapIdle", "HeapInuse", "HeapSys", "OtherSys", "StackInuse", "StackSys", "Sys")


def test_proc_that_has_gone(page: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refuse(path: Any, *args: Any, **kwargs: Any) -> int:
        if path == "/proc/self/status":
            raise FileNotFoundError(path)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    reading.expire()
    shown = page()
    errors = {name: entry["type"] for name, entry in shown["pyvars.errors"].items()}
    absent = ("process.rss_bytes", "threads.native", *(f"memstats.{name}" for name in OF_STATUS))
    assert errors == dict.fromkeys(absent, "FileNotFoundError")
    assert "rss_bytes" not in shown["process"]
    assert "native" not in shown["threads"]
    assert {shown["memstats"][name] for name in OF_STATUS} == {0}
    assert (shown["orders"], shown["memstats"]["Alloc"] > 0) == (62, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot is for root")
@pytest.mark.parametrize("before", [False, True], ids=["after", "before"])
def test_a_program_without_proc(tmp_path: Path, before: bool) -> None:
    """It changed its root directory before or after the integration was made; then no module can be imported either."""
    code = f"""
import json, os, psutil, sys, pyvars
from tests.conftest import local_request
import pyvars.site.default, pyvars.site.views, pyvars.site.stats, pyvars.runtime.memstats, pyvars.runtime.process
import pyvars.site.metrics, pyvars.formats.prometheus, pyvars.runtime.cmdline, pyvars.runtime.python
import pyvars.runtime.threads, pyvars.runtime.event_loop, pyvars.site.history, pyvars.dashboard.views
if {before}:
    os.chroot(sys.argv[1])
site = pyvars.site.default.debug(None, None, prefix="/debug")
pyvars.publish("orders", pyvars.Int()).add(62)
if not {before}:
    os.chroot(sys.argv[1])
pyvars.runtime.reading.expire()
shown = json.loads(site.respond(local_request()).body)
print(shown["orders"], [name for name, value in shown.items() if value is None], shown["cmdline"])
print([site.respond(local_request(f"/debug/{{path}}")).status for path in ("workers", "api/stats", "metrics")])
sys.stdout.flush()
os._exit(0)  # at an exit where no library can be loaded, glibc aborts if a daemon thread runs
"""
    assert run(code, str(tmp_path), PYVARS_SHARE="off").stdout.splitlines() == ["62 [] ['-c']", "[200, 200, 200]"]


def test_modules_that_were_taken_away_and_platforms_that_do_not_tell() -> None:
    code = """
import json, platform, sys, pyvars
from pyvars.asgi import DebugApp
from tests.conftest import local_request
from pyvars.site.default import debug
def raising(*args, **kwargs): raise ValueError
platform.python_version = platform.python_implementation = platform.machine = raising
site = debug(None, None, prefix="/debug")
pyvars.publish("orders", pyvars.Int(62))
for name in ("platform", "gc", "threading", "asyncio", "psutil", "resource", "ctypes", "tracemalloc", "orjson"):
    sys.modules.pop(name, None)
    sys.modules[name] = None
shown = json.loads(site.respond(local_request()).body)
nulls = [name for name, value in shown.items() if value is None]
print(shown["orders"], nulls, shown["pyvars.errors"]["python"]["type"])
print([site.respond(local_request(f"/debug/{path}")).status for path in ("workers", "api/stats", "metrics")])
"""
    assert run(code).stdout == "62 ['python'] ValueError\n[200, 200, 503]\n"


def test_a_process_id_that_the_program_made_up_is_no_fork() -> None:
    """As in a forked child, the counts would begin at zero."""
    code = """
import json, os, pyvars
from tests.conftest import local_request
from pyvars.site.default import debug
site = debug(None, None, prefix="/debug")
orders = pyvars.publish("orders", pyvars.Int())
orders.add(62)
real, os.getpid = os.getpid, lambda: 1
print(json.loads(site.respond(local_request()).body)["orders"], orders.value)
os.getpid = real
"""
    assert output(code) == "62 62\n"


def test_a_variable_of_the_program_under_the_name_of_a_builtin() -> None:
    """In the default registry, which the program may replace as a whole."""
    code = """
import json, pyvars
from tests.conftest import local_request
from pyvars.site.default import debug
registry = pyvars.default_registry = pyvars.Registry()
pyvars.runtime.install(registry)
values = {
    "cmdline": lambda: 1 / 0, "memstats": lambda: [], "gc": pyvars.Int(3), "process": pyvars.String("me"),
    "threads": pyvars.Map(), "python": lambda: {"version": {1}}, "asyncio": lambda: "x" * 2_000_000,
}
for name, value in values.items():
    registry.delete(name)
    registry.publish(name, value)
site = debug(None, None, prefix="/debug")
shown = json.loads(site.respond(local_request()).body)
print(shown["gc"], shown["process"], {name: entry["type"] for name, entry in shown["pyvars.errors"].items()})
paths = ("workers", "api/stats", "metrics", "vars/cmdline")
print([site.respond(local_request(f"/debug/{path}")).status for path in paths])
"""
    assert run(code).stdout.splitlines() == [
        "3 me {'asyncio': 'too_large', 'cmdline': 'ZeroDivisionError', 'python': 'TypeError'}",
        "[200, 404, 200, 200]",
    ]
