"""Processes that an unchanged program below `python -m pyvars` starts: they share their numbers from the start."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.programs import ROOT, output
from tests.services import free_port, service

PLAIN = """
import os
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
    elif scope["type"] == "lifespan":
        while True:
            about = await receive()
            await send({"type": about["type"] + ".complete"})
            if about["type"] == "lifespan.shutdown":
                return
def wsgi(environ, start_response):
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]
"""
SERVERS: dict[str, tuple[str, ...]] = {
    "uvicorn": ("uvicorn", "plain:app", "--workers", "2", "--port", "{port}", "--log-level", "critical"),
    "hypercorn": ("hypercorn", "plain:app", "-w", "2", "-b", "127.0.0.1:{port}"),
    "hypercorn, WSGI": ("hypercorn", "plain:wsgi", "-w", "2", "-b", "127.0.0.1:{port}"),
    "granian": ("granian", "--interface", "asgi", "--workers", "2", "--no-log", "--port", "{port}", "plain:app"),
    "granian, WSGI": ("granian", "--interface", "wsgi", "--workers", "2", "--no-log", "--port", "{port}", "plain:wsgi"),
    "gunicorn": ("gunicorn", "-w", "2", "-b", "127.0.0.1:{port}", "--log-level", "critical", "plain:wsgi"),
    "gunicorn, uvicorn worker": (
        *("gunicorn", "-w", "2", "-k", "uvicorn_worker.UvicornWorker", "-b", "127.0.0.1:{port}"),
        *("--log-level", "critical", "plain:app"),
    ),
}


def get(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


def until(port: int, true: Callable[[Any], bool]) -> Any:
    end = time.monotonic() + 60
    while not true(page := json.loads(get(port, "/debug/vars"))):
        assert time.monotonic() < end, page["pyvars.workers"]
        time.sleep(0.05)
    return page


@pytest.mark.parametrize("name", SERVERS)
def test_workers_of_an_unchanged_service(name: str, tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(PLAIN)
    side, port = free_port(), free_port()
    command = ("pyvars", "--port", str(side), "--http", "-m", *(word.format(port=port) for word in SERVERS[name]))
    path = f"{ROOT}:{tmp_path}"
    with service(*command, ready=port, PYTHONPATH=path, PYTHONWARNINGS="ignore"):
        assert until(side, lambda page: page["pyvars.workers"]["live"] == 3)["pyvars.workers"]["shared"]
        served = {int(get(port, "/")) for _ in range(20)}
        page = until(side, lambda page: page["http"]["requests"] >= 20)
        assert page["http"]["requests"] == 20
        assert page["process"]["pid"] not in served


def test_without_the_option_nothing_is_counted(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(PLAIN)
    side, port = free_port(), free_port()
    command = ("pyvars", "--port", str(side), "-m", *(word.format(port=port) for word in SERVERS["uvicorn"]))
    with service(*command, ready=port, PYTHONPATH=f"{ROOT}:{tmp_path}"):
        get(port, "/")
        assert "http" not in until(side, lambda page: page["pyvars.workers"]["live"] == 3)


def printed(folder: Path, script: str, *options: str) -> str:
    (folder / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "-m", "pyvars", "--port", str(free_port()), *options, "script.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{folder}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_children_that_know_nothing_of_it(method: str, tmp_path: Path) -> None:
    """And children of these children. They have the same arguments and exit statuses as without pyvars."""
    script = f"""
import multiprocessing, os, sys
context = multiprocessing.get_context("{method}")
def work(depth, ready, go_on):
    other = context.Process(target=work, args=(depth - 1, ready, go_on)) if depth else None
    if other: other.start()
    ready.release()
    go_on.wait()
    if other: other.join()
if __name__ == "__main__":
    ready, go_on = context.Semaphore(0), context.Event()
    child = context.Process(target=work, args=(1, ready, go_on))
    child.start()
    for _ in range(2): ready.acquire()
    from pyvars.workers import live_pids
    print(len(live_pids()))
    go_on.set()
    child.join()
    print(child.exitcode, live_pids() == [os.getpid()])
"""
    assert printed(tmp_path, script) == "3\n0 True\n"


def test_a_child_runs_even_if_it_cannot_share(tmp_path: Path) -> None:
    script = """
import multiprocessing, sys
if __name__ == "__mp_main__":
    import pyvars.cli.children
    pyvars.cli.children.served = None
def work(): print("ran", flush=True)
if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=work)
    child.start()
    child.join()
    print(child.exitcode)
"""
    said = printed(tmp_path, script)
    assert said.startswith("ran\n0\n")
    assert "a process started by multiprocessing does not share its variables" in said


def test_what_is_not_counted(tmp_path: Path) -> None:
    """A program with a variable `http`, an application of another kind, a server whose functions have other names."""
    for package in ("granian", "hypercorn"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / "granian" / "_internal.py").write_text("def load(): pass")
    script = """
import types
import pyvars
pyvars.publish("http", lambda: 1)
import granian._internal
import gunicorn.util
app = lambda environ, start_response: []
import sys
names = sys.modules["names"] = types.ModuleType("names")
class RSGI:
    async def __rsgi__(self, scope, protocol): pass
    def __call__(self): pass
names.app, names.rsgi = app, RSGI()
print(gunicorn.util.import_app("names:app") is app)
print(gunicorn.util.import_app("names:rsgi") is names.rsgi)
try: import hypercorn.utils
except ImportError: print("missing")
import threading
for thread in threading.enumerate():
    if thread.name == "pyvars-log": thread.join(30)
"""
    said = printed(tmp_path, script, "--http")
    assert said.startswith("True\nTrue\nmissing\n")
    assert "requests are not counted by granian._internal: " in said
    assert "the requests of the program are not counted: " in said


def test_what_uvicorn_loads_is_counted_but_not_what_the_side_port_serves() -> None:
    code = """
from pyvars.cli.counting import count_http
count_http()
import pyvars, uvicorn
from pyvars.asgi import CountRequests

async def app(scope, receive, send): ...

config = uvicorn.Config(app, log_config=None)
config.load()
with pyvars.serve(0):
    print(type(config.loaded_app) is CountRequests)
"""
    assert output(code) == "True\n"
