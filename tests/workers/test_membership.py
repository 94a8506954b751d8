"""A process as a member of its group: its directory, the permissions, a change of user, strangers on its socket."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import until
from tests.programs import ROOT, UNMEASURED, output, run
from tests.tools import tool
from tests.workers import group_of

# A program that has imported all that a page needs.
PAGE = """
import json, os, sys, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: fork in a process with threads
import pyvars
from pyvars.site.default import debug
from pyvars.access.request import Request, deadline
from pyvars.workers import MEMBER
n = pyvars.publish("n", pyvars.Int())
def ask(path="/debug/vars", query=""):
    return Request("GET", path, "", None, query, (("host", "localhost"),), "127.0.0.1", "1.1", deadline())
def page(path="/debug/vars", query=""):
    return json.loads(site.respond(ask(path, query)).body)
"""
INTEGRATION = 'site = debug(None, None, prefix="/debug")\n'
AS_NOBODY = pytest.mark.xdist_group("user nobody")  # one at a time: they share the directory of that user in /dev/shm
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may do that")


def said(code: str, **environment: str) -> Any:
    """The JSON in each line that the program prints."""
    return [json.loads(line) for line in output(PAGE + code, **environment).splitlines()]


@AS_ROOT
@AS_NOBODY
def test_children_that_become_another_user_find_each_other() -> None:
    """As the workers of a server whose master stays root: they are forked as root, and then become nobody."""
    lines = said(
        f"""
{INTEGRATION}
page()
n.add(1000)
pipes = []
for for_good in (True, False, True):
    reader, writer = os.pipe()
    orders, order = os.pipe()
    if os.fork() == 0:
        n.add()
        (os.setgid if for_good else os.setegid)(65534)
        (os.setuid if for_good else os.seteuid)(65534)
        n.add(10)
        os.write(writer, b"ready\\n")
        os.read(orders, 1)
        found = page()
        while found["pyvars.workers"]["live"] < 3: found = page()
        os.write(writer, (json.dumps([found["n"], found["pyvars.workers"], n.value]) + "\\n").encode())
        os.read(orders, 1)
        if not for_good: os.seteuid(0)
        os._exit(0)
    pipes.append((open(reader), order))
for pipe, _ in pipes: pipe.readline()
time.sleep(1)  # they notice it within this time where no page is asked for; here one of them answers at once
for pipe, order in pipes: os.write(order, b".")
for pipe, _ in pipes: print(pipe.readline().strip())
mine = page()
print(json.dumps([mine["n"], n.value]))
for pipe, order in pipes:
    os.write(order, b".")
    pipe.close()
    os.wait()
"""
    )
    status = group_of(3)
    assert lines[:3] == [[33, status, 11]] * 3
    assert lines[3] == [1000, 1000]  # they have left the directory that only root can read


@AS_ROOT
def test_without_shared_memory_the_runtime_directory_is_taken(tmp_path: Path) -> None:
    """And without that, the temporary directory."""
    tmp_path.chmod(0o700)
    code = f"{PAGE}{INTEGRATION}print(MEMBER.group.directory)"
    for variables in ({"XDG_RUNTIME_DIR": str(tmp_path)}, {"XDG_RUNTIME_DIR": "", "TMPDIR": str(tmp_path)}):
        shell = 'umount /dev/shm && rmdir /dev/shm; mount -t tmpfs -o ro none /dev/shm; exec "$@" 2>&1'
        done = subprocess.run(
            [tool("unshare"), "--mount", "sh", "-c", shell, "sh", sys.executable, "-c", code],
            env={**os.environ, **variables},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if "unshare" in done.stderr or "umount" in done.stderr:
            pytest.skip(f"this machine lets nobody mount: {done.stderr}")
        assert done.stdout.startswith(f"{tmp_path}/pyvars-0/g-")


def test_a_long_path_is_no_hindrance(tmp_path: Path) -> None:
    """The path of a socket has at most 107 bytes; that of a directory may be longer."""
    place = tmp_path / ("a" * 120)
    lines = said(
        f"""
{INTEGRATION}
ended, end = os.pipe()
if os.fork() == 0:
    os.close(end)
    n.add(5)
    os.read(ended, 1)
    os._exit(0)
while (found := page())["n"] < 5: pass
until = time.monotonic() + 30
while not all(answered := [each["answered"] for each in page("/debug/workers")["workers"]]):
    assert time.monotonic() < until  # a peer may be late
