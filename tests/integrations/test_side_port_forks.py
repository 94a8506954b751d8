"""The side port of a program that forks: its thread ends before the fork, and no client notices that.

Python 3.12 and later warn of a fork if the process has several threads once its fork hooks have run. The programs here
count them themselves, so that this is tested with any Python.
"""

import pytest

from tests.integrations.test_side_port_thread import ALONE, TOOLS
from tests.programs import output

FORK = f"""
{TOOLS}
import warnings
hooked = []
def names(): return [thread.name for thread in threading.enumerate()]
def fork():
    pid = os.fork()
    if not pid: os._exit(0)
    os.waitpid(pid, 0)
def hook(): hooked.append((len(os.listdir("/proc/self/task")), server.serving))
os.register_at_fork(before=lambda: None, after_in_parent=hook)
asked, go_on = threading.Event(), threading.Event()
def settled(): return len(os.listdir("/proc/self/task")) == len(names())  # the system ends a thread a moment later
def ignored(): warnings.simplefilter("ignore", DeprecationWarning)  # for a program that has threads itself
def hang(request=None):
    asked.set()
    return go_on.wait()
def asking():
    def ask(): answers.append(status(server))
    thread = threading.Thread(target=ask)
    thread.start()
    asked.wait()
    return thread
answers = []
"""


def test_no_thread_is_there_when_the_hooks_have_run() -> None:
    """The connection of a client stays open, and a program that does nothing else continues to serve."""
    code = f"""
{FORK}
server = pyvars.serve(0)
connection = connected(server)
for _ in range(20):
    fork()
    assert ask(connection) == 200  # uvicorn closes a connection that is idle for 5 s
print(set(hooked), len(hooked), ask(connection), status(server), server.serving)
connection.close()
server.close()
print(server.serving, lines)
"""
    assert output(code, **ALONE) == "{(1, True)} 20 200 200 True\nFalse []\n"


def test_a_request_in_progress_goes_on_after_the_fork() -> None:
    code = f"""
{FORK}
ignored()
pyvars.publish("slow", hang)
server = pyvars.serve(0)
reader = asking()
fork()
go_on.set()
reader.join()
print(answers, server.serving, lines)
"""
    assert output(code, **ALONE) == "[200] True []\n"


def test_a_fork_does_not_wait_long_for_a_rule_that_hangs() -> None:
    """The rule may hang for any time; the next thread continues after that."""
    code = f"""
{FORK}
ignored()
from pyvars.sideport import thread
thread.PAUSE_SECONDS = 0.1
server = pyvars.serve(0, access=hang)
reader = asking()
fork()
thread.PAUSE_SECONDS = 20
fork()  # waits no more, since this is known to hang
print(server.serving, reader.is_alive())
go_on.set()
reader.join()
until(lambda: names().count("pyvars-server") == 1 and settled())
fork()
print(hooked[-1], answers, status(server), lines)
"""
    assert output(code, **ALONE) == "True True\n(1, True) [200] 200 []\n"


def test_a_rule_that_hangs_while_the_program_forks_and_closes_all_files() -> None:
    code = f"""
{FORK}
ignored()
from pyvars.sideport import thread
thread.PAUSE_SECONDS = 0.1
server = pyvars.serve(0, access=hang)
client = socket.create_connection(("127.0.0.1", server.port))
client.sendall(b"GET / HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
asked.wait()
fork()
client.detach()
os.closerange(3, 256)
go_on.set()
until(lambda: lines and "pyvars-server" not in names())
print(server.serving, len(lines))
"""
    assert output(code, **ALONE) == "False 1\n"


@pytest.mark.parametrize("where", ["a rule", "a function"])
def test_a_request_that_forks(where: str) -> None:
    """In the thread of the event loop, which cannot end before the fork, or in a thread of functions."""
    code = f"""
{FORK}
ignored()
def forks(request=None):
    fork()
    return True
if {where == "a rule"}:
    server = pyvars.serve(0, access=forks)
else:
    server = pyvars.serve(0)
    pyvars.publish("forks", forks)
print(status(server), status(server), hooked != [], server.serving, lines)
"""
    assert output(code, **ALONE) == "200 200 True True []\n"


def test_closing_it_in_a_hook() -> None:
    code = f"""
{FORK}
server = pyvars.serve(0)
os.register_at_fork(after_in_parent=server.close)
fork()
print(server.serving, names(), lines)
socket.create_server(("127.0.0.1", server.port)).close()
"""
    assert output(code, **ALONE).startswith("False ['MainThread'")


def test_no_thread_can_be_started_after_the_fork() -> None:
    """The log says so, and the address is free."""
    code = f"""
{FORK}
whole = threading.Thread.start
def refuse(thread):
    if thread.name == "pyvars-server": raise RuntimeError("can't start new thread")
    whole(thread)
server = pyvars.serve(0)
def refused(): threading.Thread.start = refuse
os.register_at_fork(after_in_parent=refused)
fork()
print(server.serving)
socket.create_server(("127.0.0.1", server.port)).close()
until(lambda: lines)
print(lines[0].partition(" has ended: ")[2], len(lines))
"""
    assert output(code, **ALONE) == "False\ncan't start new thread 1\n"


def test_a_large_page_leaves_no_thread_behind() -> None:
    """A thread compresses the page; a fork waits for this thread up to a limit."""
    code = f"""
{FORK}
ignored()
import gzip, zlib
whole = zlib.compress
zlib.compress = lambda *arguments: hang() and whole(*arguments)
for number in range(100): pyvars.publish(f"large {{number}}", pyvars.String("x" * 1000))
server = pyvars.serve(0)
connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=50)
connection.request("GET", "/debug/vars", headers={{"Accept-Encoding": "gzip"}})
asked.wait()
fork()
go_on.set()
print(len(gzip.decompress(connection.getresponse().read())) > 50_000)
connection.close()
until(lambda: not [name for name in names() if "AnyIO" in name] and settled())
fork()
print(hooked[-1])
"""
    assert output(code, **ALONE) == "True\n(1, True)\n"
