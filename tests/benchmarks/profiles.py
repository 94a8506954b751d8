"""Profiles of the benchmarks that miss their targets: a cold page of 10 Ints, and such a page over HTTP.

pyinstrument samples the stack every half millisecond. A share is the time within a function and the functions that it
calls; the time of C code and of the kernel counts for the Python function that calls them.
"""

import shutil
import sys
import time
from threading import Thread

import uvicorn
from pyinstrument import Profiler
from starlette.applications import Starlette

import pyvars
from pyvars.asgi import VarsMiddleware
from pyvars.runtime import install
from pyvars.runtime.reading import expire

from .http import rate
from .page import FACTOR, Ours
from .table import print_table

INTERVAL_SECONDS = 0.0005
PAGES = 20_000
SECONDS = 10
LEAST = 0.05  # the least share of the time that is shown
COLUMNS = ("function", "file", "share")


def profiled(run):
    """The root of the profile of `run()` in this thread."""
    profiler = Profiler(interval=INTERVAL_SECONDS, async_mode="disabled")
    with profiler:
        run()
    return profiler.last_session.root_frame()


def shares(root, within):
    """Rows of the functions that take the most of the time within the function of that name."""
    times = {}

    def walk(frame, outer, inside):
        inside = inside or frame.function == within
        name = frame.function, frame.file_path_short
        if inside and not frame.is_synthetic and name not in outer:
            times[name] = times.get(name, 0.0) + frame.time
        for child in frame.children:
            walk(child, outer | {name}, inside)

    walk(root, frozenset(), False)
    whole = max(time for (function, _), time in times.items() if function == within)
    found = sorted(((time / whole, *name) for name, time in times.items()), reverse=True)
    return [(function, short_path(path), f"{share:.2f}") for share, function, path in found if share >= LEAST]


def short_path(path):
    """The part of the path from its package on."""
    return path.replace("\\", "/").rpartition("site-packages/")[2].removeprefix("../")


def cold_page():
    ours = Ours(10)
    return shares(profiled(lambda: ours.times(PAGES, expire)), "respond")


def over_http():
    registry = pyvars.Registry()
    install(registry)
    for i in range(10):
        registry.publish(f"counter_{i:06}", pyvars.Int(i * FACTOR))
    application = VarsMiddleware(Starlette(), registry=registry, count=False)
    config = uvicorn.Config(
        application, port=0, log_level="warning", access_log=False, http="httptools", loop="uvloop", lifespan="off"
    )
    server = uvicorn.Server(config)

    def ask():
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        rate(f"http://127.0.0.1:{port}/debug/vars", seconds=SECONDS)
        server.should_exit = True

    asker = Thread(target=ask, daemon=True)
    asker.start()
    return shares(profiled(server.run), "run_asgi")


def main():
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    print_table("Where the time of a cold page goes, N = 10", COLUMNS, cold_page())
    print_table("Where the time of a page over HTTP goes, N = 10", COLUMNS, over_http())


if __name__ == "__main__":
    main()
