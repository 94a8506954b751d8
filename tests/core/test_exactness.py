"""No count is lost and nothing deadlocks: threads, signal handlers, gc callbacks, finalizers, forks, changing pages."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from pyvars import Float, Int, Map, Registry, String
from tests.conftest import Read
from tests.programs import output

pytestmark = pytest.mark.usefixtures("both_kinds")

THREADS = 4
TIMES = 2000


def published(names: list[str]) -> Registry:
    registry = Registry()
    for name in names:
        registry.publish(name, Int())
    return registry


def growing(numbers: Map) -> Callable[[int], None]:
    return lambda n: numbers.add(f"k{n}")


# An operation, which four threads start at the same time, and a condition that must hold afterwards.
OPERATIONS: dict[str, Callable[[], tuple[Callable[[int], object], Callable[[], object], object]]] = {
    "Int.add": lambda: (lambda v: (lambda n: v.add(), lambda: v.value, THREADS * TIMES))(Int()),
    "Int.add(delta)": lambda: (lambda v: (lambda n: v.add(n), lambda: v.value, THREADS * TIMES * (TIMES - 1) // 2))(
        Int()
    ),
    "Int.add(-1)": lambda: (lambda v: (lambda n: v.add(-1), lambda: v.value, -THREADS * TIMES))(Int()),
    "Float.add": lambda: (lambda v: (lambda n: v.add(0.5), lambda: v.value, THREADS * TIMES / 2))(Float()),
    "String.set": lambda: (lambda v: (lambda n: v.set("x"), lambda: v.value, "x"))(String()),
    "Map.add": lambda: (lambda v: (lambda n: v.add("a"), lambda: v["a"], THREADS * TIMES))(Map()),
    "Map.add floats": lambda: (lambda v: (lambda n: v.add("a", 0.5), lambda: v["a"], THREADS * TIMES / 2))(Map()),
    "Map.add promotes": lambda: (
        lambda v: (lambda n: v.add("a", 0.5 if n > TIMES // 2 else 1), lambda: v["a"], THREADS * 1500.5)
    )(Map()),
    "Map.add new keys": lambda: (
        lambda v: (lambda n: v.add(f"k{n}"), lambda: sum(v.values()), THREADS * TIMES)  # type: ignore[arg-type]
    )(Map(max_keys=5000)),
    "Map.add over the bound": lambda: (
        lambda v: (lambda n: v.add(f"k{n}"), lambda: (len(v), sum(v.values())), (101, THREADS * TIMES))  # type: ignore[arg-type]
    )(Map(max_keys=100)),
    "Map.var.add": lambda: (lambda v: (lambda n: (v.add("a"), v.var("a").add()), lambda: v["a"], 2 * THREADS * TIMES))(  # type: ignore[attr-defined]
        Map()
    ),
    "Registry.publish exist_ok": lambda: (
        lambda v: (
            lambda n: v.publish(f"n{n % 50}", Int(), exist_ok=True).add(),
            lambda: sum(var.value for var in v.values()),  # type: ignore[attr-defined]
            THREADS * TIMES,
        )
    )(Registry()),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_threads_lose_nothing(name: str) -> None:
    operation, result, expected = OPERATIONS[name]()
    barrier, failures = threading.Barrier(THREADS), []

    def work() -> None:
        barrier.wait()
        try:
            for number in range(TIMES):
                operation(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert result() == expected


def test_pages_while_eight_threads_publish_and_delete(registry: Registry, page: Read) -> None:
    """Every page is valid, and every number on it was a value of its variable."""
    done = threading.Event()
    steady = registry.publish("steady", Int(7))
    states = registry.publish("states", Map())

    def churn(thread: int) -> None:
        number = 0
        while not done.is_set():
            name = f"t{thread}_{number % 20}"
            registry.publish(name, Int(1000 + thread), exist_ok=True)
            states.add(name, 1)
            if number % 3 == 0:
                states.delete(name)
            registry.delete(f"t{thread}_{(number * 7) % 20}")
            number += 1

    threads = [threading.Thread(target=churn, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    try:
        pages: list[dict[str, Any]] = [page() for _ in range(100)]
        sizes = {len(registry.items()), len(list(registry)), len(states.items()), len(registry.values())}
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert sizes
    assert steady.value == 7
    for shown in pages:
        assert shown.pop("steady") == 7
        assert all(number >= 1 for number in shown.pop("states").values())
        assert all(number == 1000 + int(name[1 : name.index("_")]) for name, number in shown.items())


COUNTING = """
import gc, os, signal, sys, threading, time, pyvars
number, total, states, other = pyvars.Int(), pyvars.Float(), pyvars.Map(), pyvars.Map()
registry = pyvars.Registry()
def count(times=1):
    for _ in range(times):
        number.add()
        total.add(0.5)
        states.add("a")
        states.add("b", 0.5)
        other.add(str(number.value % 50))
        registry.publish("x", number, exist_ok=True)
        registry.delete("x")
