"""The thread of the side port: it serves once serve() returns, or serve() raises; and the log says when it ends."""

import pytest

from tests.programs import output

ALONE = {"PYVARS_SHARE": "off"}
"""Without sharing, since these programs close all files."""

TOOLS = """
import asyncio, contextlib, gc, http.client, logging, os, socket, sys, threading, time
import pyvars

class Log(logging.Handler):
    def emit(self, record):
        if "is null on the page" not in record.getMessage():  # a function that a busy machine lets wait
            lines.append(record.getMessage())
lines = []
logging.getLogger("pyvars").addHandler(Log())

def until(true):
    end = time.monotonic() + 50
    while not true():
        assert time.monotonic() < end, lines
        time.sleep(0.01)

def ask(connection):
    connection.request("GET", "/debug/vars")
    answer = connection.getresponse()
    answer.read()
    return answer.status

def connected(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=50)
    assert ask(connection) == 200
    return connection

def status(server):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=50)) as connection:
        return ask(connection)
"""

PATCHES = {
    "nest_asyncio": "import nest_asyncio; loop = asyncio.new_event_loop(); nest_asyncio.apply(loop); loop.close()",
    "asyncio.run": "asyncio.run = asyncio.Runner.run = broken",
    "the default loop": "asyncio.SelectorEventLoop.run_forever = asyncio.SelectorEventLoop.run_until_complete = broken",
    "the policy": "asyncio.set_event_loop_policy(Policy())",
}


@pytest.mark.parametrize("patch", PATCHES)
def test_it_serves_whatever_a_program_does_to_asyncio(patch: str) -> None:
    code = f"""
import asyncio, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # 3.14: policies
def broken(*_, **__): raise TypeError("patched")
class Policy(asyncio.DefaultEventLoopPolicy): new_event_loop = broken
{PATCHES[patch]}
{TOOLS}
server = pyvars.serve(0)
print(server.serving, status(server))
server.close()
print(server.serving)
"""
    assert output(code) == "True 200\nFalse\n"


def test_serve_raises_what_kept_it_from_serving() -> None:
    """And it releases the address, and closes its files."""
    code = f"""
{TOOLS}
from tests.services import free_port
port = free_port()
def broken(*_): raise ZeroDivisionError("patched")
with pyvars.serve(0): pass  # the thread pyvars-workers and its pipe begin with the first one, and stay
files, threads = set(os.listdir("/proc/self/fd")), threading.enumerate()
whole, asyncio.BaseEventLoop.run_forever = asyncio.BaseEventLoop.run_forever, broken
for number in (port, 0):
    try: pyvars.serve(number)
    except ZeroDivisionError as error: print(error)
print(files ^ set(os.listdir("/proc/self/fd")), threading.enumerate() == threads, lines)
asyncio.BaseEventLoop.run_forever = whole
print(status(pyvars.serve(port)))
"""
    assert output(code, **ALONE) == "patched\npatched\nset() True []\n200\n"


def test_serve_does_not_wait_for_ever() -> None:
    code = f"""
{TOOLS}
from pyvars.sideport import http as sideport
sideport.START_SECONDS = sideport.STOP_SECONDS = 0.1
from tests.services import free_port
port, go_on = free_port(), threading.Event()
whole = asyncio.BaseEventLoop.run_forever
asyncio.BaseEventLoop.run_forever = lambda self: go_on.wait() and whole(self)
try: pyvars.serve(port)
except TimeoutError as error: print(error)
asyncio.BaseEventLoop.run_forever = whole
sideport.START_SECONDS = 20
server = pyvars.serve(port)
go_on.set()  # the first thread finds its listener closed, and ends
until(lambda: sum(thread.name == "pyvars-server" for thread in threading.enumerate()) == 1)
print(status(server), lines)
"""
    assert output(code, **ALONE) == "the side port does not accept connections after 0.1 seconds\n200 []\n"


def test_one_that_stands_by_and_cannot_serve_says_so() -> None:
    """It makes no further attempt, and the address is free."""
    code = f"""
{TOOLS}
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: fork in a process with threads
from tests.services import free_port
first = pyvars.serve(free_port())
told = os.pipe()
pid = os.fork()
if not pid:
    def broken(*_): raise ZeroDivisionError("patched")
    asyncio.BaseEventLoop.run_forever = broken
    server = pyvars.serve(first.port)
    os.write(told[1], b"x")
    until(lambda: lines)
    print(lines, server.serving, flush=True)
    socket.create_server(("127.0.0.1", first.port)).close()
    server.close()
    os._exit(0)
os.read(told[0], 1)
first.close()
print(os.waitpid(pid, 0)[1])
"""
    said = output(code).splitlines()
    assert said[0].startswith("['the side port at http://127.0.0.1:")
    assert said[0].endswith(" has ended: patched'] False")
    assert said[1] == "0"


