"""`asyncio` in programs without an integration: their loops are found, and probed each second, without a page, too."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyvars.runtime.loops import TASKS_ARE_KNOWN
from tests.programs import ROOT, output
from tests.services import free_port

# A program reads its own page in another thread until a condition holds; every wait has a limit.
PRELUDE = """
import asyncio, json, sys, threading, time, urllib.request, pyvars
def read(path="/debug/vars"):
    with urllib.request.urlopen(server.url + path, timeout=20) as answer: return answer.read()
def page(): return json.loads(read())
def when(condition):
    until = time.monotonic() + 80
    while not condition(found := page()):
        assert time.monotonic() < until, found
        time.sleep(0.1)
    return found
"""

MAIN = """
async def main():
    tasks = [asyncio.create_task(asyncio.sleep(60)) for _ in range(50)]
    # The tasks may be those of the last second, from before the loop was known.
    found = await asyncio.to_thread(when, lambda page: page["asyncio"]["loops"] and page["asyncio"]["tasks"] >= 51)
    print(found["asyncio"]["loops"], found["asyncio"]["tasks"] >= 51)
"""

UVLOOP_BY_HAND = """
loop = uvloop.new_event_loop()
loop.run_until_complete(main())
loop.run_until_complete(loop.shutdown_default_executor())
for task in asyncio.all_tasks(loop): task.cancel()
loop.run_until_complete(asyncio.sleep(0))
loop.close()
"""

RUNNERS = {
    "asyncio.run": "asyncio.run(main())",
    "a runner": "with asyncio.Runner() as runner: runner.run(main())",
    "by hand": UVLOOP_BY_HAND.replace("uvloop", "asyncio"),
    "in a thread": "thread = threading.Thread(target=asyncio.run, args=(main(),)); thread.start(); thread.join()",
    "uvloop.run": "uvloop.run(main())",
    "asyncio.run of uvloop": "with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner: runner.run(main())",
    "uvloop by hand": UVLOOP_BY_HAND,
    "below much else": """
def deep(depth):
    return deep(depth - 1) if depth else asyncio.run(main())
deep(100)
""",
}


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_loop_of_a_program_is_found(runner: str) -> None:
    """However the program runs the loop. The loop of the side port does not count."""
    if "uvloop" in runner:
        pytest.importorskip("uvloop")
    start = "import uvloop\n" if "uvloop" in runner else ""
    before = """
server = pyvars.serve(0)
print(page()["asyncio"]["loops"], page()["asyncio"]["tasks"])
"""
    assert output(PRELUDE + before + MAIN + start + RUNNERS[runner]) == "0 0\n1 True\n"


def test_a_loop_is_found_without_its_tasks() -> None:
    """As in Python 3.14, where asyncio tells the tasks of a known loop only."""
    pytest.importorskip("uvloop")
    code = """
from pyvars.runtime import loops
loops.TASKS_ARE_KNOWN, loops._some_tasks = False, list
server = pyvars.serve(0)
print(page()["asyncio"]["loops"], page()["asyncio"]["tasks"])
other = uvloop.new_event_loop()  # does not run
"""
    assert output(f"{PRELUDE}import uvloop\n{code}{MAIN}{UVLOOP_BY_HAND}other.close()") == "0 0\n1 True\n"


def test_several_loops_in_several_threads() -> None:
    code = """
server = pyvars.serve(0)
stop = threading.Event()
async def main():
    tasks = [asyncio.create_task(asyncio.sleep(60)) for _ in range(10)]
    await asyncio.to_thread(stop.wait, 60)
threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(5)]
for thread in threads: thread.start()
found = when(lambda page: page["asyncio"]["loops"] == 5 and page["asyncio"]["tasks"] >= 55)
stop.set()
for thread in threads: thread.join()
print(when(lambda page: page["asyncio"]["loops"] == 0)["asyncio"]["tasks"])
"""
    assert output(PRELUDE + code) == "0\n"


BLOCKED = """
import asyncio, sys, time
async def main():
    tasks = [asyncio.create_task(asyncio.sleep(60)) for _ in range(20)]
    print("runs", flush=True)
    await asyncio.to_thread(sys.stdin.readline)  # the test says when
    time.sleep(3)
    print("ran on", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
asyncio.run(main())
"""


def until(read: Callable[[], Any], condition: Callable[[Any], object]) -> Any:
    end = time.monotonic() + 30
    while not condition(found := read()):
        assert time.monotonic() < end, found
        time.sleep(0.1)
    return found


def test_a_block_between_two_pages_leaves_its_trace(tmp_path: Path) -> None:
    path = tmp_path / "plain.py"
    path.write_text(BLOCKED)
    port = free_port()

    def get(what: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{what}", timeout=20) as answer:
            body: bytes = answer.read()
            return body

    with subprocess.Popen(
        [sys.executable, "-m", "pyvars", "--port", str(port), str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "runs\n"
        first = until(
            lambda: json.loads(get("/debug/vars")),
            lambda page: "asyncio_lag_seconds" in page and page["asyncio"]["tasks"] >= 20,
        )
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ran on\n"  # no page meanwhile
        second = until(lambda: json.loads(get("/debug/vars")), lambda page: page["asyncio"]["lag_max_seconds"] > 1.5)
        assert second["asyncio_lag_seconds"]["max"] > 1.5
        assert second["asyncio_lag_seconds"]["count"] >= first["asyncio_lag_seconds"]["count"]
        assert b"# TYPE asyncio_lag_seconds histogram" in get("/metrics")
        process.communicate("\n", timeout=30)
        assert process.returncode == 0


@pytest.mark.parametrize("share", ["", "off"])
def test_probes_are_sent_without_a_page(share: str) -> None:
    """Also if no numbers are shared."""
    code = """
server = pyvars.serve(0)
async def main():
    until = time.monotonic() + 30
    while (lags := pyvars.get("asyncio_lag_seconds")) is None or lags.count < 2:
        assert time.monotonic() < until
        await asyncio.sleep(0.05)
asyncio.run(main())
print(pyvars.get("asyncio_lag_seconds").count >= 2)
"""
    assert output(PRELUDE + code, PYVARS_SHARE=share) == "True\n"


def test_loops_that_come_and_go() -> None:
    """Neither the loops nor their probes are kept; the longest lag is."""
    code = """
import gc, weakref
server = pyvars.serve(0)
loops = weakref.WeakSet()
async def main(block):
    loops.add(asyncio.get_running_loop())
    await asyncio.to_thread(when, lambda page: page["asyncio"]["loops"])
    if block:
        reader = threading.Thread(target=when, args=(lambda page: page["asyncio"]["lag_seconds"] > 0.3,))
        reader.start()
        reader.join()
for block in (True, False, False):
    asyncio.run(main(block))
found = when(lambda page: page["asyncio"]["loops"] == 0 and not (gc.collect(), len(loops))[1])["asyncio"]
print(len(loops), found["tasks"], found["lag_seconds"], found["lag_max_seconds"] > 0.3)
"""
    assert output(PRELUDE + code) == "0 0 0.0 True\n"


def test_a_loop_that_is_stopped_for_a_while_has_no_lag() -> None:
    """The loop has no lag while it is stopped; a probe that was sent before is ignored when it runs again."""
    code = """
server = pyvars.serve(0)
loop = asyncio.new_event_loop()
async def known(): await asyncio.to_thread(when, lambda page: page["asyncio"]["loops"])
loop.run_until_complete(known())
async def stop():
    reader = threading.Thread(target=when, args=(lambda page: page["asyncio"]["lag_seconds"] > 0.2,))
    reader.start()
    reader.join()
    loop.stop()
loop.create_task(stop())
loop.run_forever()
found = when(lambda page: page["asyncio"]["lag_seconds"] == 0.0)
row, = json.loads(read("/debug/workers"))["workers"]
print(found["asyncio"]["loops"], row["lag_seconds"], row["state"])
loop.run_until_complete(known())
loop.close()
"""
    assert output(PRELUDE + code) == "1 None ok\n"


def test_a_child_that_was_forked_has_no_loop_but_its_own() -> None:
    """Not the loops of its parent, which do not run in it, nor loops such as uvloop's by tasks of the parent."""
    pytest.importorskip("uvloop")
    code = """
import os, uvloop, warnings
warnings.simplefilter("ignore", DeprecationWarning)
server = pyvars.serve(0)
async def main(): await asyncio.to_thread(stop.wait, 60)
stop = threading.Event()
def by_hand():
    loop = uvloop.new_event_loop()
    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
threads = [threading.Thread(target=by_hand), threading.Thread(target=asyncio.run, args=(main(),))]
for thread in threads: thread.start()
when(lambda page: page["asyncio"]["loops"] == 2)
if (pid := os.fork()) == 0:
    server = pyvars.serve(0)
    before = pyvars.get("asyncio").snapshot()
    async def child():
        until = time.monotonic() + 30
        while not (found := pyvars.get("asyncio").snapshot())["loops"] and time.monotonic() < until:
            await asyncio.sleep(0.05)
        print(before["loops"], before["lag_max_seconds"], found["loops"], flush=True)
    asyncio.run(child())
    os._exit(0)
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
stop.set()
for thread in threads: thread.join()
print(status)
"""
    assert output(PRELUDE + code) == "0 0.0 1\n0\n"


def test_a_loop_below_a_deep_stack_is_found_later() -> None:
    """The search is bounded, so that it costs little in a program with a deep recursion."""
    code = """
server = pyvars.serve(0)
sys.setrecursionlimit(3000)
def deep(depth):
    return deep(depth - 1) if depth else [loops() for _ in range(3)][-1]
def loops():
    time.sleep(0.5)
    return pyvars.get("asyncio").snapshot()["loops"]
async def main():
    print(deep(1500))
    print((await asyncio.to_thread(when, lambda page: page["asyncio"]["loops"]))["asyncio"]["loops"])
asyncio.run(main())
"""
    assert output(PRELUDE + code) == "0\n1\n"


@pytest.mark.parametrize("switch", ["enable", "disable"])
def test_collection_is_as_the_program_has_it(switch: str) -> None:
    code = f"""
import gc
server = pyvars.serve(0)
async def main(): await asyncio.to_thread(when, lambda page: page["asyncio"]["loops"])
gc.{switch}()
asyncio.run(main())
print(gc.isenabled())
"""
    assert output(PRELUDE + code) == f"{switch == 'enable'}\n"


def test_what_looks_like_a_loop_is_none() -> None:
    code = """
server = pyvars.serve(0)
stop = threading.Event()
class Engine:
    def run_forever(self): stop.wait(60)
thread = threading.Thread(target=Engine().run_forever)
thread.start()
async def main():
    print((await asyncio.to_thread(when, lambda page: page["asyncio"]["loops"]))["asyncio"]["loops"])
asyncio.run(main())
stop.set()
thread.join()
"""
    assert output(PRELUDE + code) == "1\n"


def test_loops_of_any_library_do_no_harm() -> None:
    """A loop whose methods raise is not probed, and does not count as running."""
    code = """
server = pyvars.serve(0)
class Loop(asyncio.SelectorEventLoop):
    broken = ()
    def is_running(self): return 1 / 0 if "is_running" in self.broken else super().is_running()
    def call_soon_threadsafe(self, *args, **kwargs):
        if "call_soon_threadsafe" in self.broken and "pyvars" in threading.current_thread().name: raise LookupError
        return super().call_soon_threadsafe(*args, **kwargs)
async def main():
    loop = asyncio.get_running_loop()
    await asyncio.to_thread(when, lambda page: page["asyncio"]["loops"])
    for broken in ("is_running", "call_soon_threadsafe"):
        loop.broken = broken
        await asyncio.sleep(0.2)
        shown = await asyncio.to_thread(page)
        (row,) = json.loads(await asyncio.to_thread(read, "/debug/workers"))["workers"]
        print("pyvars.errors" in shown, row["state"], row["lag_seconds"] is None)
    loop.broken = ()
with asyncio.Runner(loop_factory=Loop) as runner: runner.run(main())
"""
    assert output(PRELUDE + code) == "False ok True\nFalse ok False\n"


def test_a_variable_of_the_program_has_the_name() -> None:
    """The variable of the program stays, and the log says so once."""
    code = """
import logging
logging.basicConfig(stream=sys.stdout, format="%(message)s")
server = pyvars.serve(0)
mine = pyvars.publish("asyncio_lag_seconds", pyvars.Int(3))
records = []
logging.getLogger("pyvars").addFilter(lambda record: records.append(record.getMessage()))
async def main():
    until = time.monotonic() + 30
    while not records:
        assert time.monotonic() < until
        await asyncio.sleep(0.05)
asyncio.run(main())
print(len(records), "asyncio_lag_seconds" in records[0], page()["asyncio_lag_seconds"])
"""
    assert output(PRELUDE + code) == "1 True 3\n"


def test_many_tasks_are_counted_beside_the_pages() -> None:
    """Counting them takes longer than a page, so the thread that sends the probes counts them."""
    code = """
server = pyvars.serve(0)
async def main():
    tasks = [asyncio.create_task(asyncio.sleep(600)) for _ in range(30_000)]
    await asyncio.sleep(0)
    found = await asyncio.to_thread(when, lambda page: page["asyncio"]["tasks"] > 30_000)
    for _ in range(3): found = await asyncio.to_thread(page)
    print(found["asyncio"]["tasks"] > 30_000)
    for task in tasks: task.cancel()
    await asyncio.to_thread(when, lambda page: page["asyncio"]["tasks"] < 100)
asyncio.run(main())
"""
    assert output(PRELUDE + code) == "True\n"


def test_trio_alone() -> None:
    pytest.importorskip("trio")
    code = """
import trio
server = pyvars.serve(0)
async def main():
    shown = await trio.to_thread.run_sync(page)
    (row,) = json.loads(await trio.to_thread.run_sync(read, "/debug/workers"))["workers"]
    print(shown["asyncio"]["loops"], row["lag_seconds"], row["state"])
trio.run(main)
"""
    assert output(PRELUDE + code) == "0 None ok\n"


def test_loops_among_the_local_variables_of_frames() -> None:
    """As they are found from Python 3.14 on, which lists the tasks of known loops only."""
    code = """
import asyncio
from pyvars.runtime import loops

loops.TASKS_ARE_KNOWN = False

class Foreign(asyncio.AbstractEventLoop):
    def __init__(self, runs): self.runs = runs
    def is_running(self): return self.runs

def main():
    running, stopped, plain = Foreign(True), Foreign(False), asyncio.new_event_loop()
    plain.close()
    print([each is running for each in loops.running_loops()])

main()
"""
    assert output(code) == "[True]\n"


@pytest.mark.skipif(not TASKS_ARE_KNOWN, reason="this Python does not tell the tasks of unknown loops")
def test_a_loop_of_another_kind_is_found_by_its_tasks() -> None:
    """Such as uvloop, which does not run in a Python frame."""
    code = """
import asyncio
from pyvars.runtime.loops import running_loops

class Foreign(asyncio.AbstractEventLoop):
    def get_debug(self): return False
    def call_soon(self, *arguments, **named): pass
    def call_exception_handler(self, context): pass

async def nothing(): pass

loop, coroutine = Foreign(), nothing()
task = asyncio.Task(coroutine, loop=loop)
print(running_loops() == [loop])
coroutine.close()
"""
    assert output(code) == "True\n"
