"""Functions of the program: one deadline for all, never two calls of one at once, and no harm to the page."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from threading import Event, Lock, Thread
from typing import Any

import pytest

from pyvars import Int, Map, Registry, String
from pyvars.access.request import deadline
from pyvars.site.http import Response
from tests.conftest import Read, logged, strict
from tests.programs import UNMEASURED, output

DEADLINE = 0.2
SLACK = 1.0  # what a loaded machine may add; the claim is that a page is not held for the ten seconds of a function


@pytest.fixture
def page(page: Read) -> Read:
    """A page under the deadline that it has in production."""
    return lambda *args, **kwargs: page(*args, **{"deadline": deadline(), **kwargs})


@pytest.fixture
def release() -> Iterator[Event]:
    """What a stuck function waits for; set at the end, and the threads that waited are gone."""
    event = Event()
    yield event
    event.set()
    for thread in threading.enumerate():
        if thread.name == "pyvars-functions":
            thread.join(5)


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    started = time.monotonic()
    return call(), time.monotonic() - started


def stuck_threads() -> int:
    return sum(thread.name == "pyvars-functions" for thread in threading.enumerate())


def test_functions_run_in_a_thread_of_ours_and_leave_none(registry: Registry, page: Read) -> None:
    names: list[str] = []
    for name in ("a", "b", "c"):
        registry.publish(name, lambda: names.append(threading.current_thread().name))
    page()
    assert set(names) == {"pyvars-functions"}
    assert len(names) == 3
    for thread in threading.enumerate():
        if thread.name == "pyvars-functions":
            thread.join(5)
    assert stuck_threads() == 0


def test_a_page_without_functions_runs_in_the_thread_that_asks(registry: Registry, page: Read) -> None:
    registry.publish("a", Int())
    registry.publish("m", Map()).set("s", String("x"))
    before = threading.active_count()
    page()
    assert threading.active_count() == before


def test_a_function_that_hangs_is_left_and_not_started_again(registry: Registry, page: Read, release: Event) -> None:
    calls: list[int] = []

    def hang() -> int:
        calls.append(1)
        release.wait(10)
        return len(calls)

    registry.publish("hang", hang)
    registry.publish("later", lambda: "fine")
    registry.publish("number", Int(1))
    shown, seconds = timed(page)
    assert shown["pyvars.errors"]["hang"]["type"] == "timeout"
    assert (shown["hang"], shown["later"], shown["number"]) == (None, "fine", 1)
    assert seconds < DEADLINE + SLACK
    for _ in range(3):
        assert page()["pyvars.errors"]["hang"]["type"] == "timeout"
    assert len(calls) == 1
    release.set()
    wait_until(lambda: stuck_threads() == 0)
    assert page()["hang"] == 2
    assert "pyvars.errors" not in page()


def test_while_true_is_contained(registry: Registry, page: Read) -> None:
    stop: list[int] = []

    def spin() -> None:
        while not stop:
            pass

    registry.publish("spin", spin)
    registry.publish("number", Int(1))
    try:
        shown, seconds = timed(page)
        assert shown["number"] == 1
        assert shown["pyvars.errors"]["spin"]["type"] == "timeout"
        assert seconds < DEADLINE + SLACK
    finally:
        stop.append(1)
        wait_until(lambda: stuck_threads() == 0)


def test_at_most_four_threads_are_stuck_and_the_rest_is_skipped(registry: Registry, page: Read, release: Event) -> None:
    for number in range(6):
        registry.publish(f"f{number}", lambda: release.wait(10))
    registry.publish("g", lambda: "fine")
    shown = page()
    words = {name: error["type"] for name, error in shown["pyvars.errors"].items()}
    assert sorted(words.values()) == ["skipped"] * 3 + ["timeout"] * 4
    assert words["g"] == "skipped"
    assert stuck_threads() == 4
    shown, seconds = timed(page)
    assert stuck_threads() == 4
    assert seconds < SLACK
    assert {name: error["type"] for name, error in shown["pyvars.errors"].items()} == words
    release.set()
    wait_until(lambda: stuck_threads() == 0)
    assert "pyvars.errors" not in page()


def test_slow_functions_together_keep_to_the_one_deadline(registry: Registry, page: Read) -> None:
    for number in range(20):
        registry.publish(f"f{number:02}", lambda: time.sleep(0.03))
    shown, seconds = timed(page)
    assert seconds < DEADLINE + SLACK
    assert "skipped" in {error["type"] for error in shown["pyvars.errors"].values()}
    assert "f00" not in shown["pyvars.errors"]


def test_a_request_whose_time_is_up_starts_nothing(registry: Registry, page: Read) -> None:
    calls: list[int] = []
    registry.publish("f", lambda: calls.append(1))
    registry.publish("number", Int(1))
    shown = page(deadline=time.monotonic() - 1)
    assert shown["number"] == 1
    assert shown["pyvars.errors"]["f"]["type"] == "skipped"
    assert calls == []


def test_however_many_fail_there_is_a_page(registry: Registry, page: Read) -> None:
    """What is wrong may take more than the mebibyte that one value may take."""
    for number in range(5_000):
        registry.publish(f"function_{number:0200}", lambda: 1)
    registry.publish("number", Int(1))
    shown = page(deadline=time.monotonic() - 1)
    assert shown["number"] == 1
    assert len(shown["pyvars.errors"]) == 5_000
    late = page("/debug/vars/pyvars.errors", deadline=time.monotonic() + 60)
    assert len(late) < 5  # on a busy machine one may have to wait for its CPU longer than a function may take


def test_two_pages_at_once_never_run_one_function_twice_at_once(registry: Registry, page: Read) -> None:
    running = Lock()
    overlaps: list[int] = []

    def function() -> str:
        if not running.acquire(blocking=False):
            overlaps.append(1)
        time.sleep(0.001)
        running.release()
        return "fine"

    registry.publish("f", function)
    pages: list[Any] = []
    # With time enough: on a busy machine six threads may wait for a place to render longer than a request does.
    work = lambda: pages.extend(page(deadline=time.monotonic() + 30) for _ in range(5))  # noqa: E731
    threads = [Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pages) == 30
    assert overlaps == []
    assert any(shown["f"] == "fine" for shown in pages)


def test_a_page_waits_for_its_turn_no_longer_than_its_deadline(registry: Registry, page: Read, release: Event) -> None:
    entered = Event()

    def slow() -> str:
        entered.set()
        release.wait(10)
        return "fine"

    registry.publish("slow", slow)
    registry.publish("number", Int(1))
    first = Thread(target=lambda: page(deadline=deadline() + 10))
    first.start()
    entered.wait(10)
    shown = page(deadline=time.monotonic() + 0.001)
    assert shown["number"] == 1
    assert shown["pyvars.errors"]["slow"]["type"] in ("skipped", "timeout")
    first.join()


def test_an_object_with_a_snapshot_runs_as_a_function_does(registry: Registry, page: Read) -> None:
    class Pool:
        def snapshot(self) -> str:
            return threading.current_thread().name

    nested = Registry()
    nested.publish("pool", Pool())
    registry.publish("nested", nested)
    registry.publish("pool", Pool())
    assert page() == {"nested": {"pool": "pyvars-functions"}, "pool": "pyvars-functions"}


def test_a_function_that_waits_for_a_lock_its_program_holds(registry: Registry, page: Read) -> None:
    lock = Lock()

    def locked() -> str:
        with lock:
            return "fine"

    registry.publish("locked", locked)
    with lock:
        assert page()["locked"] is None
    wait_until(lambda: stuck_threads() == 0)
    assert page()["locked"] == "fine"


def test_a_function_may_publish_delete_and_count(registry: Registry, page: Read) -> None:
    calls = registry.publish("calls", Int())

    @registry.publish("busy")
    def busy() -> int:
        calls.add()
        registry.delete("victim")
        registry.publish(f"made_{calls.value}", Int())
        return 1

    registry.publish("victim", Int())
    assert page()["busy"] == 1
    shown = page()
    assert "victim" not in shown
    assert "made_1" in shown
    assert shown["calls"] >= 1


def test_a_function_may_ask_for_the_page_itself(registry: Registry, respond: Callable[..., Response]) -> None:
    inner: list[Any] = []

    @registry.publish("mirror")
    def mirror() -> int:
        inner.append(strict(respond().body))
        return 1

    registry.publish("number", Int(3))
    shown, seconds = timed(lambda: strict(respond().body))
    assert shown["number"] == 3
    assert seconds < DEADLINE + SLACK
    wait_until(lambda: stuck_threads() == 0)
    assert inner[0]["number"] == 3
    assert inner[0]["mirror"] is None


def test_a_function_may_fork() -> None:
    code = """
