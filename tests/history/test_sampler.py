"""The thread of the history in processes that fork, close all files or end, and in those without threads or room."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.programs import ROOT, output, run
from tests.tools import tool

PRELUDE = """
import gc, json, os, signal, sys, threading, time, pyvars
from pyvars.access.request import Request, deadline
from pyvars.site.default import debug
orders = pyvars.publish("orders", pyvars.Int(7))
site = debug(None, None, prefix="/debug")
def ask(query="name=orders&points=720", site=site):
    about = (("host", "localhost"),), "127.0.0.1", "1.1", deadline()
    request = Request("GET", "/debug/history", "", None, query, *about)
    return json.loads(site.respond(request).body)
def until(condition, **more):
    end = time.monotonic() + 30
    while not condition(found := ask(**more)):
        if time.monotonic() > end: sys.exit(f"too late: {found}")
        time.sleep(0.02)
    return found
def names():
    return sum(thread.name == "pyvars-history" for thread in threading.enumerate())
def points(number): return lambda found: len(found["t"]) >= number and found["series"]
"""


def said(code: str, **environment: str) -> Any:
    return json.loads(output(PRELUDE + code, **environment))


def test_what_only_another_worker_has_counted_is_a_count() -> None:
    """A key of a Map is a counter, too, if the writer of the history has the Map but not the key."""
    told = said(
        """
states = pyvars.publish("states", pyvars.Map())
until(points(1))
child = os.fork()
if child == 0:
    states.add("paid")
    pyvars.publish("of_child", pyvars.Int(3))
    pyvars.publish("level", pyvars.Int(3, gauge=True))
    signal.pause()
query = "points=720&name=states&name=of_child&name=level"
found = until(lambda found: len(found["series"]) == 3, query=query)["meta"]["series"]
print(json.dumps({name: each["kind"] for name, each in found.items()}))
os.kill(child, signal.SIGKILL)
os.wait()
"""
    )
    assert told == {"states.paid": "counter", "of_child": "counter", "level": "gauge"}


def test_one_that_forks_goes_on_and_the_child_begins_when_it_is_asked() -> None:
    told = said(
        """
first = until(points(1))
r, w = os.pipe()
if os.fork() == 0:
    told = [names()]
    until(points(len(first["t"]) + 1))  # the parent writes the history of the group
    told += [names(), len(os.listdir("/proc/self/fd")) < 40]
    os.write(w, json.dumps(told).encode())
    os._exit(0)
os.wait()
child = json.loads(os.read(r, 1000))
for _ in range(20):
    if os.fork() == 0: os._exit(0)
    os.wait()
until(points(len(first["t"]) + 1))
print(json.dumps([child, names(), ask()["meta"]["pid"] == os.getpid()]))
"""
    )
    assert told == [[0, 1, True], 1, True]


def test_a_child_that_lives_longer_goes_on_with_the_history() -> None:
    told = said(
        """
import subprocess
until(points(2))
before = ask()
if os.fork():
    os._exit(0)  # as a program that becomes a daemon
after = until(lambda found: found["t"] and found["meta"]["pid"] == os.getpid() and len(found["t"]) > len(before["t"]))
print(json.dumps([after["t"][:len(before["t"])] == before["t"], after["id"] == before["id"]]), flush=True)
os._exit(0)
"""
    )
    assert told == [True, True]


def test_the_directory_goes_with_a_program_that_ends() -> None:
    code = f"""{PRELUDE}
until(points(1))
print(pyvars.workers.MEMBER.group.directory)
print(sorted(name[:2] for name in os.listdir(pyvars.workers.MEMBER.group.directory)))
"""
    directory, files = output(code).splitlines()
    assert files == "['h-', 's-', 'w-']"
    assert not os.path.exists(directory)


def test_a_later_program_removes_what_a_killed_one_left() -> None:
    code = f"""{PRELUDE}
until(points(1))
print(pyvars.workers.MEMBER.group.directory, flush=True)
os.kill(os.getpid(), 9)
"""
    directory = run(code, check=False).stdout.strip()
    assert os.path.exists(f"{directory}/h-default")
    output("from pyvars.site.default import debug; debug(None, None, prefix='')")
    assert not os.path.exists(directory)


def test_a_program_that_closes_all_files_or_removes_them() -> None:
    told = said(
        """
first = until(points(1))
os.closerange(3, 100)
second = until(points(len(first["t"]) + 1))
os.unlink(f"{pyvars.workers.MEMBER.group.directory}/h-default")
third = until(points(1))
print(json.dumps([second["t"][:1] == first["t"][:1], names()]))
"""
    )
    assert told == [True, 1]


@pytest.mark.parametrize("refused", ["os.link", "os.rename"])
def test_a_file_system_without_hard_links_and_one_that_refuses(refused: str) -> None:
    """In the second case there is no history, and nothing is left of the file."""
    told = said(
        f"""
def refuse(event, about):
    if event == "os.link" or event == {refused!r} and "h-default" in str(about[0]): raise PermissionError(1, "refused")
sys.addaudithook(refuse)
files = len(os.listdir("/proc/self/fd"))
found = until(lambda found: found["t"] or found.get("reason"))
directory = pyvars.workers.MEMBER.group.directory
until(lambda found: not any(each.startswith(".h-") for each in os.listdir(directory)))
print(json.dumps([found.get("reason"), bool(found["t"]), len(os.listdir("/proc/self/fd")) <= files + 3]))
"""
    )
    reason = "the history cannot be written: [Errno 1] refused" if refused == "os.rename" else None
    assert told == [reason, refused == "os.link", True]


def test_marks_that_could_not_be_written_are_written_later() -> None:
    told = said(
        """
