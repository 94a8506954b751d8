"""serve() in several workers of one program: the first serves, the others stand by and take over."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.programs import ROOT, UNMEASURED, output
from tests.services import free_port

# Children that each call serve() on the same port, and print a line with their pid and whether they serve.
PROGRAM = """
import json, os, signal, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: fork in a process with threads
import pyvars
port, workers, forks = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
n = pyvars.publish("n", pyvars.Int())
for number in range(workers):
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        server = pyvars.serve(port)
        n.add()
        if forks and (server.serving or forks == ["all"]) and os.fork() == 0:
            signal.alarm(60)
            while True: signal.pause()
        sys.stdout.write(json.dumps([os.getpid(), server.serving, server.url, repr(server)]) + "\\n")
        sys.stdout.flush()
        while True: signal.pause()
sys.stdin.read()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.killpg(0, signal.SIGTERM)
"""


@contextmanager
def workers(port: int, count: int, *more: str) -> Iterator[dict[int, bool]]:
    """Whether each worker serves, by pid."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(port), str(count), *more],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout
        try:
            lines = [json.loads(process.stdout.readline()) for _ in range(count)]
            assert {url for _, _, url, _ in lines} == {f"http://127.0.0.1:{port}"}
            assert {text for _, serving, _, text in lines if not serving} <= {
                f"<Server http://127.0.0.1:{port}, which does not serve>"
            }
            yield {pid: serving for pid, serving, _, _ in lines}
        finally:
            process.communicate()


def ask(port: int, path: str = "") -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/debug/vars{path}", timeout=30) as answer:
        return json.loads(answer.read())


def answered(port: int) -> Any:
    """The page, once a worker answers."""
    until = time.monotonic() + 60
    while True:
        try:
            return ask(port)
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.01)


def take_over(port: int, victim: int) -> int:
    """Kill the worker that serves. Returns the pid of the worker that answers next."""
    os.kill(victim, signal.SIGKILL)
    pid: int = answered(port)["process"]["pid"]
    return pid


def test_the_others_take_over_one_after_another() -> None:
    port = free_port()
    with workers(port, 3) as found:
        assert sorted(found.values()) == [False, False, True]
        serving = next(pid for pid, serves in found.items() if serves)
        assert ask(port)["n"] == 3
        gone = set()
        for _ in range(2):
            pid = take_over(port, serving)
            gone.add(serving)
            assert pid in found.keys() - gone
            serving = pid
            assert ask(port)["n"] == 3


def test_they_take_over_when_it_had_forked() -> None:
    """The child of the killed worker lives on, and has neither the address nor its lock."""
    port = free_port()
    with workers(port, 2, "serving") as found:
        pid = take_over(port, next(pid for pid, serves in found.items() if serves))
        assert found[pid] is False


def test_they_take_over_when_they_had_forked() -> None:
    """A fork pauses the thread that stands by; it continues afterwards."""
    port = free_port()
    with workers(port, 2, "all") as found:
        pid = take_over(port, next(pid for pid, serves in found.items() if serves))
        assert found[pid] is False


def test_a_stranger_on_the_port_is_an_error() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "import pyvars, sys; print(pyvars.serve(0).port, flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as stranger:
        assert stranger.stdout
        port = int(stranger.stdout.readline())
        code = f"""
import pyvars
try: pyvars.serve({port})
except OSError as error: print(error.errno, error.__notes__)
"""
        assert output(code) == "98 ['another program may have the port; port 0 takes a free one']\n"
        stranger.communicate()


def test_the_same_process_cannot_serve_an_address_twice() -> None:
    code = """
import pyvars
from tests.services import free_port
first = pyvars.serve(free_port())
with pyvars.serve(0): pass
for _ in range(2):
    try: pyvars.serve(first.port)
    except OSError as error: print(error.errno)
first.close()
with pyvars.serve(first.port) as again: print(again.serving)
print(again.serving)
"""
    assert output(code) == "98\n98\nTrue\nFalse\n"


def test_who_tries_twice_keeps_the_address() -> None:
    """Another worker of the group still stands by."""
    code = """
import os, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: fork in a process with threads
import pyvars
from tests.services import free_port
first = pyvars.serve(free_port())
try: pyvars.serve(first.port)
except OSError as error: print(error.errno, flush=True)
pid = os.fork()
if not pid:
    with pyvars.serve(first.port) as other: print(other.serving, flush=True)
    os._exit(0)
os.waitpid(pid, 0)
"""
    assert output(code, **UNMEASURED) == "98\nFalse\n"