import os, warnings, pyvars
from pyvars.site.default import debug
from tests.conftest import local_request
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: fork in a process with threads
def forks():
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
pyvars.publish("forks", forks)
site = debug(None, None, prefix="/debug")
with pyvars.serve(0):
    print(site.respond(local_request("/debug/vars/forks")).body)  # a fork beside busy programs may take its time
"""
    # Unmeasured: the child would save its coverage before it ends, for which a page does not wait.
    assert output(code, **UNMEASURED) == "b'7\\n'\n"


def test_a_dict_that_eight_threads_change_while_it_is_shown(registry: Registry, page: Read) -> None:
    shared: dict[str, int] = {}
    done = Event()

    def change(offset: int) -> None:
        number = 0
        while not done.is_set():
            shared[f"{offset}-{number % 50}"] = number
            shared.pop(f"{offset}-{(number * 7) % 50}", None)
            number += 1

    registry.publish("shared", lambda: shared)
    threads = [Thread(target=change, args=(offset,)) for offset in range(8)]
    for thread in threads:
        thread.start()
    try:
        pages = [page() for _ in range(20)]
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert {error["type"] for shown in pages for error in shown.get("pyvars.errors", {}).values()} <= {
        "timeout",
        "skipped",
    }
    assert any(shown["shared"] is not None for shown in pages)


def test_one_function_under_several_names_never_runs_twice_at_once(
    registry: Registry, page: Read, release: Event
) -> None:
    running = Lock()
    overlaps: list[int] = []

    def hang() -> None:
        if not running.acquire(blocking=False):
            overlaps.append(1)
        release.wait(10)

    same = registry.publish("a", hang)
    registry.publish("b", same)
    registry.publish("c", hang)
    for _ in range(2):
        assert {error["type"] for error in page()["pyvars.errors"].values()} == {"timeout"}
    assert overlaps == []


def test_a_log_handler_that_hangs_or_raises_costs_no_page(registry: Registry, page: Read, release: Event) -> None:
    class Bad(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            release.wait(10)
            raise OSError

    handler = Bad()
    logging.getLogger("pyvars").addHandler(handler)
    try:
        for name in ("one", "two"):
            registry.publish(f"handled_{name}", lambda: 1 / 0)
            shown, seconds = timed(page)
            assert shown["pyvars.errors"][f"handled_{name}"]["type"] == "ZeroDivisionError"
            assert seconds < 5
    finally:
        release.set()
        logging.getLogger("pyvars").removeHandler(handler)
        for thread in threading.enumerate():
            if thread.name == "pyvars-log":
                thread.join(10)


def test_an_async_snapshot_is_refused_and_a_hidden_one_closed(registry: Registry, page: Read) -> None:
    class Later:
        async def snapshot(self) -> int:
            return 1

    class Hidden:
        def snapshot(self) -> object:
            return Later().snapshot()

    with pytest.raises(TypeError, match="coroutine"):
        registry.publish("later", Later())
    registry.publish("hidden", Hidden())
    assert page()["pyvars.errors"]["hidden"]["type"] == "TypeError"


def test_a_program_that_is_out_of_threads_still_has_a_page(
    registry: Registry, page: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(self: Thread) -> None:
        raise RuntimeError("can't start new thread")

    registry.publish("threadless", lambda: 1)  # a name that has not been logged
    registry.publish("number", Int(1))
    monkeypatch.setattr(Thread, "start", no_thread)
    shown = page()
    assert (shown["threadless"], shown["number"]) == (None, 1)
    assert shown["pyvars.errors"]["threadless"]["type"] == "skipped"


def test_a_thousand_broken_keys_are_one_line_of_the_log(
    registry: Registry, page: Read, caplog: pytest.LogCaptureFixture
) -> None:
    states = registry.publish("broken_states", Map())
    for number in range(1200):
        states.set(f"k{number}", lambda: 1 / 0)
    for _ in range(3):
        assert len(page(deadline=deadline() + 10)["pyvars.errors"]) == 1200
    assert len([record for record in logged(caplog) if "broken_states" in record.getMessage()]) == 1


def test_new_names_are_logged_for_ever(registry: Registry, page: Read, caplog: pytest.LogCaptureFixture) -> None:
    """However many names came before, and none of them is kept for ever."""
    for number in range(1100):
        registry.publish(f"n{number}", lambda: 1 / 0)
    page(deadline=deadline() + 10)
    assert len(logged(caplog)) >= 1100
    registry.publish("last", lambda: 1 / 0)
    page(deadline=deadline() + 10, query="name=last")
    assert "last" in logged(caplog)[-1].getMessage()


def wait_until(true: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for what must come to be true, and fail if it does not."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not come to be true"
        time.sleep(0.005)
