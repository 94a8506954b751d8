"""A worker whose built-ins or variables raise: the sums of the others do not fall, and no page fails."""

import json

from tests.programs import run

TWO = """
import json, os, sys, threading, time
import pyvars
from pyvars.runtime import reading
from pyvars.site.default import debug
from tests.conftest import local_request

def raising(*args, **kwargs):
    raise ValueError

site = debug(None, None, prefix="/debug")

def page():
    reading.expire()
    time.sleep(0.11)  # figures of peers are asked for every 100 ms
    return json.loads(site.respond(local_request()).body)

def two(child):
    go, to_child = os.pipe()
    done, to_parent = os.pipe()
    if os.fork() == 0:
        os.close(to_child)
        child(go, to_parent)
        os._exit(0)
    os.close(go), os.close(to_parent)
    return to_child, done
"""


def test_figures_that_a_worker_cannot_read_stay_in_the_sums() -> None:
    code = (
        TWO
        + """
def child(go, to_parent):
    page()
    os.write(to_parent, b"1")
    while os.read(go, 1):
        threading.enumerate = raising
        os.write(to_parent, b"1")

to_child, done = two(child)
os.read(done, 1)
before = page()
os.write(to_child, b"1")
os.read(done, 1)
after = page()
enumerate = threading.enumerate
threading.enumerate = raising
own = page()
threading.enumerate = enumerate
whole = page()
print(json.dumps([
    before["pyvars.workers"]["live"],
    after["threads"]["count"] >= before["threads"]["count"],
    "pyvars.errors" in after,
    own["threads"],
    own["pyvars.errors"]["threads"]["type"],
    [name for name, value in own.items() if value is None],
    whole["threads"]["count"] >= before["threads"]["count"],
    "pyvars.errors" in whole,
]))
os.close(to_child)
os.wait()
"""
    )
    assert json.loads(run(code).stdout) == [2, True, False, None, "ValueError", ["threads"], True, False]


def test_functions_and_objects_that_combine_badly() -> None:
    """An object of the program may have any attribute `combine`; a key may be invalid text."""
    code = (
        TWO
        + """
class Frame:
    def snapshot(self): return 5
    def combine(self, other): raise ValueError

class Careless:
    def snapshot(self): return 6
    def __getattr__(self, name): raise KeyError(name)

pyvars.publish("frame", Frame())
pyvars.publish("careless", Careless())
pyvars.publish("orders", pyvars.Int()).add(31)
site_of_metrics = debug(None, None, prefix="/debug")
by_key = pyvars.publish("by_key", pyvars.Map())
by_key.set("\\udcff", pyvars.Func(lambda: 2, combine="sum"))
by_key.set("valid", pyvars.Func(lambda: 3, combine="sum"))

def child(go, to_parent):
    pyvars.get("orders").add(31)
    page()
    os.write(to_parent, b"1")
    os.read(go, 1)

to_child, done = two(child)
os.read(done, 1)
while "pyvars.errors" in (shown := page()): pass  # on a busy machine a function of the child may be late
metrics = ["pyvars_left_out"]
while any(line.startswith("pyvars_left_out") for line in metrics):
    metrics = site_of_metrics.respond(local_request("/debug/metrics")).body.decode().splitlines()
print(json.dumps([
    *(shown[name] for name in ("frame", "careless", "orders", "by_key")),
    [line for line in metrics if line.startswith(("orders", "by_key", "pyvars_left_out"))],
]))
os.close(to_child)
os.wait()
"""
    )
    assert json.loads(run(code).stdout) == [
        5,
        6,
        62,
        {"valid": 6, "\ufffd": 4},
        ['by_key{key="valid"} 6', 'by_key{key="\ufffd"} 4', "orders_total 62"],
    ]
