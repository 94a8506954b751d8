"""Unusual forks: without hooks, in a hook, in a finalizer, without sharing, and while a peer removes old files."""

import json
import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from pyvars.workers.numbers.group_reading import GroupReader
from pyvars.workers.numbers.layout import parse
from pyvars.workers.together.directory import remove_group, sweep
from pyvars.workers.together.group import Process, name_of
from pyvars.workers.together.locks import is_locked
from tests.programs import output
from tests.workers.test_membership import AS_NOBODY, AS_ROOT, INTEGRATION, PAGE, said


def test_a_fork_that_runs_no_hooks(tmp_path: Path) -> None:
    """As a C library forks. pyvars notices the child when it renders its first page."""
    lines = said(
        f"""
import ctypes, threading
warnings.simplefilter("ignore", ResourceWarning)  # of the files of /proc
{INTEGRATION}
n.add(5)
page()
def switches():
    tasks = [thread.native_id for thread in threading.enumerate()]
    return [open(f"/proc/self/task/{{task}}/status").read().split("ctxt_switches:")[1:] for task in tasks[1:]]
# Python hangs in the child if another thread waits for the GIL at the fork: it gives up the GIL to that for ever.
before = None
while (now := switches()) != before:
    before = now
    time.sleep(0.1)
if (pid := ctypes.PyDLL(None).fork()) == 0:
    first = page()
    n.add(2)
    print(json.dumps([n.value, first["pyvars.workers"]["live"], page()["n"]]), flush=True)
    os._exit(0)
os.waitpid(pid, 0)
print(json.dumps([n.value, page()["n"], page()["pyvars.workers"]["retired"]]))
""",
        PYVARS_SHARE=str(tmp_path / "shared"),
    )
    assert lines == [[2, 2, 7], [5, 7, 1]]


def test_a_fork_hook_that_forks() -> None:
    """Each child is a worker, and has garbage collection enabled if the program has."""
    lines = said(
        f"""
import gc
inner = []
def fork_too():
    if not inner:
        inner.append(1)
        if os.fork() == 0:
            os._exit(gc.isenabled())
        inner.append(os.waitstatus_to_exitcode(os.wait()[1]))
os.register_at_fork(before=fork_too)
{INTEGRATION}
page()
for enabled in (True, False):
    (gc.enable if enabled else gc.disable)()
    inner.clear()
    if os.fork() == 0:
        n.add()
        os._exit(gc.isenabled())
    print(json.dumps([os.waitstatus_to_exitcode(os.wait()[1]), inner[1], gc.isenabled()]))
print(json.dumps([page()["n"], page()["pyvars.workers"]["retired"]]))
"""
    )
    assert lines == [[1, 1, True], [0, 0, False], [2, 4]]


def test_a_fork_in_the_middle_of_a_fork() -> None:
    """A hook that was registered before pyvars was imported runs after the hook of pyvars, and forks itself."""
    code = """
import gc, os
seen = []
def fork_too():
    if not seen:
        seen.append(gc.isenabled())
        if os.fork() == 0:
            os._exit(gc.isenabled())
        seen.append(os.waitstatus_to_exitcode(os.wait()[1]))
        seen.append(gc.isenabled())
os.register_at_fork(before=fork_too)
import pyvars
if os.fork() == 0:
    os._exit(gc.isenabled())
print(seen, os.waitstatus_to_exitcode(os.wait()[1]), gc.isenabled())
"""
    assert output(code) == "[False, 1, False] 1 True\n"


def test_a_fork_where_nothing_is_shared() -> None:
    """Parent and child continue from the same counts, and each is a group of one worker."""
    lines = said(
        f"""
{INTEGRATION}
n.add(5)
if os.fork() == 0:
    n.add()
    print(json.dumps(page()["n"]), flush=True)
    os._exit(0)
os.wait()
print(json.dumps(page()["n"]))
print(json.dumps({{pid: each["n"] for pid, each in page(query="worker=all").items()}} == {{str(os.getpid()): 5}}))
""",
        PYVARS_SHARE="off",
    )
    assert lines == [6, 5, True]