def test_it_serves_while_connections_come_and_go() -> None:
    code = f"""
{TOOLS}
server = pyvars.serve(0)
sys.setswitchinterval(1e-5)
told = set()
def look():
    while not over: told.add(server.serving)
over = []
thread = threading.Thread(target=look)
thread.start()
for _ in range(100): assert status(server) == 200
over.append(True)
thread.join()
print(told)
server.close()
"""
    assert output(code) == "{True}\n"


def test_a_program_that_closes_all_files() -> None:
    """As a daemon does. Files that then get the same descriptors are neither read, written nor closed.

    The program can close the side port before it has bound its address again.
    """
    code = f"""
{TOOLS}
server = pyvars.serve(0)
connection = connected(server)
os.closerange(3, 256)
print(server.serving)
connection.sock.detach()
pairs = [socket.socketpair() for _ in range(30)]
for one, other in pairs: other.setblocking(False); one.send(b"mine")
until(lambda: lines)
server.close()
del server
gc.collect()
for one, other in pairs:
    assert other.recv(9) == b"mine"
    try: print(one.setblocking(False), one.recv(9))
    except BlockingIOError: pass
for each in sum(pairs, ()): each.close()
print(lines[0].partition(" binds its address again: ")[2], len(lines))
"""
    assert output(code, **ALONE) == "False\n[Errno 9] the program has closed its files 1\n"


def test_closing_it_after_the_program_has_closed_its_files() -> None:
    """At once, mostly before the thread notices: nothing is written to the file that has the descriptor of its pipe."""
    code = f"""
{TOOLS}
server = pyvars.serve(0)
os.closerange(3, 256)
pairs = [socket.socketpair() for _ in range(30)]
server.close()
until(lambda: not any(thread.name == "pyvars-server" for thread in threading.enumerate()))
for each in sum(pairs, ()):
    each.setblocking(False)
    try: print(each.recv(9))
    except BlockingIOError: pass
for each in sum(pairs, ()): each.close()
print(all("closed its files" in line for line in lines))
"""
    assert output(code, **ALONE) == "True\n"


def test_a_child_that_closes_all_files() -> None:
    """Its copies of the listener and of connections are closed only once, and not again when they are freed."""
    code = f"""
{TOOLS}
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: fork in a process with threads
server = pyvars.serve(0)
connection = connected(server)
before = len(os.listdir("/proc/self/fd"))
pid = os.fork()
if not pid:
    print(before - len(os.listdir("/proc/self/fd")), flush=True)  # two listeners, two ends of a pipe, a connection
    os.closerange(3, 256)
    connection.sock.detach()
    files = [os.open("/dev/null", os.O_WRONLY) for _ in range(30)]
    server.close()
    del server
    gc.collect()
    for file in files: os.write(file, b"x")
    os._exit(0)
print(os.waitpid(pid, 0)[1])
print(ask(connection), lines)
connection.close()
"""
    assert output(code, **ALONE) == "5\n0\n200 []\n"


def test_closing_never_hangs() -> None:
    """If an access rule does not return, the thread cannot end; the address is free nevertheless."""
    code = f"""
{TOOLS}
from pyvars.sideport import http as sideport
sideport.STOP_SECONDS = 0.2
asked, go_on = threading.Event(), threading.Event()
def rule(request):
    asked.set()
    return go_on.wait()
server = pyvars.serve(0, access=rule)
reader = threading.Thread(target=lambda: print(status(server)))
reader.start()
asked.wait()
server.close()
socket.create_server(("127.0.0.1", server.port)).close()
print(server.serving, reader.is_alive())
go_on.set()
reader.join()
"""
    assert output(code, **ALONE).startswith("False True\n")


def test_it_can_be_closed_in_its_own_thread() -> None:
    code = f"""
{TOOLS}
server = pyvars.serve(0, access=lambda request: server.close() or True)
print(status(server), server.serving)
"""
    assert output(code, **ALONE) == "200 False\n"


def test_a_request_that_takes_too_long_is_cancelled_when_it_is_closed() -> None:
    """Its task ends before the event loop, so that asyncio logs no error."""
    code = f"""
{TOOLS}
from pyvars.sideport.http import HTTPServer
logging.disable()  # of uvicorn
asked = threading.Event()
async def application(scope, receive, send):
    asked.set()
    try: await asyncio.Event().wait()
    finally:
        print("cancelled")
        await asyncio.sleep(60)
server = HTTPServer(application, print, print)
listener = socket.create_server(("127.0.0.1", 0))
address = listener.getsockname()
server.start(listener, None)
with socket.create_connection(address) as client:
    client.sendall(b"GET / HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    asked.wait()
    server.stop()
print(server.runs)
"""
    assert output(code, **ALONE) == "cancelled\nFalse\n"