print(json.dumps([answered, sorted(os.listdir({str(place)!r}))]))
os.close(end)
os.wait()
""",
        PYVARS_SHARE=str(place),
        PYVARS_HISTORY="off",
    )
    answered, files = lines[0]
    assert answered == [True, True]
    assert [name[:2] for name in files] == ["s-", "s-", "w-", "w-"]


def test_strangers_on_the_socket_do_no_harm(tmp_path: Path) -> None:
    """Half a question, no question, a wrong one, one about an unknown registry, and a hundred at once."""
    with subprocess.Popen(
        [sys.executable, "-c", f"{PAGE}{INTEGRATION}n.add(3)\nprint(os.getpid(), flush=True)\nsys.stdin.read()"],
        cwd=ROOT,
        env={**os.environ, "PYVARS_SHARE": str(tmp_path / "here")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        process.stdout.readline()
        (path,) = (tmp_path / "here").glob("s-*")

        def talk(data: bytes) -> bytes:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(60)
                client.connect(str(path))
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                answer = b""
                with contextlib.suppress(ConnectionResetError):  # the worker closed it before it had read everything
                    while part := client.recv(65536):
                        answer += part
            return answer[16:]

        def told(data: bytes) -> bytes:
            """What it says; a busy machine may let a question come too late for an answer."""
            return until(lambda: talk(data), bool)

        page = json.loads(told(b'{"ask":"page","registry":"default","names":["n"],"seconds":1}\n'))
        assert page == {"n": 3}
        for nothing in (b"", b"{", b"\xff\xff\n", b"3\n", b"[]\n", b'{"ask":' + b"x" * 200_000 + b"\n"):
            assert talk(nothing) == b""
        assert json.loads(told(b'{"ask":"figures"}\n'))["in_flight"] == 0
        assert told(b'{"ask":"page","registry":"17"}\n') == b"null"
        assert json.loads(told(b'{"ask":"page","registry":"default","names":7,"seconds":"x"}\n'))["n"] == 3
        assert json.loads(told(b'{"ask":"values","registry":"default","names":["n","cmdline",3]}\n')) == {}
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(50)]
        for client in waiting:
            client.connect(str(path))
            with contextlib.suppress(ConnectionError):  # it has come too late
                client.sendall(b'{"ask":"page","registry":"default","names":["n"],"seconds":1}\n')
        answered = 0
        for client in waiting:
            client.settimeout(60)
            with client, contextlib.suppress(ConnectionError):
                answered += bool(client.recv(100))  # of too many at once some are sent away
        assert answered >= 4
        assert process.communicate("")[1] == ""


def test_numbers_of_registries_of_ones_own() -> None:
    """Registries are identified by the order of their integrations; if one is freed, its numbers vanish."""
    lines = said(
        """
import gc
one, two = pyvars.Registry(), pyvars.Registry()
a, b = one.publish("a", pyvars.Int()), two.publish("a", pyvars.Int())
both = pyvars.publish("both", pyvars.Map())
one.publish("both", both)
sites = [debug(one, None, prefix="/debug"), debug(two, None, prefix="/debug"), debug(None, None, prefix="/debug")]
reader, writer = os.pipe()
ended, end = os.pipe()
if os.fork() == 0:
    os.close(end)
    a.add(1); b.add(2); both.add("x", 5); both.add("x", 0.5)
    os.write(writer, b".")
    os.read(ended, 1)
    os._exit(0)
os.read(reader, 1)
both.add("x", 1)
for site in sites: print(json.dumps(page(query="name=a&name=both")))
print(json.dumps(page("/debug/vars/both")))
del one, a, sites[0], site
gc.collect()
site = sites[-1]
print(json.dumps(page("/debug/vars/both")))
pyvars.delete("both")
print(json.dumps(page("/debug/vars/both")))
os.close(end)
os.wait()
print(json.dumps("both" in page()))
"""
    )
    first, second, default, *rest = lines
    assert first == {"a": 1, "both": {"x": 6.5}}
    assert second == {"a": 2}
    assert default["both"] == {"x": 6.5}
    assert rest == [{"x": 6.5}, {"x": 6.5}, {"x": 5.5}, False]


def test_a_registry_that_goes_while_there_is_a_page_of_another() -> None:
    """As if garbage were collected at that moment: here at each step in which the page looks up its registry."""
    lines = said(
        f"""
others = [pyvars.Registry() for _ in range(3)]
sites = [debug(other, None, prefix="/debug") for other in others]
{INTEGRATION}
def collect(frame, event, _):
    if event == "c_call" and frame.f_code is MEMBER.registry_key.__func__.__code__:
        del sites[:], others[:]
