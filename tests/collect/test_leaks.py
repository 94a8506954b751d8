"""The objects that 10,000 pages leave, and the memory of a variable."""

import json

from tests.programs import UNMEASURED, output


def test_ten_thousand_pages_leave_nothing_behind() -> None:
    code = """
import gc, http.client, json, os, threading, pyvars
from pyvars.runtime import reading
orders, states = pyvars.publish("orders", pyvars.Int()), pyvars.publish("states", pyvars.Map())
pyvars.publish("function", lambda: {"a": [1]})
pyvars.publish("bad", lambda: 1 / 0)
import logging
logging.disable()
server = pyvars.serve(0)
connection = http.client.HTTPConnection(server.host, server.port)
def scrape(times):
    for number in range(times):
        orders.add()
        states.add(str(number % 10))
        connection.request("GET", "/debug/vars")
        assert connection.getresponse().read()
        if number % 10 == 0: reading.expire()
def held():
    gc.collect()
    return len(gc.get_objects()), len(os.listdir("/proc/self/fd")), threading.active_count()
scrape(500)
before = held()
scrape(10_000)
after = held()
connection.close()
server.close()
for thread in threading.enumerate():
    if thread.name not in ("MainThread", "pyvars-functions", "pyvars-history", "pyvars-workers"):
        thread.join(10)
print(json.dumps([before, after, [thread.name for thread in threading.enumerate()]]))
"""
    before, after, threads = json.loads(output(code, **UNMEASURED))
    assert after[0] - before[0] < 100
    assert after[1] == before[1]
    assert after[2] == before[2]
    # These threads stay until the exit.
    assert sorted(threads) == ["MainThread", "pyvars-functions", "pyvars-history", "pyvars-workers"]


def test_an_int_takes_at_most_200_bytes_beyond_its_name() -> None:
    code = """
import tracemalloc, pyvars
from pyvars.site.default import debug
from pyvars.access.request import Request
registry = pyvars.Registry()
names = [f"counter_{number:06}" for number in range(1000)]
site = debug(registry, None, prefix="/debug")
request = Request("GET", "/debug/vars", "", None, "", (("host", "localhost"),), "", "1.1", 0.0)
site.respond(request)
tracemalloc.start()
before = tracemalloc.get_traced_memory()[0]
for number, name in enumerate(names):
    registry.publish(name, pyvars.Int(number * 7919))
published = tracemalloc.get_traced_memory()[0]
assert site.respond(request).status == 200
print((published - before) / 1000, (tracemalloc.get_traced_memory()[0] - before) / 1000)
"""
    # The history, whose first sample may come in between, has bounds of its own.
    published, after_a_page = map(float, output(code, **UNMEASURED, PYVARS_HISTORY="off").split())
    assert published <= 200
    assert after_a_page <= 200