def test_of_two_that_stand_by_in_one_process_one_takes_over() -> None:
    code = """
import os, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: fork in a process with threads
import pyvars
from pyvars import server
from tests.services import free_port
claim, asked = server.claim, []
def counted(*about):
    asked.append(about)
    return claim(*about)
server.claim = counted
first = pyvars.serve(free_port())
told = os.pipe()
pid = os.fork()
if not pid:
    both = [pyvars.serve(first.port), pyvars.serve(first.port)]
    os.write(told[1], b"x")
    until = time.monotonic() + 50
    while not any(each.serving for each in both) and time.monotonic() < until:
        time.sleep(0.01)
    before = len(asked)
    while len(asked) < before + 2 and time.monotonic() < until:  # the other one goes on
        time.sleep(0.01)
    print(sorted(each.serving for each in both), flush=True)
    for each in both: each.close()
    os._exit(0)
os.read(told[0], 1)
first.close()
os.waitpid(pid, 0)
"""
    assert output(code) == "[False, True]\n"


def test_an_address_that_is_free_of_workers_but_not_of_others(tmp_path: Path) -> None:
    """As if a child of the worker that served, such as a program that it started, still has the port open."""
    tmp_path.chmod(0o700)
    code = """
import sys, pyvars
port = int(sys.argv[1])
def tell(event, about):
    if event == "socket.bind" and about[1][1:] == (port,):
        print("tries", flush=True)
server = pyvars.serve(port)
print(server.serving, flush=True)
sys.addaudithook(tell)
sys.stdin.read()
print(server.serving, flush=True)
"""
    port = free_port()
    with socket.create_server(("127.0.0.1", port)) as other:
        with (tmp_path / f"p-{port}-127.0.0.1").open("w") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX)  # as the worker that serves
            with subprocess.Popen(
                [sys.executable, "-c", code, str(port)],
                cwd=ROOT,
                env={**os.environ, "PYVARS_SHARE": str(tmp_path)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            ) as process:
                assert process.stdout
                assert process.stdout.readline() == "False\n"
                fcntl.lockf(lock, fcntl.LOCK_UN)
                for _ in range(2):
                    assert process.stdout.readline() == "tries\n"
                other.close()
                assert answered(port)["pyvars.workers"]["live"] == 1
                assert process.communicate("")[0].endswith("True\n")


def test_a_directory_in_place_of_the_lock_of_an_address(tmp_path: Path) -> None:
    """Then only the system decides which process has the address."""
    tmp_path.chmod(0o700)
    port = free_port()
    (tmp_path / f"p-{port}-127.0.0.1").mkdir()
    code = f"import pyvars\nwith pyvars.serve({port}) as server: print(server.serving)"
    assert output(code, PYVARS_SHARE=str(tmp_path)) == "True\n"


def test_one_that_stands_by_can_be_closed_and_ends_with_its_process() -> None:
    code = """
import os, threading, pyvars
from tests.services import free_port
port = free_port()
reader, writer = os.pipe()
ended, end = os.pipe()
if os.fork() == 0:
    os.close(end)
    server = pyvars.serve(port)
    os.write(writer, b".")
    os.read(ended, 1)
    os._exit(0)
os.read(reader, 1)
server = pyvars.serve(port)
print(server.serving, any(thread.name == "pyvars-standby" for thread in threading.enumerate()))
server.close()
server.close()
print(any(thread.name == "pyvars-standby" for thread in threading.enumerate()))
pyvars.serve(port)  # and is left to the exit
os.close(end)
"""
    assert output(code) == "False True\nFalse\n"


def test_a_child_has_nothing_of_the_parents_side_port() -> None:
    """No thread, no listener and no connection; closing it in the child does not affect the parent."""
    code = """
import contextlib, http.client, os, warnings
from pathlib import Path
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: fork in a process with threads
import pyvars
server = pyvars.serve(0)
connection = http.client.HTTPConnection("127.0.0.1", server.port)
connection.request("GET", "/debug/vars/orders")
connection.getresponse().read()
mine = {connection.sock.fileno()}
if os.fork() == 0:
    held = []
    for fd in set(map(int, os.listdir("/proc/self/fd"))) - mine:
        with contextlib.suppress(FileNotFoundError):  # the directory's own
            link = os.readlink(f"/proc/self/fd/{fd}")
            if link.startswith("socket:") and link[8:-1] in Path("/proc/self/net/tcp").read_text():
                held.append(link)
    print(held, server.serving, flush=True)
    server.close()
    os._exit(0)
os.wait()
connection.request("GET", "/debug/vars/orders")
print(connection.getresponse().status)
connection.close()
"""
    assert output(code) == "[] False\n404\n"