def test_a_fork_after_the_registry_of_the_page_has_gone() -> None:
    """The child is in no group until it has an integration again."""
    lines = said(
        f"""
import gc, weakref
mine = pyvars.Registry()
mine.publish("a", pyvars.Int(1))
site = debug(mine, None, prefix="/debug")
page()
gone = weakref.ref(mine)
del mine, site
while gone() is not None: gc.collect()  # the thread of the history may have it for a moment
if os.fork() == 0:
    told = [MEMBER.shared]
    {INTEGRATION}
    n.add(3)
    print(json.dumps([*told, page()["n"], MEMBER.shared]), flush=True)
    os._exit(0)
os.wait()
{INTEGRATION}
print(json.dumps([page()["n"], page()["pyvars.workers"]["retired"]]))
"""
    )
    assert lines == [[False, 3, True], [3, 1]]


def test_a_registry_that_goes_while_a_child_becomes_a_worker() -> None:
    """As if garbage were collected at that moment: here in a function that the child calls to extend its segment."""
    lines = said(
        f"""
{INTEGRATION}
for number in range(1200): pyvars.publish(f"n{{number}}", pyvars.Int(number))
others = [pyvars.Registry()]
sites = [debug(others[0], None, prefix="/debug")]
maps, parent = [], os.getpid()
def collect(event, _):
    if event == "mmap.__new__" and os.getpid() != parent:
        maps.append(event)
        if len(maps) == 2:
            del sites[:], others[:]
sys.addaudithook(collect)
if os.fork() == 0:
    found = page()
    print(json.dumps([len(maps), others, found["n7"], n.value, found["pyvars.workers"]["reason"]]), flush=True)
    os._exit(0)
os.wait()
"""
    )
    assert lines == [[2, [], 7, 0, ""]]


def test_a_fork_in_a_finalizer_of_a_registry() -> None:
    lines = said(
        f"""
import weakref
mine = pyvars.Registry()
count = mine.publish("a", pyvars.Int(1))
{INTEGRATION}
other = debug(mine, None, prefix="/debug")
def fork(_):
    if os.fork() == 0:
        n.add(2)
        print(json.dumps([page()["n"], MEMBER.shared]), flush=True)
        os._exit(0)
    os.wait()
reference = weakref.ref(mine, fork)
del other, mine
count.add()
print(json.dumps([page()["n"], count.value, page()["pyvars.workers"]["retired"]]))
"""
    )
    assert lines == [[2, True], [2, 2, 1]]


def test_garbage_that_was_collected_before_a_fork_is_the_parents() -> None:
    """Also if recording had not begun."""
    lines = said(
        """
import gc, pyvars.runtime.gc
for _ in range(50): gc.collect()
if os.fork() == 0:
    print(json.dumps(pyvars.default_registry["gc"].snapshot()["gen2"]["collections"]), flush=True)
    os._exit(0)
os.wait()
print(json.dumps(pyvars.default_registry["gc"].snapshot()["gen2"]["collections"]))
"""
    )
    assert lines[0] < 10 < 50 <= lines[1]


SWEPT = f"""
swept = []
def sweep(event, about):  # as a sweeper that takes a newborn's file for dirt
    if event == "os.rename" and os.path.basename(about[0])[:3] == ".w-" and len(swept) < {{times}}:
        swept.append(os.unlink(about[0]))
sys.addaudithook(sweep)
n.add(7)
{INTEGRATION}
n.add()
print(json.dumps([page()["n"], page()["pyvars.workers"]["shared"], page()["pyvars.workers"]["reason"]]))
print(json.dumps([name[:2] for name in sorted(os.listdir(os.environ["PYVARS_SHARE"])) if "h-" not in name[:3]]))
"""


@pytest.mark.parametrize(
    ("times", "shared", "reason", "files"),
    [(3, True, "", ["s-", "w-"]), (1000, False, "another process keeps removing the group directory", [])],
)
def test_a_newborn_that_is_swept_away(times: int, shared: bool, reason: str, files: list[str], tmp_path: Path) -> None:
    """It makes its files again, a limited number of times; its counts stay."""
    lines = said(SWEPT.replace("{times}", str(times)), PYVARS_SHARE=str(tmp_path / "shared"))
    assert lines == [[8, shared, reason], files]


