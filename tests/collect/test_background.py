"""Functions with `every`: called in the background, never by a page."""

import asyncio
import itertools
import threading
import time
from threading import Event
from typing import Any

import httpx
import pytest

import pyvars
from pyvars import Func, Int, Map, Registry
from pyvars.access.request import deadline
from pyvars.collect.combined import PeerValues
from tests.conftest import Read, until
from tests.programs import output


def words(shown: Any) -> dict[str, str]:
    return {name: error["type"] for name, error in shown.get("pyvars.errors", {}).items()}


def test_a_page_shows_the_latest_value_and_calls_nothing(registry: Registry, page: Read) -> None:
    numbers, ran = itertools.count(1), set[str]()

    def depth() -> int:
        ran.add(threading.current_thread().name)
        return next(numbers)

    registry.publish("depth", depth, every=3600)
    until(page, lambda shown: shown["depth"] == 1)
    assert [page()["depth"] for _ in range(20)] == [1] * 20
    assert ran == {"pyvars-background"}


def test_it_is_called_again_and_again_with_nobody_looking(registry: Registry, page: Read) -> None:
    called = Int()
    registry.publish("depth", called.add, every=0.1)
    registry.publish("fails", lambda: 1 / 0, every=0.1)
    page()
    until(page, lambda shown: called.value > 5 and words(shown) == {"fails": "ZeroDivisionError"})
    registry.delete("depth")
    registry.delete("fails")
    assert page() == {}
    before = called.value
    registry.publish("other", lambda: 1, every=0.1)
    until(page, lambda shown: shown["other"] == 1)
    assert called.value <= before + 1  # the one that ran


def test_the_thread_ends_with_the_last_of_them() -> None:
    code = """
import threading, pyvars
from pyvars.site.default import debug
pyvars.publish("depth", lambda: 1, every=0.1)
debug(None, None, prefix="/debug")
thread, = [thread for thread in threading.enumerate() if thread.name == "pyvars-background"]
pyvars.delete("depth")
thread.join(30)
print(thread.is_alive())
"""
    assert output(code).split() == ["False"]


def test_a_value_of_over_three_periods_says_its_age(registry: Registry, page: Read) -> None:
    hangs, release = list[int](), Event()
    registry.publish("depth", lambda: 7 if not hangs else release.wait(60), every=0.1)
    until(page, lambda shown: shown["depth"] == 7)
    hangs.append(1)
    try:
        shown = until(page, lambda shown: "pyvars.errors" in shown)
        assert shown["depth"] == 7
        assert words(shown) == {"depth": "stale"}
        assert shown["pyvars.errors"]["depth"]["age_seconds"] > 0.3
    finally:
        release.set()


def test_the_first_page_waits_for_a_first_value_as_for_any(registry: Registry, page: Read) -> None:
    release = Event()
    registry.publish("hangs", lambda: release.wait(60), every=5)
    registry.publish("number", Int(1))
    try:
        for _ in range(3):
            shown = page()
            assert (shown["hangs"], shown["number"]) == (None, 1)
            assert words(shown) == {"hangs": "busy"}
    finally:
        release.set()


def test_a_function_that_hangs_does_not_stop_the_others_for_ever(registry: Registry, page: Read) -> None:
    release, numbers = Event(), itertools.count()
    registry.publish("hangs", lambda: release.wait(60), every=0.1)
    registry.publish("fine", lambda: next(numbers), every=0.1)
    try:
        latest = until(lambda: page(deadline=deadline()), lambda shown: shown["fine"])["fine"]
        until(page, lambda shown: shown["fine"] > latest)
    finally:
        release.set()


def test_a_coroutine_function_runs_on_the_loop_of_the_program() -> None:
    ran: list[Any] = []

    @pyvars.publish("coroutine_depth", every=3600)
    async def coroutine_depth() -> int:
        await asyncio.sleep(1.5)  # longer than the period in which the thread checks
        ran.append(asyncio.get_running_loop())
        return 5

    @pyvars.publish("coroutine_fails", every=3600)
    async def coroutine_fails() -> int:
        raise LookupError

    async def main() -> None:
        with pyvars.serve(0) as server:
            async with httpx.AsyncClient() as client:
                end = time.monotonic() + 30
                while time.monotonic() < end:
                    shown = (await client.get(f"{server.url}/debug/vars?name=coroutine")).json()
                    if shown["coroutine_depth"] == 5 and words(shown) == {"coroutine_fails": "LookupError"}:
                        assert ran == [asyncio.get_running_loop()]
                        return
        raise AssertionError(shown)

    try:
        asyncio.run(main())
    finally:
        pyvars.delete("coroutine_depth")
        pyvars.delete("coroutine_fails")