sys.setprofile(collect)
found = page()["n"]
sys.setprofile(None)
print(json.dumps([found, others]))
"""
    )
    assert lines == [[0, []]]


def test_a_function_that_returns_no_number_combines_to_its_own() -> None:
    lines = said(
        f"""
pyvars.publish("text", lambda: "mine" if parent == os.getpid() else 3, combine="sum")
nested = pyvars.publish("nested", pyvars.Registry())
nested.publish("level", lambda: {{"a": 1, "b": "text", os.getpid(): 2}}, combine="max")
pyvars.publish("raises", lambda: 1 / 0 if parent != os.getpid() else 4, combine="sum")
parent = os.getpid()
import logging; logging.disable()
{INTEGRATION}
reader, writer = os.pipe()
ended, end = os.pipe()
if os.fork() == 0:
    os.close(end)
    os.write(writer, b".")
    os.read(ended, 1)
    os._exit(0)
os.read(reader, 1)
until = time.monotonic() + 30
while list((found := page())["pyvars.errors"]) != ["raises"]: assert time.monotonic() < until  # another may be late
print(json.dumps([found["text"], sorted(found["nested"]["level"].values(), key=str), found["raises"]]))
os.close(end)
os.wait()
"""
    )
    assert lines == [["mine", [1, 2, 2, "text"], None]]  # the last one is never the number of one worker alone


@pytest.mark.parametrize("place", ["missing/there", "/proc/nowhere"])
def test_a_place_that_cannot_be_is_reported(place: str, tmp_path: Path) -> None:
    (found,) = said(f"{INTEGRATION}n.add()\nprint(json.dumps(page()))", PYVARS_SHARE=str(tmp_path / place))
    assert found["n"] == 1
    assert found["pyvars.workers"]["shared"] is False
    assert "No such file or directory" in found["pyvars.workers"]["reason"]


def test_a_fork_in_the_middle_of_a_publish() -> None:
    """The child starts with the variables that are published."""
    code = """
import signal
def fork(*_):
    signal.setitimer(signal.ITIMER_REAL, 0)
    pid = os.fork()
    if pid == 0:
        n.add()
        good = page()["n"] >= 1 and n.value == 1
        os._exit(0 if good else 1)
    results.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
signal.signal(signal.SIGALRM, fork)
results = []
number = 0
while len(results) < 20:
    signal.setitimer(signal.ITIMER_REAL, 0.0005)
    before = len(results)
    while len(results) == before:
        number += 1
        pyvars.publish(f"v{number % 50}", pyvars.Int()); pyvars.delete(f"v{number % 50}")
print(json.dumps(results))
"""
    # Without coverage, whose lock the signal handler would find held by its own thread.
    assert said(INTEGRATION + code, **UNMEASURED) == [[0] * 20]


def test_a_program_may_end_while_it_counts() -> None:
    """Threads may publish while the interpreter shuts down."""
    code = """
import threading
def work():
    number = 0
    while True:
        number += 1
        name = f"{threading.get_ident()} {number}"
        pyvars.publish(name, pyvars.Int()); pyvars.delete(name)
for _ in range(3): threading.Thread(target=work, daemon=True).start()
time.sleep(0.05)
print(json.dumps(page()["n"]))
"""
    # Without coverage, which would compete with these threads for the GIL while it saves its data.
    done = run(PAGE + INTEGRATION + code, check=False, **UNMEASURED)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


def test_what_is_published_after_the_end_is_left_alone() -> None:
    """So is a registry that is freed after the names of its module."""
    code = """
import atexit, pyvars
atexit.register(lambda: print(len(pyvars.publish("late", pyvars.Map()))))
from pyvars.asgi import DebugApp
DebugApp()
"""
    assert output(code) == "0\n"


def test_the_figures_of_the_group_are_there_without_a_page(tmp_path: Path) -> None:
    """For example for a program that logs them: they are current, even if no page was rendered for a while."""
    tmp_path.chmod(0o700)
    code = f"""
{INTEGRATION}
until = time.monotonic() + 30
while not MEMBER.group.is_alone():  # which is sure once nothing has changed for a tenth of a second
    assert time.monotonic() < until
    page()
time.sleep(0.2)  # longer than what a page has read is used again
print(json.dumps(pyvars.get("pyvars.workers").snapshot()))
"""
    expected = group_of(1)
    assert said(code, PYVARS_SHARE=str(tmp_path)) == [expected]