"""


def test_signal_handlers_may_count() -> None:
    """The handler of a timer interrupts counting continuously, and counts the same variables."""
    code = f"""{COUNTING}
handled = []
def handler(*about):
    handled.append(1)
    count()
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
main = 0
until = time.monotonic() + 50
while len(handled) < 2000 and time.monotonic() < until:
    count(50)
    main += 50
signal.setitimer(signal.ITIMER_REAL, 0)
done = main + len(handled)
print(len(handled) >= 2000, number.value == done, total.value == done / 2, states["a"] == done, states["b"] == done / 2,
      sum(other.values()) == done)
"""
    assert output(code).split() == ["True"] * 6


def test_gc_callbacks_and_finalizers_may_count() -> None:
    """A collection runs at every second allocation, and calls code that counts the same variables."""
    code = f"""{COUNTING}
inside = []
class Finalized:
    def __init__(self): self.me = self
    def __del__(self):
        inside.append(1)
        count()
calls = []
def callback(phase, info):
    calls.append(1)
    count()
gc.callbacks.append(callback)
gc.set_threshold(2, 2, 2)
for _ in range(300):
    Finalized()
    count(3)
    states.set("v", pyvars.String(str(_)))
    states.set("f", Finalized().__del__)
    states.delete("f")
gc.callbacks.clear()
gc.set_threshold(700)
gc.collect()
done = 900 + len(inside) + len(calls)
print(len(inside) >= 600, len(calls) > 100, number.value == done, total.value == done / 2, states["a"] == done,
      states["b"] == done / 2, sum(other.values()) == done)
"""
    assert output(code).split() == ["True"] * 7


def test_signal_handlers_may_read() -> None:
    """Also during the first reading of a figure, and while a probe of the event loop is pending."""
    code = """
import asyncio, signal, sys, time, pyvars
from pyvars.asgi import DebugApp
from pyvars.runtime import reading
handled = []
def handler(*about):
    handled.append(pyvars.default_registry.snapshot())
signal.signal(signal.SIGALRM, handler)
pyvars.runtime.start(pyvars.default_registry)  # as an integration does: what is half imported cannot be read
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.005)  # a page takes longer while its coverage is measured
async def main():
    from pyvars.runtime.event_loop import register_loop
    register_loop()
    until = time.monotonic() + 50
    while len(handled) < 300 and time.monotonic() < until:
        reading.expire()
        pyvars.default_registry.snapshot()
        await asyncio.sleep(0)
asyncio.run(main())
signal.setitimer(signal.ITIMER_REAL, 0)
print(len(handled) >= 300)
"""
    assert output(code) == "True\n"


def test_loops_may_come_and_go_while_they_are_read() -> None:
    code = """
import asyncio, sys, threading, pyvars
from pyvars.runtime import reading
from pyvars.runtime.event_loop import register_loop
sys.setswitchinterval(1e-6)
done = threading.Event()
async def main():
    register_loop()
    await asyncio.sleep(0)
def work():
    while not done.is_set():
        asyncio.run(main())
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads: thread.start()
figures = pyvars.get("asyncio")
shown = [reading.expire() or figures.snapshot() for _ in range(3000)]
done.set()
for thread in threads: thread.join()
print(max(figure["loops"] for figure in shown) >= 1)
"""
    assert output(code) == "True\n"


def test_a_forked_child_goes_on_by_itself() -> None:
    """After a fork while other threads count, the child counts, publishes, and renders a page with functions."""
    code = f"""{COUNTING}
import logging, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: fork in a process with threads
logging.disable()  # on a slow machine four threads of pages keep each other waiting
from pyvars.site.default import debug
from tests.conftest import local_request
own = pyvars.Registry()
own.publish("number", number)
own.publish("function", lambda: os.getpid())
pyvars.runtime.install(own)
site = debug(own, None, prefix="/debug")
def page():
    return site.respond(local_request())
stop = threading.Event()
def work():
    while not stop.is_set():
        count()
        page()
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
results = []
for _ in range(30):
    pid = os.fork()
    if pid == 0:
        signal.alarm(50)
        before = number.value
        count(10)
        good = number.value == before + 10 and b'"function": %d' % os.getpid() in page().body
        good = good and b'"loops":0' in page().body
        os._exit(0 if good else 1)
    results.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
stop.set()
for thread in threads: thread.join()
print(results)
"""
    assert output(code).strip() == str([0] * 30)