def test_without_a_loop_a_coroutine_function_has_no_value_and_holds_no_page() -> None:
    code = """
import json, logging, pyvars
from pyvars.site.default import debug
from tests.conftest import local_request
logging.disable()
@pyvars.publish("depth", every=1)
async def depth(): return 1
site = debug(None, None, prefix="/debug")
for _ in range(3):
    print(json.loads(site.respond(local_request()).body)["pyvars.errors"]["depth"]["type"])
"""
    assert output(code).split() == ["busy"] * 3


def test_a_program_without_an_integration_calls_nothing() -> None:
    code = """
import threading, pyvars
pyvars.publish("depth", lambda: 1 / 0, every=0.1)
print(threading.active_count())
"""
    assert output(code).split() == ["1"]


def test_an_integration_calls_them_before_anybody_asks_and_a_fork_has_its_own() -> None:
    code = """
import json, os, threading, time, pyvars
from pyvars.site.default import debug
from tests.conftest import local_request
called = threading.Event()
def depth():
    called.set()
    return os.getpid()
pyvars.publish("depth", depth, every=3600)
site = debug(None, None, prefix="/debug")
print(called.wait(30), flush=True)
def right():
    body = b"null"
    while body.strip() == b"null":
        body = site.respond(local_request("/debug/vars/depth")).body
    return json.loads(body) == os.getpid()
print(right(), flush=True)
if (pid := os.fork()) == 0:
    print(right(), flush=True)
    os._exit(0)
os.waitpid(pid, 0)
print(right())
"""
    assert output(code).split() == ["True"] * 4


def test_the_log_names_the_variable_if_it_is_known_else_the_function() -> None:
    code = """
import logging, threading, pyvars
from pyvars.site.default import debug
class Lines(logging.Handler):
    def emit(self, record):
        print(record.getMessage(), flush=True)
        logged.release()
logged = threading.Semaphore(0)
logging.getLogger("pyvars").addHandler(Lines())
def depth():
    raise KeyError
pyvars.publish("named", depth, every=3600)
debug(None, None, prefix="/debug")
logged.acquire(timeout=30)
states = pyvars.publish("states", pyvars.Map())
states.set("one", pyvars.Func(depth, every=3600))
states.set("other", pyvars.Func(depth, every=3600))
logged.acquire(timeout=30)
logged.acquire(timeout=30)
"""
    assert output(code).splitlines() == [
        "variable 'named' is null on the page: it raised (logged once)",
        *["function 'depth' is null on the page: it raised (logged once)"] * 2,
    ]


def test_mistakes() -> None:
    registry = Registry()

    async def coroutine() -> int:
        return 1

    for every in (0, -1, 0.01, float("nan"), float("inf"), "10", True, 100_000):
        with pytest.raises(ValueError, match="every is the seconds"):
            Func(lambda: 1, every=every)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="every is for functions"):
        registry.publish("number", Int(), every=5)
    with pytest.raises(TypeError, match="every=10"):
        registry.publish("coroutine", coroutine)
    with pytest.raises(TypeError, match="generator"):
        registry.publish("generator", (lambda: (yield)), every=5)
    assert list(registry) == []
    states = registry.publish("states", Map())
    states.set("depth", Func(coroutine, every=5))
    assert isinstance(states.var("depth"), Func)


def test_no_more_than_four_threads_are_left_to_functions_that_hang() -> None:
    code = """
import logging, threading, time, pyvars
import pyvars.collect.background as background
logging.disable()
from pyvars.site.default import debug
from tests.conftest import local_request
background.HANDOVER_SECONDS = 0.01
release = threading.Event()
for number in range(8):
    pyvars.publish(f"hangs{number}", lambda: release.wait(60), every=1)
site = debug(None, None, prefix="/debug")
threads = lambda: sum(thread.name == "pyvars-background" for thread in threading.enumerate())
until = time.monotonic() + 30
while threads() < 4 and time.monotonic() < until:
    site.respond(local_request(deadline=time.monotonic() + 0.1))
for _ in range(5):
    site.respond(local_request(deadline=time.monotonic() + 0.1))
print(threads())
release.set()
"""
    assert output(code).split() == ["4"]