def test_a_place_that_comes_later(tmp_path: Path) -> None:
    """The process looks for the directory once a second."""
    lines = said(
        f"""
{INTEGRATION}
n.add(3)
first = page()["pyvars.workers"]["shared"]
os.mkdir(os.path.dirname(os.environ["PYVARS_SHARE"]))
began = time.monotonic()
while not (found := page())["pyvars.workers"]["shared"]: assert time.monotonic() < began + 30
print(json.dumps([first, found["n"], found["pyvars.workers"]["reason"]]))
""",
        PYVARS_SHARE=str(tmp_path / "later" / "shared"),
    )
    assert lines == [[False, 3, ""]]


@AS_ROOT
@AS_NOBODY
def test_a_process_that_is_another_user_for_a_while() -> None:
    """It uses the directory of that user, and then its own again; each number counts once."""
    lines = said(
        f"""
{INTEGRATION}
n.add(3)
page()
places = [MEMBER.group.directory]
import shutil
for user in (65534, 0):
    os.seteuid(user)
    n.add()
    told = [page()["n"] for _ in range(3)]
    places.append(MEMBER.group.directory)
    print(json.dumps([*told, MEMBER.shared]))
print(json.dumps([os.path.basename(os.path.dirname(place)) for place in places]))
shutil.rmtree(places[1])  # or who is that user the next time does it
"""
    )
    assert lines[:2] == [[4, 4, 4, True], [5, 5, 5, True]]
    assert lines[2] == ["pyvars-0", "pyvars-65534", "pyvars-0"]


def test_a_system_without_locks() -> None:
    """As on Windows: each process counts for itself."""
    code = f"""
import asyncio, sys
sys.modules["fcntl"] = None
{PAGE}{INTEGRATION}
n.add()
print(json.dumps([page()["n"], page()["pyvars.workers"]]))
"""
    count, status = json.loads(output(code))
    assert count == 1
    assert (status["shared"], status["reason"]) == (False, "this system has no record locks (fcntl)")


def test_a_child_of_multiprocessing_joins_where_it_is_told(tmp_path: Path) -> None:
    """At its first publish, or, if there was no group directory, at one that comes at least 100 ms later."""
    code = f"""
import itertools
{PAGE}
told = [MEMBER.shared]
os.mkdir(os.environ["PYVARS_SHARE"], 0o700)
until = time.monotonic() + 0.1
for number in itertools.count():
    pyvars.publish(f"n{{number}}", pyvars.Int())
    if time.monotonic() > until: break
pyvars.publish("last", pyvars.Int())  # the one before may have begun earlier
told.append(MEMBER.shared)
print(json.dumps(told))
"""
    place = tmp_path / "shared"
    assert json.loads(output(code, "--multiprocessing-fork", PYVARS_SHARE=str(place))) == [False, True]
    code = f"{PAGE}print(json.dumps(MEMBER.shared))"
    assert json.loads(output(code, "--multiprocessing-fork", PYVARS_SHARE=str(place))) is True
    assert json.loads(output(code, "--multiprocessing-fork", PYVARS_SHARE="off")) is False


@pytest.mark.parametrize(
    ("flag", "reason"),
    [
        ("", "/proc hides the parent process <pid>, so pyvars"),
        ("--multiprocessing-fork", "[Errno 13] Permission denied"),
    ],
)
def test_a_parent_that_nobody_may_look_at(flag: str, reason: str) -> None:
    """As under a security policy. The program runs on, and the page says why it is in no group."""
    code = f"""
import os, sys
def policy(event, about):
    if event == "open" and about[0] in (f"/proc/{{os.getppid()}}/auxv", f"/proc/{{os.getppid()}}/cmdline"):
        raise PermissionError(13, "Permission denied")
sys.addaudithook(policy)
{PAGE}
n.add()
print(json.dumps(MEMBER.shared))
{INTEGRATION}
print(json.dumps([page()["n"], page()["pyvars.workers"]["reason"].replace(str(os.getppid()), "<pid>")]))
"""
    first, second = output(code, flag).splitlines()
    assert json.loads(first) is False
    count, said = json.loads(second)
    assert count == 1
    assert said.startswith(reason)


