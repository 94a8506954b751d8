"""ASGI services in a process that can start no thread: pages have no functions, and the service runs on."""

import json
from typing import Any

import pytest

from tests.programs import run

# A limit that also holds for root: a thread needs more memory for its stack than there is.
PROGRAM = """
import asyncio, json, resource, threading
import pyvars
from pyvars.asgi import DebugApp, VarsMiddleware
from pyvars.health.app import HealthApp

def refuse_threads(hard=None):
    pages = int(open("/proc/self/statm").read().split()[0])
    threading.stack_size(1 << 30)
    limit = pages * resource.getpagesize() + (300 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard or limit))
    try:
        threading.Thread(target=print).start()
    except RuntimeError:
        return
    raise AssertionError("a thread was started")

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"app"})

def make():
    orders = pyvars.publish("orders", pyvars.Int())
    orders.add(62)
    pyvars.publish("function", lambda: 7)
    pyvars.publish("again", lambda: 8, every=0.1)
    return VarsMiddleware(app), {"/debug": DebugApp(), "/status": HealthApp()}

async def get(service, path):
    sent = []
    async def send(message): sent.append(message)
    async def receive(): return {"type": "http.request", "body": b""}
    middleware, mounted = service
    below = next((root for root in mounted if path.startswith(root) and not path.startswith("/debug/vars")), "")
    scope = {"type": "http", "method": "GET", "path": path, "root_path": below, "raw_path": path.encode(),
             "query_string": b"", "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1),
             "server": ("127.0.0.1", 2), "http_version": "1.1"}
    await mounted.get(below, middleware)(scope, receive, send)
    return sent[0]["status"], sent[1]["body"].decode()

PATHS = ("/debug/vars", "/debug/vars/function", "/debug/workers", "/debug/api/stats", "/debug/metrics",
         "/status/health", "/status/hardware/disk", "/own")
"""
SHOWN = """
async def shown(service):
    found = {path: await get(service, path) for path in PATHS}
    from anyio import create_task_group
    at_once = []
    async def one(path):
        at_once.append((await get(service, path))[0])
    async with create_task_group() as tasks:
        for path in ("/debug/vars", "/own") * 10:
            tasks.start_soon(one, path)
    return found, sorted(set(at_once))
"""


def page_of(code: str, start: str = "asyncio.run") -> Any:
    """The page. Also checks that all views and the application answer, also many requests at once."""
    done = run(f"{PROGRAM}{SHOWN}{code}\nprint(json.dumps({start}(shown, service)))")
    paths, at_once = json.loads(done.stdout)
    assert {path: status for path, (status, _) in paths.items()} == dict.fromkeys(paths, 200)
    assert at_once == [200]
    assert paths["/debug/vars/function"][1] == "null\n"
    assert "orders_total 62" in paths["/debug/metrics"][1]
    assert paths["/own"][1] == "app"
    return json.loads(paths["/debug/vars"][1])


RUN = {
    "asyncio": "def start(function, *args): return asyncio.run(function(*args))",
    "trio": "import trio\nstart = trio.run",
}


@pytest.mark.parametrize("loop", RUN)
def test_an_integration_that_is_made_where_no_thread_can_be_started(loop: str) -> None:
    page = page_of(f"{RUN[loop]}\nrefuse_threads()\nservice = make()", "start")
    assert (page["orders"], page["function"], page["again"]) == (62, None, None)
    errors = {name: entry["type"] for name, entry in page["pyvars.errors"].items()}
    assert errors == {"function": "skipped", "again": "skipped"}  # at once: a page that waits would hold up the loop


@pytest.mark.parametrize("loop", RUN)
def test_a_service_that_comes_to_a_limit(loop: str) -> None:
    """The threads that pyvars has already started keep running."""
    page = page_of(f"{RUN[loop]}\nservice = make()\nrefuse_threads()", "start")
    assert (page["orders"], page["function"]) == (62, None)
    assert page["pyvars.errors"]["function"]["type"] == "skipped"


def test_a_thread_is_started_once_the_limit_is_gone() -> None:
    code = """
import time
async def pages(service):
    first = json.loads((await get(service, "/debug/vars"))[1])
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    threading.stack_size(0)
    found, until = first, time.monotonic() + 30
    while "pyvars.errors" in found and time.monotonic() < until:
        found = json.loads((await get(service, "/debug/vars"))[1])
    return [[each["function"], each["again"]] for each in (first, found)]
refuse_threads(hard=resource.RLIM_INFINITY)
print(json.dumps(asyncio.run(pages(make()))))
"""
    assert json.loads(run(f"{PROGRAM}{code}").stdout) == [[None, None], [7, 8]]
