"""Programs that close all files, as daemons and sandboxes do, and open their own under the same descriptors.

pyvars then makes its files anew. It does not write to, lock or close files of the program, and each number counts
once.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pyvars.core.own_file import OwnFile, OwnSocket
from pyvars.workers.numbers.mapping import mapped
from pyvars.workers.together.files import has_lost_lock
from tests.programs import ROOT, output
from tests.workers.test_membership import INTEGRATION, PAGE

# The program closes all files, and opens files, pipes and sockets until these have all the descriptors.
CLOSE = """
import signal, socket, tempfile
number, log = tempfile.mkstemp()
os.close(number)
with open(log, "w") as file: file.write("log of the program")
taken, pipes, sockets = {}, [], []
def take(upto):
    while max(taken, default=0) < upto:
        numbers = [os.open(log, os.O_RDWR), *os.pipe()]
        pipes.append(numbers[1])
        pair = socket.socketpair()
        sockets.extend(pair)
        for number in [*numbers, *(each.fileno() for each in pair)]: taken[number] = os.fstat(number).st_ino
def close(*numbers):
    for number in numbers: os.close(number)
    if not numbers:
        for each in sockets: each.detach()
        os.closerange(3, 256)
        for some in (taken, pipes, sockets): some.clear()
    take(max(numbers, default=64))
def harm():
    found = []
    for number, inode in taken.items():
        try:
            if os.fstat(number).st_ino != inode: found.append(f"{number} is another file")
        except OSError: found.append(f"{number} is closed")
    def arrived(number):
        os.set_blocking(number, False)
        try: return f"{number} got {os.read(number, 99)}"
        except BlockingIOError: return None
    if not found: found = [*filter(None, map(arrived, [*pipes, *(each.fileno() for each in sockets)]))]
    with open(log) as file: content = file.read()
    if content != "log of the program": found.append(f"log of {len(content)}")
    code = "import fcntl, sys; fcntl.lockf(file := open(sys.argv[1], 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB); "
    code += "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)"
    import subprocess
    if subprocess.run([sys.executable, "-c", code, log], capture_output=True).returncode: found.append("log is locked")
    return found
def until(true, seconds=30):
    end = time.monotonic() + seconds
    while not (found := true()): assert time.monotonic() < end; time.sleep(0.02)
    return found