def test_a_newborn_in_a_group_that_is_swept(tmp_path: Path) -> None:
    """Its files stay, even if it starts after the sweeping process has looked for live workers."""
    code = """
import os, subprocess, sys
from pyvars.workers.together.group import Process, name_of
from pyvars.workers.together.directory import sweep
group = os.path.join(sys.argv[1], name_of(Process(2**22 + 1, 1)))
os.mkdir(group)
names = "w-1-1-a", "w-1-1-b"
for name in names:
    with open(os.path.join(group, name), "w") as file: file.write("pyvars\\0")
born = []
def bear(event, about):
    if event == "os.remove" and not born:
        born.extend({*names} - {os.path.basename(about[0])})
        code = "import fcntl, sys; file = open(sys.argv[1], 'r+'); fcntl.lockf(file, fcntl.LOCK_EX);"
        code += "print(flush=True); sys.stdin.read()"
        command = [sys.executable, "-c", code, os.path.join(group, born[0])]
        born.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        born[1].stdout.readline()
sys.addaudithook(bear)
sweep(sys.argv[1])
print(os.listdir(group) == born[:1])
born[1].communicate()
sweep(sys.argv[1])
print(os.listdir(sys.argv[1]))
"""
    assert output(code, str(tmp_path)) == "True\n[]\n"


def test_a_group_that_another_sweeper_removes_meanwhile_hides_no_other(tmp_path: Path) -> None:
    """A scan that met such a group used to end there, as if there were no group."""
    ended = [str(tmp_path / name_of(Process(pid, 1))) for pid in (1 << 22, (1 << 22) + 1)]
    for group in ended:
        os.mkdir(group)
    removed: list[str] = []

    def remove_the_first(frame: FrameType, event: str, function: Any) -> None:
        if event == "c_return" and function.__name__ == "is_dir" and not removed:
            removed.append(function.__self__.path)
            os.rmdir(removed[0])

    sys.setprofile(remove_the_first)
    sweep(str(tmp_path))
    sys.setprofile(None)
    assert removed[0] in ended
    assert os.listdir(tmp_path) == []


def test_what_another_sweeper_has_removed_is_no_error(tmp_path: Path) -> None:
    sweep(str(tmp_path / "gone"))
    remove_group(str(tmp_path / "gone"))
    assert list(tmp_path.iterdir()) == []


def test_a_segment_that_vanishes_while_the_group_is_read(tmp_path: Path) -> None:
    """Its worker has joined another directory, or was folded: that is no damage."""
    tmp_path.chmod(0o700)
    code = f"""
import json, os, sys
{INTEGRATION}
read_end, write_end = os.pipe()
ended, end = os.pipe()
if (pid := os.fork()) == 0:
    os.close(end)
    n.add(5)
    os.write(write_end, b".")
    os.read(ended, 1)
    os._exit(0)
os.read(read_end, 1)
gone = []
def remove(event, about):
    if event == "open" and f"w-{{pid}}-" in str(about[0]) and not gone:
        gone.append(about[0])
        os.unlink(about[0])
sys.addaudithook(remove)
found = page()
print(json.dumps([len(gone), found["pyvars.workers"]["reason"], "pyvars.errors" in found]), flush=True)
os.close(end)
os.wait()
"""
    assert json.loads(output(PAGE + code, PYVARS_SHARE=str(tmp_path))) == [1, "", False]


def test_an_address_whose_lock_file_cannot_be_opened_is_left_to_the_system(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    code = f"""
import os
{INTEGRATION}
from pyvars.workers.membership.address import _path, claim
page()
os.symlink("nowhere", _path(os.environ["PYVARS_SHARE"], "127.0.0.1", 6060))
print(claim("127.0.0.1", 6060))
"""
    assert output(PAGE + code, PYVARS_SHARE=str(tmp_path)) == "True\n"


def test_a_file_that_cannot_be_opened_may_be_locked(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    assert is_locked(str(tmp_path / "link"))
    assert not is_locked(str(tmp_path / "missing"))


def test_a_directory_that_is_gone_is_said(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    assert GroupReader(gone, lambda: parse((), 0, False)).read().missing == {gone: "No such file or directory"}