def test_a_program_that_is_out_of_threads_calls_them_later() -> None:
    code = """
import json, logging, threading, pyvars
from pyvars.site.default import debug
from tests.conftest import local_request
logging.disable()
pyvars.publish("depth", lambda: 7, every=3600)
def no_thread(self):
    raise RuntimeError("can't start new thread")
start, threading.Thread.start = threading.Thread.start, no_thread
site = debug(None, None, prefix="/debug")
threading.Thread.start = start
body = b"null"
while body.strip() == b"null":
    body = site.respond(local_request("/debug/vars/depth")).body
print(json.loads(body))
"""
    assert output(code).split() == ["7"]


def test_a_fork_while_one_runs() -> None:
    code = """
import json, logging, os, threading, warnings, pyvars
from pyvars.site.default import debug
from tests.conftest import local_request
logging.disable()
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: fork in a process with threads
entered, release = threading.Event(), threading.Event()
def depth():
    entered.set()
    release.wait(60)
    return os.getpid()
pyvars.publish("depth", depth, every=3600)
site = debug(None, None, prefix="/debug")
entered.wait(60)
def value():
    body = b"null"
    while body.strip() == b"null":
        body = site.respond(local_request("/debug/vars/depth")).body
    return json.loads(body)
if (pid := os.fork()) == 0:
    release.set()
    print(value() == os.getpid(), flush=True)
    os._exit(0)
os.waitpid(pid, 0)
release.set()
print(value() == os.getpid())
"""
    assert output(code).split() == ["True", "True"]


def test_values_of_peers_are_not_kept_for_ever() -> None:
    values = PeerValues()
    for label in ("a", "b"):
        parts = values.parts("default", label, {pid: (pid, 0.0) for pid in range(9_000)})
        assert len(parts.values) == 9_000
    lost = values.parts("default", "a", dict.fromkeys(range(9_000)))
    assert len(lost.missing) == 8_000


def test_they_are_called_though_nobody_reads_a_page_whenever_they_were_published() -> None:
    code = """
import os, threading, pyvars
from pyvars.asgi import DebugApp
class Called:
    def __init__(self): self.again()
    def again(self): self.event = threading.Event()
    def __call__(self): self.event.set()
    def is_called(self): return self.event.wait(30)
early, late, held = Called(), Called(), Called()
DebugApp()
pyvars.publish("early", early, every=0.1)
print(early.is_called(), flush=True)
pyvars.delete("early")
while any(thread.name == "pyvars-background" for thread in threading.enumerate()): pass
pyvars.publish("late", late, every=0.1)
pyvars.publish("map", pyvars.Map()).set("held", pyvars.Func(held, every=0.1))
print(late.is_called(), held.is_called())
"""
    assert output(code).split() == ["True"] * 3


def test_they_are_called_after_a_fork_though_nobody_reads_a_page() -> None:
    code = """
import os, threading, pyvars
from pyvars.asgi import DebugApp
called = {name: threading.Event() for name in ("first", "later")}
pyvars.publish("first", lambda: called["first"].set(), every=0.1)
DebugApp()
print(called["first"].wait(30), flush=True)
for _ in range(2):
    called["first"] = threading.Event()
    if (pid := os.fork()) == 0:
        called["first"] = threading.Event()
        pyvars.publish("later", lambda: called["later"].set(), every=0.1)
        print(called["first"].wait(30), called["later"].wait(30), flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
    called["first"] = threading.Event()
    print(called["first"].wait(30), flush=True)
"""
    assert output(code).split() == ["True"] * 7


def test_a_function_that_hangs_does_not_stop_the_others_though_nobody_reads_a_page() -> None:
    code = """
import threading, pyvars
import pyvars.collect.background as background
from pyvars.asgi import DebugApp
background.HANDOVER_SECONDS = 0.01
hangs, release = threading.Event(), threading.Event()
def hang():
    hangs.set()
    release.wait(60)
called = threading.Event()
pyvars.publish("hangs", hang, every=0.1)
pyvars.publish("fine", lambda: called.set(), every=0.1)
DebugApp()
print(hangs.wait(30), flush=True)
called = threading.Event()
print(called.wait(30))
release.set()
"""
    assert output(code).split() == ["True"] * 2
