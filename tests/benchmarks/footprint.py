"""The modules and threads of `import pyvars`, the memory of an Int, and the objects that 10,000 pages leave.

Nothing here is a time, so there is no peer. Each program runs in an interpreter of its own, and prints one figure to a
line. Threads and files are counted by the kernel, since a thread may be one that Python's `threading` does not know.
"""

from tests.programs import output

from .table import FOOTPRINT, print_table, verdict

IMPORT = """
import os, sys
modules, threads = set(sys.modules), len(os.listdir("/proc/self/task"))
import pyvars
print(len(set(sys.modules) - modules))
print(len(os.listdir("/proc/self/task")) - threads)
"""

# Names are not counted, except in the last figure. The first page imports modules, which are not part of the cost of an
# Int.
MEMORY = """
import sys, pyvars, tracemalloc
from pyvars.site.default import debug
from pyvars.access.request import Request
registry = pyvars.Registry()
site = debug(registry, None, prefix="/debug")
request = Request("GET", "/debug/vars", "", None, "", (("host", "localhost"),), "127.0.0.1", "1.1", 1e9)
assert site.respond(request).body == b"{}\\n"
number = int(sys.argv[1])
tracemalloc.start()
names = [f"counter_{i:06}" for i in range(number)]
before, _ = tracemalloc.get_traced_memory()
for i, name in enumerate(names):
    registry.publish(name, pyvars.Int(i * 7919 + 257))  # over 256: a number that CPython does not already have
published, _ = tracemalloc.get_traced_memory()
assert site.respond(request).status == 200
read, _ = tracemalloc.get_traced_memory()
print((published - before) / number)
print((read - before) / number)
print(read / 1e6)
"""

# Every tenth page is cold. The page has variables of all kinds, and one that raises.
PAGES = """
import gc, logging, os, pyvars
from pyvars.runtime.reading import expire
from pyvars.site.default import debug
from pyvars.access.request import Request, deadline
logging.disable()
orders, seconds = pyvars.publish("orders", pyvars.Int()), pyvars.publish("seconds", pyvars.Float())
states, state = pyvars.publish("states", pyvars.Map()), pyvars.publish("state", pyvars.String())
pyvars.publish("function", lambda: {"a": [1]})
pyvars.publish("broken", lambda: 1 / 0)
site = debug(None, None, prefix="/debug")
def scrape(times):
    for i in range(times):
        orders.add()
        seconds.add(0.5)
        states.add(str(i % 10))
        state.set(f"page {i}")
        if i % 10 == 0:
            expire()
        headers = (("host", "localhost"),)
        request = Request("GET", "/debug/vars", "", None, "", headers, "127.0.0.1", "1.1", deadline())
        assert site.respond(request).status == 200
def held():
    gc.collect()
    return len(gc.get_objects()), len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
scrape(500)
before = held()
scrape(10_000)
for now, then in zip(held(), before):
    print(now - then)
"""


def row(what, measured, target):
    return what, f"{float(measured):.4g}", *verdict(float(measured), at_most=target)


def main():
    modules, threads = output(IMPORT).split()
    published, read, _ = output(MEMORY, "1000").split()
    of_many, _, in_all = output(MEMORY, "100000").split()
    objects, files, threads_left = output(PAGES).split()
    rows = [
        row("modules that `import pyvars` adds", modules, 60),
        row("threads that `import pyvars` starts", threads, 0),
        row("bytes of a published Int beyond its name, of 1,000", published, 100),
        row("the same, of 100,000", of_many, 100),
        row("the same after the first page, of 1,000", read, 200),
        row("megabytes of 100,000 Ints, their names and a page in all", in_all, 25),
        row("objects left by 10,000 pages", objects, 0),
        row("open files left by 10,000 pages", files, 0),
        row("threads left by 10,000 pages", threads_left, 0),
    ]
    print_table("Footprint", FOOTPRINT, rows)


if __name__ == "__main__":
    main()
