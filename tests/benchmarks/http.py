"""Pages per second over HTTP: pyvars, Go's net/http with expvar, and a Starlette app that sends a page from memory.

Each server has the same N Ints. The servers run in turns on one CPU, which they have to themselves; wrk, the client,
runs on the other. Four connections are kept alive. The servers in Python are uvicorn with the extra `fast` (httptools,
uvloop). The page from memory shows the limit for servers in Python, since all that is left is to send it.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import ExitStack, contextmanager

from .page import FACTOR, build, check
from .table import per_second, ratio_row

ROUNDS = 8
SECONDS = 1  # of each server in a round
CONNECTIONS = 4

OURS = """
import os, socket, sys
import uvicorn
import pyvars
from pyvars.asgi import VarsMiddleware
from pyvars.runtime import install
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
registry = pyvars.Registry()
install(registry)
for i in range(int(sys.argv[1])):
    registry.publish(f"counter_{i:06}", pyvars.Int(i * int(sys.argv[3])))
if sys.argv[2] == "static":
    from pyvars.site.default import debug
    from pyvars.access.request import Request, deadline
    request = Request("GET", "/vars", "", None, "", (("host", "localhost"),), "127.0.0.1", "1.1", deadline())
    answer = debug(registry, None, prefix="").respond(request)
    async def page(request):
        return Response(answer.body, headers=dict(answer.headers))
    application = Starlette(routes=[Route("/debug/vars", page)])
else:
    application = VarsMiddleware(Starlette(), registry=registry, count=False)
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
kinds = {"http": "httptools", "loop": "uvloop", "lifespan": "off"}
uvicorn.Server(uvicorn.Config(application, log_level="warning", access_log=False, **kinds)).run(sockets=[listener])
"""


@contextmanager
def served(command, size):
    """The address of a server that runs on the last CPU, and has the right page."""
    on_its_cpu = ["taskset", "-c", str(max(os.sched_getaffinity(0)))]
    alone = {**os.environ, "PYVARS_SHARE": "off"}  # otherwise the servers would share one group
    process = subprocess.Popen([*on_its_cpu, *map(str, command)], stdout=subprocess.PIPE, text=True, env=alone)
    try:
        url = f"http://127.0.0.1:{int(process.stdout.readline())}/debug/vars"
        with urllib.request.urlopen(url) as answer:
            check(answer.read(), size)
        yield url
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def rate(url, seconds=SECONDS):
    """Requests per second, all of which were answered with 200."""
    cpu = str(min(os.sched_getaffinity(0)))
    command = ["taskset", "-c", cpu, "wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds}s", url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in said, said
    assert "Socket errors" not in said, said
    return float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])


def rows():
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    with tempfile.TemporaryDirectory() as folder:
        program = build(folder)
        for size, than_go, than_static in ((10, 1.5, 0.8), (1_000, 2.0, 0.35)):
            python = [sys.executable, "-c", OURS, size]
            with ExitStack() as stack:
                commands = ([*python, "pages", FACTOR], [program, size, "http"], [*python, "static", FACTOR])
                ours, go, static = (stack.enter_context(served(command, size)) for command in commands)
                rounds = [(rate(ours), rate(go), rate(static)) for _ in range(ROUNDS)]
            of_go, of_static = ([(each[0], each[peer]) for each in rounds] for peer in (1, 2))
            what = f"/debug/vars over HTTP, N = {size:,}"
            yield ratio_row(what, "Go's net/http and expvar", of_go, per_second, at_least=than_go)
            yield ratio_row(what, "Starlette, from memory", of_static, per_second, at_least=than_static)
            floor = [(static, go) for _, go, static in rounds]
            yield ratio_row(f"Starlette, from memory, N = {size:,}", "Go's net/http and expvar", floor, per_second)
