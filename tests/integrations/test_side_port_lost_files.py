"""Programs that close all files, those of the side port among them, and get their numbers for files of their own.

The side port binds its address again, and no file of the program is read, written to or closed.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integrations.test_side_port_forks import FORK
from tests.integrations.test_side_port_thread import ALONE, TOOLS
from tests.programs import ROOT, output
from tests.services import free_port
from tests.tools import library
from tests.workers.test_closed_files import CLOSE

SERVE = f"""
{TOOLS}{CLOSE}
def served():
    until(lambda: server.serving)
    return [status(server), server.port == port, harm()]
"""
SERVED = [200, True, []]


@pytest.mark.parametrize("asked", ["the port that it had", "any"])
@pytest.mark.parametrize("share", ["shared", "off"])
def test_it_begins_anew_each_time(asked: str, share: str, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir(mode=0o700)
    code = f"""
import json
{SERVE}
server = pyvars.serve({0 if asked == "any" else free_port()})
port = server.port
for _ in range(2):
    close()
    print(json.dumps([server.serving, *served()]))
server.close()
print(json.dumps([server.serving, harm()]))
print([line.replace(server.url, "URL") for line in lines])
"""
    said = output(code, PYVARS_SHARE=share if share == "off" else str(tmp_path / share)).splitlines()
    assert [json.loads(line) for line in said[:3]] == [[False, *SERVED], [False, *SERVED], [False, []]]
    assert said[3] == str(
        2 * ["the side port at URL stops, and binds its address again: [Errno 9] the program has closed its files"]
    )


@pytest.mark.parametrize("which", range(4))
def test_one_of_its_sockets_is_closed(which: int) -> None:
    """The listener, the socket at which children ask for the address, or an end of the pipe that wakes it."""
    code = f"""
{SERVE}
with pyvars.serve(0): pass  # the thread pyvars-workers and its pipe begin with the first one, and stay
before = numbers()
server = pyvars.serve(0)
port = server.port
ours = sorted(numbers() - before)
close(ours[{which}])
print(len(ours), server.serving, served(), len(lines))
"""
    # Without the history, whose file comes in between.
    assert output(code, **ALONE, PYVARS_HISTORY="off") == f"4 False {SERVED} 1\n"


def test_an_unchanged_program(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "program.py").write_text(f"""
import http.client, os, sys, time
{CLOSE}
def answers():
    connection = http.client.HTTPConnection("127.0.0.1", {port}, timeout=20)
    try:
        connection.request("GET", "/debug/vars")
        answer = connection.getresponse()
        return answer.read() and answer.status
    except OSError: return 0
    finally: connection.close()
for _ in range(2):
    close()
    print(until(answers), harm())
""")
    command = [sys.executable, "-W", "error", "-m", "pyvars", "--port", str(port), str(tmp_path / "program.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.stdout == "200 []\n200 []\n", done.stderr


@pytest.mark.parametrize("detach", [True, False])
def test_a_daemon(detach: bool, tmp_path: Path) -> None:
    """Below systemd it does not fork. Where it does, it serves itself: a child has no side port."""
    library("daemon", "python3-daemon")
    (tmp_path / "shared").mkdir(mode=0o700)
    code = f"""
import daemon, json
{SERVE}
port = {free_port()}
server = pyvars.serve(port)
out = os.dup2(1, 300)
with daemon.DaemonContext(detach_process={detach}, files_preserve=[out], working_directory=os.getcwd()):
    if {detach}: server = pyvars.serve(port)
    take(64)
    told = [served()]
    close()
    told.append(served())
    os.write(out, json.dumps(told).encode())
"""
    environment = {**os.environ, "PYVARS_SHARE": str(tmp_path / "shared")}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, env=environment)
    assert done.stderr == ""
    assert json.loads(done.stdout) == [SERVED, SERVED]


def test_files_that_are_closed_while_a_rule_of_the_program_runs() -> None:
    """The response is not sent into what has the number of the connection by then."""
    code = f"""
{SERVE}
asked, go_on = threading.Event(), threading.Event()
def rule(request):
    asked.set()
    return go_on.wait()
server = pyvars.serve(0, access=rule)
port = server.port
clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
for client in clients: client.sendall(b"GET / HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
asked.wait()
for client in clients: client.detach()
close()
for each in sockets: each.send(b"of the program")
go_on.set()
until(lambda: lines)
for each in sockets: assert each.recv(99, socket.MSG_DONTWAIT) == b"of the program"
print(served())
"""
    assert output(code, **ALONE) == f"{SERVED}\n"


def test_an_address_that_another_one_has_meanwhile() -> None:
    code = f"""
{SERVE}
server = pyvars.serve(0)
port, tries = server.port, []
close()
def bound():
    try: return socket.create_server(("127.0.0.1", port))
    except OSError: return None  # the thread has not noticed yet
other = until(bound)
sys.addaudithook(lambda event, about: event == "socket.bind" and about[1][1:] == (port,) and tries.append(1))
until(lambda: len(tries) > 1)
print(server.serving)
other.close()
print(served(), len(lines))
"""
    assert output(code, **ALONE) == f"False\n{SERVED} 1\n"


def test_files_that_are_closed_again_while_it_begins_anew() -> None:
    code = f"""
{SERVE}
server = pyvars.serve(0)
port, more = server.port, [1]
def again(frame, event, what):
    starts = event == "c_call" and what.__name__ in ("start_new_thread", "start_joinable_thread")
    if starts and threading.current_thread().name == "pyvars-standby" and more:
        more.clear()
        close()
threading.setprofile(again)
close()
until(lambda: not more)
print(served(), len(lines))
"""
    assert output(code, **ALONE) == f"{SERVED} 2\n"


def test_a_fork_before_it_has_begun_anew() -> None:
    """No thread of it is there meanwhile; afterwards it begins in the parent, and not in the child."""
    code = f"""
{FORK}{CLOSE}
server = pyvars.serve(0)
port = server.port
close()
until(lambda: "pyvars-standby" in names() and not {{"pyvars-server", "pyvars-log"}} & {{*names()}} and settled())
for _ in range(2): fork()
print({{threads for threads, _ in hooked}})
until(lambda: server.serving)
print(status(server), harm(), names().count("pyvars-server"), len(lines))
"""
    assert output(code, **ALONE) == "{1}\n200 [] 1 1\n"


def test_no_thread_can_be_started_to_begin_anew() -> None:
    code = f"""
{SERVE}
whole = threading.Thread.start
def refuse(thread):
    if thread.name == "pyvars-standby": raise RuntimeError("can't start new thread")
    whole(thread)
server = pyvars.serve(0)
threading.Thread.start = refuse
close()
until(lambda: lines)
server.close()
print(lines[0].partition(" has ended: ")[2], len(lines), server.serving, harm())
"""
    assert output(code, **ALONE) == "can't start new thread 1 False []\n"