def numbers():
    # Those of files that stay open.
    found = None
    for _ in range(5):
        now = {int(each) for each in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{each}")}
        found = now if found is None else found & now
        time.sleep(0.02)
    return found
"""

WORKER = f"""
import logging
logging.getLogger("pyvars").disabled = True  # beside other tests a function may come late
{PAGE}{CLOSE}
pyvars.publish("fresh", lambda: os.getpid())
before = numbers()
{INTEGRATION}
n.add(3)
page()
ours = sorted(numbers() - before)
orders, order = os.pipe()
told, tell = os.pipe()
"""

FORK = """
def fork(work):
    pid = os.fork()
    if pid: return pid
    try:
        work()
    except BaseException as error: print(repr(error), file=sys.stderr, flush=True)
    os._exit(0)
def say(*what): os.write(tell, (json.dumps(what) + "\\n").encode())
def hear():
    line = b""
    while not line.endswith(b"\\n"): line += os.read(told, 1)
    return json.loads(line)
def summary(found): return [found["n"], found["pyvars.workers"]["live"], found["pyvars.workers"]["retired"]]
"""


def said(code: str, share: Path, *arguments: str) -> list[object]:
    lines = output(WORKER + FORK + code, *arguments, PYVARS_SHARE=str(share)).splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture
def share(tmp_path: Path) -> Path:
    (tmp_path / "shared").mkdir(mode=0o700)
    return tmp_path / "shared"


def test_a_program_that_closes_all_files_and_goes_on(share: Path) -> None:
    """It publishes more than fits into its segment, renders pages, and its group directory is removed."""
    lines = said(
        """
close()
for number in range(3000): pyvars.publish(f"more {number}", pyvars.Int(1))
found = page()
print(json.dumps([*summary(found), found["pyvars.workers"]["shared"], sum(found[f"more {i}"] for i in range(3000))]))
print(json.dumps(harm()))
import gc, shutil
shutil.rmtree(os.environ["PYVARS_SHARE"])
until(lambda: page()["pyvars.workers"]["shared"])
gc.collect()
print(json.dumps([summary(page()), harm()]))
""",
        share,
    )
    assert lines == [[3, 1, 0, True, 3000], [], [[3, 1, 0], []]]


def test_a_program_that_closes_all_files_while_one_of_proc_is_read(share: Path) -> None:
    """At each place that reads a file of /proc, as another thread may do it at any moment."""
    lines = said(
        """
places, found = set(), []
def read(frame, event, what):
    if event == "c_return" and what.__name__ == "read" and "/pyvars/" in frame.f_code.co_filename:
        place = frame.f_code.co_name, frame.f_back.f_code.co_name, frame.f_back.f_back.f_code.co_name
        if place not in places:
            places.add(place)
            if taken: found.extend(harm())
            close()
sys.setprofile(read)
shown = summary(page())
sys.setprofile(None)
print(json.dumps([len(places) > 0, shown, found + harm()]))
""",
        share,
    )
    assert lines == [[True, [3, 1, 0], []]]


@pytest.mark.parametrize(
    "reads",
    [
        "from pyvars.runtime.cgroup import memory as read",
        "from pyvars.cli.reloaders import child_of_reloader as read; child = subprocess.Popen(['sleep', '60'])",
        "read = partial(token_file(sys.argv[1]).refusal, request); time.sleep(0.01); os.utime(sys.argv[1])",
    ],
)
def test_a_program_that_closes_all_files_while_another_one_is_read(reads: str, tmp_path: Path) -> None:
    """One of a control group, of a child process, or with tokens."""
    (tmp_path / "tokens").write_text("t" * 32)
    code = f"""
import os, subprocess, sys, time
from functools import partial
from pyvars.access import token_file
from pyvars.access.request import Request, deadline
{CLOSE}
authorization = ("authorization", "Bearer " + "t" * 32)
request = Request("GET", "/", "", None, "", (authorization,), "127.0.0.1", "1.1", deadline())
child = None
{reads}
places = set()
def during(frame, event, what):
    if event == "c_return" and what.__name__ == "read" and "/pyvars/" in frame.f_code.co_filename:
        if not places and frame.f_back.f_code.co_name != "stat_of":  # which is tried above
            places.add(frame)
            close()
sys.setprofile(during)
read()
sys.setprofile(None)
print(len(places), harm())
for each in sockets: each.detach()
if child:
    child.kill()
    child.wait()
"""
    assert output(code, str(tmp_path / "tokens")) == "1 []\n"


@pytest.mark.parametrize("which", ["all", "0", "1", "2", "3"])
def test_a_worker_whose_files_are_closed_while_a_sibling_reads(which: str, share: Path) -> None:
    """It stays live, with all its numbers; it answers its peers again; and its end is noticed.

    The program closes all files, or one of the lock, the socket and the pipe.
    """
    lines = said(
        """
def work():
    global orders, tell
    n.add(100)
    mine = sorted(numbers() - {*before, orders, order, told, tell})
    say("ready", len(mine))
    os.read(orders, 1)
    if sys.argv[1] == "all":
        orders, tell = os.dup2(orders, 300), os.dup2(tell, 301)
        close()
    else:
        close(mine[int(sys.argv[1])])
    say("closed")
    os.read(orders, 1)
    for number in range(3000): pyvars.publish(f"more {number}", pyvars.Int(1))
    n.add(1000)
    say(harm())
    while True: time.sleep(1)
pid = fork(work)
ready, count = hear()
os.write(order, b".")
seen = set()
def look(): seen.add(json.dumps(summary(page())))
look()
hear()
end = time.monotonic() + 1.5
while time.monotonic() < end: look()
os.write(order, b".")
harmed = hear()
print(json.dumps([count, sorted(seen), harmed, summary(page()), page().get("more 7")]))
until(lambda: page(query="worker=all").get(str(pid), {}).get("fresh") == pid)
os.kill(pid, signal.SIGKILL)
look()
os.waitpid(pid, 0)
print(json.dumps(summary(page())))
""",
        share,
        which,
    )
    assert lines == [[4, ["[103, 2, 0]"], [[]], [1103, 2, 0], 1], [1103, 1, 1]]


@pytest.mark.parametrize("closed", ["before the fork", "after it", "before and after it"])
def test_a_program_that_closes_all_files_around_a_fork(closed: str, share: Path) -> None:
    lines = said(
        """
def work():
    if "after" in sys.argv[1]: close()
    n.add(100)
    print(json.dumps(["child", summary(page()), harm()]), flush=True)
if "before" in sys.argv[1]: close()
for _ in range(2):
    os.waitpid(fork(work), 0)
    print(json.dumps(["parent", summary(page()), harm()]), flush=True)
""",
        share,
        closed,
    )
    assert lines == [
        ["child", [103, 2, 0], []],
        ["parent", [103, 1, 1], []],
        ["child", [203, 2, 1], []],
        ["parent", [203, 1, 2], []],
    ]


def test_a_worker_that_becomes_another_program_has_ended(share: Path) -> None:
    """After exec it has the same pid and start, but neither the files nor the memory of the worker."""
    lines = said(
        """
pyvars.publish("open", pyvars.Int(gauge=True)).set(1)
def work():
    n.add(100)
    pyvars.get("open").set(5)
    os.execv(sys.executable, [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"])
read, write = os.pipe()
def become():
    os.dup2(write, 1)
    work()
pid = fork(become)
os.read(read, 1)
print(json.dumps([*summary(page()), page()["open"]]))
os.kill(pid, signal.SIGKILL)
""",
        share,
    )
    assert lines == [[103, 1, 1, 1]]


@pytest.mark.parametrize("hidden", ["PermissionError", "FileNotFoundError"])
def test_a_worker_whose_memory_nobody_may_look_at(hidden: str, share: Path) -> None:
    """It counts as live while its process exists, even if that has lost its files; a zombie does not."""
    lines = said(
        """
def policy(event, about):
    if event == "open" and str(about[0]).endswith("/maps"): raise getattr(__builtins__, sys.argv[1])
sys.addaudithook(policy)
def work():
    n.add(100)
    os.closerange(3, tell)
    say("closed")
    time.sleep(60)
pid = fork(work)
hear()
print(json.dumps(summary(page())))
os.kill(pid, signal.SIGKILL)
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
print(json.dumps(summary(page())))
""",
        share,
        hidden,
    )
    assert lines == [[103, 2, 0] if hidden == "PermissionError" else [103, 1, 1], [103, 1, 1]]


def test_a_worker_without_room_that_closes_its_files(share: Path) -> None:
    """Its segment is empty, so it is not mapped; the worker counts as live nevertheless."""
    lines = said(
        """
import resource
def work():
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, 8))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    MEMBER.server.stop()
    MEMBER._leave_group()
    MEMBER._try_join()
    os.closerange(3, tell)
    say(MEMBER.error)
    time.sleep(60)
pid = fork(work)
error, = hear()
print(json.dumps([error, *summary(page())]))
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
print(json.dumps(summary(page())))
""",
        share,
    )
    assert lines == [["File too large", 3, 2, 0], [3, 1, 1]]


def test_standard_numbers_are_left_to_the_program(share: Path) -> None:
    """If a program runs without standard input, output and error, its files may get their descriptors."""
    code = f"""
import os
saved = os.dup(1)
os.closerange(0, 3)
{PAGE}{INTEGRATION}
page()
os.write(saved, json.dumps([os.path.exists(f"/proc/self/fd/{{each}}") for each in range(3)]).encode())
"""
    assert json.loads(output(code, PYVARS_SHARE=str(share))) == [False, False, False]


def test_a_python_without_ctypes_maps_files_all_the_same(share: Path) -> None:
    lines = said(
        """
sys.modules["ctypes"] = None
def work():
    n.add(100)
    print(json.dumps(summary(page())), flush=True)
os.waitpid(fork(work), 0)
print(json.dumps(summary(page())), flush=True)
""",
        share,
    )
    assert lines == [[103, 2, 0], [103, 1, 1]]


def test_a_question_that_a_peer_still_owes_an_answer(share: Path) -> None:
    """Its descriptor is that of a socket of the program by now, from which pyvars must not read."""
    lines = said(
        """
def work():
    n.add(100)
    say("up")
    time.sleep(60)
pid = fork(work)
hear()
os.kill(pid, signal.SIGSTOP)
asked = numbers()
page()
print(json.dumps(len(numbers() - asked)))
close()
for each in sockets: each.send(b"x")
for _ in range(3): page()
print(json.dumps([all(each.recv(9, socket.MSG_DONTWAIT) == b"x" for each in sockets), harm()]))
os.kill(pid, signal.SIGKILL)
""",
        share,
    )
    assert lines == [1, [True, []]]


def test_an_address_whose_file_was_closed_can_be_claimed_again(share: Path) -> None:
    lines = said(
        """
from pyvars.workers.membership.address import claim, release
told = [claim("127.0.0.1", 6060)]
close()
told.append(claim("127.0.0.1", 6060))
def work():
    print(json.dumps(claim("127.0.0.1", 6060)), flush=True)
os.waitpid(fork(work), 0)
close()
release("127.0.0.1", 6060)
print(json.dumps([told, harm()]))
""",
        share,
    )
    assert lines == [False, [[True, True], []]]


def test_files_that_are_not_as_they_should_be(share: Path) -> None:
    """A file that cannot be mapped is an error; a removed file keeps its lock; a replaced file counts as removed."""
    path = str(share / "file")
    with OwnFile.open(path, os.O_RDWR | os.O_CREAT) as file:
        assert file.is_at(path)
        assert not file.is_at(f"{path} of another name")
        with OwnFile.open(str(share), os.O_RDONLY) as other:
            assert not file.is_same(other)
    with OwnFile.open(path, os.O_RDONLY) as file, pytest.raises(PermissionError):
        mapped(file, 0, 65536)
    assert not file.is_intact
    with pytest.raises(OSError, match="Bad file descriptor"):
        file.number
    assert not has_lost_lock(str(share), f"w-{os.getpid()}-1-abcdef01")
    ours = OwnSocket(socket.socket())
    ours.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        ours.socket


def test_a_segment_that_another_file_has_replaced(share: Path) -> None:
    """The worker makes a new segment; the other file stays unchanged."""
    lines = said(
        """
from pathlib import Path
path = os.path.join(os.environ["PYVARS_SHARE"], MEMBER.name)
close()
os.rename(path, path + "0")
with open(path, "w") as file: file.write("of another program")
MEMBER._segment.restore()
lost = MEMBER._segment.is_lost
print(json.dumps([lost, page()["n"], page()["pyvars.workers"]["live"], harm(), Path(path).read_text()]))
""",
        share,
    )
    assert lines == [[True, 3, 1, [], "of another program"]]


def test_a_segment_whose_lock_a_peer_just_looks_at(share: Path) -> None:
    """The worker locks it again at the next attempt; only one thread does that."""
    lines = said(
        """
import subprocess
segment = MEMBER._segment
path = os.path.join(os.environ["PYVARS_SHARE"], MEMBER.name)
segment._restoring.acquire()  # before the peer looks at it nobody locks it again
close()
code = "import fcntl, sys; fcntl.lockf(file := open(sys.argv[1]), fcntl.LOCK_SH); print(flush=True); sys.stdin.read()"
command = [sys.executable, "-c", code, path]
with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as peer:
    peer.stdout.readline()
    segment.restore()
    segment._restoring.release()
    told = [segment.is_lost]
    segment.restore()
    told.append(segment.is_lost)
    peer.communicate()
until(lambda: segment.restore() or not segment.is_lost)
print(json.dumps([told, page()["n"], harm()]))
""",
        share,
    )
    assert lines == [[[True, True], 3, []]]


def test_a_pipe_that_is_closed_alone(share: Path) -> None:
    lines = said(
        """
stop = MEMBER.server._stop
close(stop.read.number)
until(lambda: MEMBER.server._stop is not stop and MEMBER.server.runs)
print(json.dumps([page()["n"], harm()]))
""",
        share,
    )
    assert lines == [[3, []]]


DAEMON = f"""
import daemon, os, sys
{PAGE}{CLOSE}
{INTEGRATION}
pyvars.publish("fresh", lambda: os.getpid())
n.add(3)
page()
out = os.dup(1)
with daemon.DaemonContext(files_preserve=[out], working_directory=os.getcwd()):
    take(64)
    for number in range(3000): pyvars.publish(f"more {{number}}", pyvars.Int(1))
    n.add(20)
    def work():
        n.add(4)
        found = page()
        os.write(out, (json.dumps([found["n"], found["pyvars.workers"]["live"], harm()]) + "\\n").encode())
        os._exit(0)
    pid = os.fork()
    if not pid: work()
    os.waitpid(pid, 0)
    found = page()
    told = [found["n"], found["pyvars.workers"], sum(found[f"more {{i}}"] for i in range(3000)), harm()]
    os.write(out, (json.dumps(told) + "\\n").encode())
"""


def test_python_daemon(share: Path) -> None:
    """It forks twice, ends the parents with os._exit, and closes all files."""
    command = [sys.executable, "-W", "error", "-c", DAEMON]
    environment = {**os.environ, "PYVARS_SHARE": str(share)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, env=environment, check=True)
    assert done.stderr == ""
    child, daemon = map(json.loads, done.stdout.splitlines())
    assert child == [27, 2, []]
    assert (daemon[0], *daemon[2:]) == (27, 3000, [])
    assert (daemon[1]["live"], daemon[1]["shared"], daemon[1]["reason"]) == (1, True, "")
