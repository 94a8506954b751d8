"""The threads of pyvars and forks: they end before a fork, and start again soon after it.

Python 3.12 and later warn of a fork if the process has several threads once its fork hooks have run. The programs here
count them themselves, so that this is tested with any Python.
"""

import json
import sys

import pytest

from tests.programs import output
from tests.workers.test_membership import INTEGRATION, PAGE

COUNT = f"""
{PAGE}
import threading
from pyvars.collect import background, calls
from pyvars.workers.asking import server
background.JOIN_SECONDS = calls.JOIN_SECONDS = server.JOIN_SECONDS = 30  # a busy machine may let a thread wait to end
warnings.simplefilter("error")
hooked = []
{INTEGRATION}
pyvars.publish("of a function", lambda: 5)
page()
page()
def count(): hooked.append(len(os.listdir("/proc/self/task")))
def names(): return [thread.name for thread in threading.enumerate()]
def value():
    until(lambda: page()["of a function"] is not None)
    return page()["of a function"]
def until(true):
    end = time.monotonic() + 30
    while not true(): assert time.monotonic() < end; time.sleep(0.01)
def fork():
    pid = os.fork()
    if not pid: os._exit(0)
    os.waitpid(pid, 0)
os.register_at_fork(before=lambda: None, after_in_parent=count)
"""


def said(code: str) -> list[object]:
    return [json.loads(line) for line in output(COUNT + code).splitlines()]


def test_no_thread_is_there_when_the_hooks_have_run() -> None:
    """Even if a hook of the program runs after those of pyvars. A program that only sleeps gets the thread again."""
    lines = said(
        """
for _ in range(20): fork()
until(lambda: "pyvars-workers" in names())
print(json.dumps([hooked, value()]))
"""
    )
    assert lines == [[[1] * 20, 5]]


def test_several_forks_at_once_from_threads_of_the_program() -> None:
    lines = said(
        """
warnings.simplefilter("ignore")  # these threads are the program's own
threads = [threading.Thread(target=fork) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
until(lambda: "pyvars-workers" in names())
print(json.dumps([len(hooked), names().count("pyvars-workers")]))
"""
    )
    assert lines == [[8, 1]]


@pytest.mark.parametrize("module", ["ctypes", ""])
def test_threads_come_back_in_the_hook_if_they_cannot_come_later(module: str) -> None:
    lines = said(
        f"""
warnings.simplefilter("ignore")
sys.modules[{module!r}] = None
fork()
until(lambda: "pyvars-workers" in names())
print(json.dumps(hooked == [1] or {bool(module)}))
"""
    )
    assert lines == [True]


def test_threads_come_back_with_a_page_if_nothing_else_brings_them() -> None:
    """Here a hook in C has filled the queue of pending calls of the main thread."""
    lines = said(
        """
import ctypes
from functools import partial
from itertools import repeat
add = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.py_object)(("Py_AddPendingCall", ctypes.pythonapi))
true = ctypes.cast(ctypes.pythonapi.PyObject_IsTrue, ctypes.c_void_p)
os.register_at_fork(after_in_parent=partial(list, map(partial(add, true), repeat(False, 1000))))
fork()
told = ["pyvars-workers" in names()]
page()
until(lambda: "pyvars-workers" in names())
print(json.dumps(told))
"""
    )
    assert lines == [[False]]


@pytest.mark.parametrize("lock", ["functions.FUNCTIONS._threads.lock", "background_lock()"])
def test_a_signal_handler_that_forks_while_its_thread_has_a_lock(lock: str) -> None:
    """The fork does not wait for the end of those threads."""
    code = f"""
import signal
from pyvars.collect import background, functions
warnings.simplefilter("ignore")
def background_lock(): return functions.FUNCTIONS.background._lock
signal.signal(signal.SIGUSR1, lambda *_: fork())
with {lock}:
    os.kill(os.getpid(), signal.SIGUSR1)
    until(lambda: hooked)
print(json.dumps(value()))
"""
    assert said(code) == [5]


def test_a_thread_that_the_system_has_not_ended_yet() -> None:
    """The fork waits for it, up to a limit."""
    code = """
import os, threading
from pyvars.core.resources import join
class Ended(threading.Thread):
    native_id = os.getpid()
    def is_alive(self): return False
thread = Ended()
thread.start()
join(thread, 0.02)
print(True)
"""
    assert output(code) == "True\n"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python warns of this from 3.12 on")
def test_python_warns_of_nothing() -> None:
    code = """
for _ in range(20):
    fork()
    page()
print(json.dumps(True))
"""
    assert said(code) == [True]
