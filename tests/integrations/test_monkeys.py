"""Programs in which gevent or eventlet replaces threads, sockets and locks, before pyvars is imported or after."""

import json
from typing import Any

import pytest

from tests.programs import run

TOKEN = "token-of-the-tests"
PATCH = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}
SERVE = {
    "gevent": """
from gevent.pywsgi import WSGIServer
server = WSGIServer(("127.0.0.1", 0), application, log=None)
server.start()
port = server.server_port
""",
    "eventlet": """
import eventlet.wsgi
listener = eventlet.listen(("127.0.0.1", 0))
port = listener.getsockname()[1]
eventlet.spawn(eventlet.wsgi.server, listener, application, log_output=False)
""",
}
PYVARS = """
import pyvars
from pyvars import wsgi
from pyvars.access import local, token
"""
INTEGRATION = f"""
orders = pyvars.publish("orders", pyvars.Int())
orders.add(5)
application = wsgi.VarsMiddleware(
    lambda environ, start: (start("200 OK", []), [b"app"])[1], access=local() | token({TOKEN!r}), count=False
)
"""
PROGRAM = f"""
import http.client, json, os, signal, sys, threading, time
slow_may_end = threading.Event()
pyvars.publish("quick", lambda: 7)
pyvars.publish("slow", lambda: slow_may_end.wait(20))
pyvars.publish("again", lambda: 8, every=0.1)

def get(path="/debug/vars"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path, headers={{"Authorization": "Bearer {TOKEN}"}})
    answer = connection.getresponse()
    body = answer.read()
    return answer.status if answer.status != 200 else "app" if body == b"app" else json.loads(body)

def page():
    until = time.monotonic() + 30
    while True:  # on a busy machine what is quick may be late, too
        shown = get()
        errors = {{name: entry["type"] for name, entry in shown["pyvars.errors"].items()}}
        if "quick" not in errors and errors.get("slow", "timeout") == "timeout": break
        assert time.monotonic() < until, shown
    names = ("orders", "quick", "slow", "again", "pyvars.workers", "threads")
    return {{**{{name: shown[name] for name in names}}, "errors": errors}}
"""
# Like a server that forks workers, one of which has ended.
FORKS = """
(ready, is_ready), (stop, stopping) = os.pipe(), os.pipe()
def worker(lives):
    pid = os.fork()
    if not pid:
        orders.add(10)
        if lives:
            os.write(is_ready, b".")
            os.close(stopping)
            os.read(stop, 1)
        os._exit(0)
    return pid
live, ended = worker(True), worker(False)
os.waitpid(ended, 0)
os.read(ready, 1)
"""
END = """
os.kill(live, signal.SIGKILL)
print(json.dumps(shown), flush=True)
"""


def program(kind: str, order: str, code: str) -> Any:
    parts = {
        "before": (PATCH[kind], PYVARS, INTEGRATION),
        "after the import": (PYVARS, PATCH[kind], INTEGRATION),
        "after the integration": (PYVARS, INTEGRATION, PATCH[kind]),
    }[order]
    quiet = "import warnings\nwarnings.simplefilter('ignore')"  # both warn that they should be imported first
    return json.loads(run("\n".join([quiet, *parts, PROGRAM, FORKS, SERVE[kind], code, END])).stdout)


ORDERS = ("before", "after the import", "after the integration")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", PATCH)
def test_a_page_is_whole_whoever_is_imported_first(kind: str, order: str) -> None:
    first, second, third = program(
        kind,
        order,
        """
shown = [page(), page()]
slow_may_end.set()
time.sleep(0.01)
shown.append(page())
while shown[-1]["slow"] is None:
    time.sleep(0.01)
    shown[-1] = page()
""",
    )
    for shown in (first, second, third):
        assert (shown["orders"], shown["quick"], shown["again"]) == (25, 7, None)
        assert shown["errors"]["again"] == "skipped"  # at once, not busy for ever
        assert shown["threads"]["count"] >= 1
        workers = shown["pyvars.workers"]
        assert (workers["live"], workers["retired"], workers["shared"], workers["threads"]) == (2, 1, True, False)
        assert workers["reason"].startswith(f"{kind} makes threads greenlets: functions have no deadline")
    assert [first["slow"], second["slow"], third["slow"]] == [None, None, True]
    assert first["errors"]["slow"] == second["errors"]["slow"] == "timeout"


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", PATCH)
def test_pages_that_wait_let_others_go_on(kind: str, order: str) -> None:
    """Three pages at once, of which two may be rendered; and a request of the program meanwhile."""
    pages, others = program(
        kind,
        order,
        """
def in_thread(path, found):
    found.append(get(path))
pages, others = [], []
threads = [threading.Thread(target=in_thread, args=("/debug/vars/slow", pages)) for _ in range(3)]
for thread in threads:
    thread.start()
others += [get("/elsewhere"), get("/debug/vars/orders")]
for thread in threads:
    thread.join()
shown = [pages, others]
""",
    )
    assert others[0] == "app"
    assert others[1] in (25, 503)  # it may not get a slot in time
    assert len(pages) == 3
    assert {*pages} <= {None, 503}


def test_where_eventlet_says_http_1_0_the_log_says_so() -> None:
    shown = program(
        "eventlet",
        "before",
        """
import logging, io
text = io.StringIO()
logging.basicConfig(stream=text, level=logging.WARNING, format="%(message)s")
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
connection.request("GET", "/debug/vars")
shown = [connection.getresponse().status]
until = time.monotonic() + 20
while "refused" not in text.getvalue() and time.monotonic() < until:
    time.sleep(0.01)
shown.append(text.getvalue())
""",
    )
    assert shown[0] == 401
    assert "the server, eventlet, reports HTTP/1.0 for every request" in shown[1]
    assert "token" in shown[1]


def test_eventlet_with_many_files() -> None:
    """Its selector is only named after select(2): it also works with file descriptors above 1023."""
    shown = program(
        "eventlet",
        "before",
        """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (2048, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
from pyvars.site.default import debug
from tests.conftest import local_request
site = debug(None, None, prefix="/debug")
files = [os.dup(0) for _ in range(1100)]
shown = json.loads(site.respond(local_request("/debug/workers")).body)["live"]
""",
    )
    assert shown == 2