from pyvars.history import marks, sampler
sampler.RETRY_SECONDS, give_back = 0.1, marks.give_back
refuses, given_back = [True], []
def refuse(event, about):
    if refuses and event in ("os.link", "os.rename") and "h-default" in str(about[0]): raise PermissionError
def given(waiting):
    given_back.extend(waiting)
    give_back(waiting)
sys.addaudithook(refuse)
marks.give_back = given
marks.add("dump", "a dump was taken")
until(lambda found: given_back)
refuses.clear()
until(lambda found: "a dump was taken" in [each["text"] for each in found["marks"]])
print(json.dumps([each["text"] for each in ask()["marks"]].count("a dump was taken")))
"""
    )
    assert told == 1


def test_a_registry_that_goes_and_one_beside_the_default() -> None:
    told = said(
        """
mine = pyvars.Registry()
mine.publish("only", pyvars.Int(5))
other = debug(mine, None, prefix="/debug")
found = until(points(1), site=other, query="")
until(points(1))
files = sorted(name for name in os.listdir(pyvars.workers.MEMBER.group.directory) if name[:2] == "h-")
import weakref
gone = weakref.ref(mine)
del mine, other
while gone() is not None: gc.collect(); time.sleep(0.01)
before = ask()
until(points(len(before["t"]) + 2))
print(json.dumps([[*found["series"]], files, names()]))
"""
    )
    assert told == [["only"], ["h-1", "h-default"], 1]


def test_without_a_group_it_is_in_memory() -> None:
    told = said(
        """
found = until(points(2))
print(json.dumps([found["series"]["orders"], found["meta"]["pid"] == os.getpid(), "reason" in found]))
""",
        PYVARS_SHARE="off",
    )
    assert (told[0][-1], *told[1:]) == (7, True, False)


def test_no_thread_can_be_started() -> None:
    """The next request tries to start it again."""
    told = said(
        """
def refuse(thread): raise RuntimeError("can't start new thread")
start, threading.Thread.start = threading.Thread.start, refuse
told = [ask()["t"], names()]
if os.fork() == 0: os._exit(0)
os.wait()
threading.Thread.start = start
until(points(1))
print(json.dumps([*told, names()]))
"""
    )
    assert told == [[], 0, 1]


MARKS = """
import asyncio
from pyvars.history import marks
until(points(1))
marks.add("dump", "a dump was taken")
marks.add("long", "x" * 500)
class Node: pass
nodes = [Node() for _ in range(400_000)]
for node in nodes: node.self = node
while not any(mark["kind"] == "gc" for mark in ask(query="")["marks"]):
    gc.collect()
    nodes += [Node() for _ in range(400_000)]
async def blocks():
    ask()
    await asyncio.sleep(1.1)
    time.sleep(2.6)
    await asyncio.sleep(0)
async def app(scope, receive, send): await blocks()
from pyvars.asgi import VarsMiddleware
middleware = VarsMiddleware(app)
scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
asyncio.run(middleware(scope, None, None))
found = until(lambda found: any(mark["kind"] == "loop" for mark in found["marks"]), query="")
print(json.dumps(found["marks"]))
"""


def test_marks() -> None:
    marks = said(MARKS, PYVARS_SHARE="off")
    texts = {mark["kind"]: mark["text"] for mark in marks}
    assert texts["dump"] == "a dump was taken"
    assert texts["long"] == "x" * 104
    assert "a collection of generation 2 took" in texts["gc"]
    assert "an event loop has not run for" in texts["loop"]


def test_marks_wait_until_there_is_a_history() -> None:
    from pyvars import Registry
    from pyvars.history.sampler import history_of

    assert not history_of(Registry()).write([(1, "kind", "text")])


def test_a_full_disk_costs_the_history_alone() -> None:
    code = f"""{PRELUDE}
found = until(lambda found: found.get("reason"))
print(json.dumps([found["reason"], found["t"], sorted(name[:2] for name in os.listdir(os.environ["PYVARS_SHARE"]))]))
"""
    mount = 'mount -t tmpfs -o size=300k tmpfs /mnt && exec "$@"'
    command = [tool("unshare"), "-m", "sh", "-c", mount, "sh", sys.executable, "-W", "error", "-c", code]
    environment = {**os.environ, "PYVARS_SHARE": "/mnt/shared"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment, timeout=60)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no file systems may be mounted here: {done.stderr.strip()}")
    assert done.stderr == ""
    reason, points, files = json.loads(done.stdout)
    assert reason.startswith("the history cannot be written: [Errno 28] No space left on device")
    assert (points, files) == ([], ["s-", "w-"])


def test_the_master_of_uwsgi_has_no_thread() -> None:
    """A stand-in for the module that uWSGI gives its processes."""
    told = said(
        """
import types
sys.modules["uwsgi"] = types.SimpleNamespace(opt={"enable-threads": True}, masterpid=os.getpid)
print(json.dumps([ask()["reason"], names()]))
"""
    )
    assert told == ["no threads may run in the master of uWSGI", 0]
