"""Programs with a limited /proc: only files of processes, without those of other users, or no /proc at all."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.programs import DATA, ROOT, run
from tests.tools import tool

MOUNTS = {
    "subset": "mount -t proc -o subset=pid proc /proc",  # as ProcSubset=pid of systemd does
    "hidden": "mount -t proc -o hidepid=2 proc /proc",
    "both": "mount -t proc -o subset=pid,hidepid=2 proc /proc",
    "empty": "mount -t tmpfs none /proc",
}
OF_STATUS = ("HeapIdle", "HeapInuse", "HeapSys", "OtherSys", "StackInuse", "StackSys", "Sys")


@pytest.fixture(autouse=True)
def _allowed() -> None:
    done = subprocess.run([tool("unshare"), "-m", "sh", "-c", MOUNTS["subset"]], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"nobody may mount /proc here: {done.stderr!r}")


def within(kind: str, code: str, *, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program with another /proc, warnings being errors."""
    shell = f'{MOUNTS[kind]} && exec "$@"'
    return subprocess.run(
        [tool("unshare"), "-m", "sh", "-c", shell, "sh", sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=check,
        cwd=ROOT,
        timeout=100,
        env={**os.environ, **environment},
    )


VIEWS = """
import json, os, sys, pyvars
from pyvars.runtime import reading
from pyvars.site.default import side_port
from tests.conftest import local_request

orders = pyvars.publish("orders", pyvars.Int())
orders.add(5)
site = side_port(None, None)
children, (read_end, write_end) = [], os.pipe()
sys.stdout.flush()
for _ in range(2):
    pid = os.fork()
    if not pid:
        orders.add(10)
        os.read(read_end, 1)
        os._exit(0)
    children.append(pid)

def get(path):
    response = site.respond(local_request(path))
    return response.status, response.body.decode()

def whole():
    until = __import__("time").monotonic() + 30
    while json.loads(get("/debug/vars/orders")[1]) != 25 and __import__("time").monotonic() < until:
        pass

whole()
reading.expire()
paths = ("/debug/vars", "/debug/workers", "/api/stats", "/metrics", "/status/hardware/cpu", "/status/hardware/ram",
         "/status/hardware/disk", "/status/health")
answers = {path: get(path) for path in paths}
os.write(write_end, b"..")
for pid in children:
    os.waitpid(pid, 0)
print(json.dumps([answers, get("/debug/vars/orders")]))
"""


def views(kind: str) -> dict[str, Any]:
    """The responses of all views, each of which must answer; parsed if it is JSON."""
    done = within(kind, VIEWS)
    assert done.stderr == "" or "are missing" in done.stderr
    assert "Traceback" not in done.stderr
    answers, after = json.loads(done.stdout)
    assert {path: status for path, (status, _) in answers.items()} == dict.fromkeys(answers, 200)
    assert after == [200, "25\n"]  # the sum, with workers that have ended
    return {path: json.loads(body) if body[0] in "{[" else body for path, (_, body) in answers.items()}


def process_of(page: dict[str, Any]) -> dict[str, Any]:
    jsonschema.validate(page["memstats"], json.loads((DATA / "memstats.schema.json").read_text()))
    assert [name for name, value in page.items() if value is None] == []
    assert page["orders"] == 25
    assert page["memstats"]["Alloc"] > 0
    process: dict[str, Any] = page["process"]
    return process


@pytest.mark.parametrize("kind", ["subset", "hidden", "both"])
def test_what_its_own_files_tell_is_all_there(kind: str) -> None:
    answers = views(kind)
    page = answers["/debug/vars"]
    process = process_of(page)
    assert "pyvars.errors" not in page
    assert 0 < process["uptime_seconds"] < 60
    assert process["rss_bytes"] > 1_000_000
    assert page["threads"]["native"] >= page["threads"]["count"]
    assert (page["pyvars.workers"]["shared"], page["pyvars.workers"]["reason"]) == (True, "")
    rows = answers["/debug/workers"]["workers"]
    assert len(rows) == 3
    assert all(0 <= row["start_time_seconds"] - process["start_time_seconds"] < 60 for row in rows)
    assert all(row["rss_bytes"] > 1_000_000 for row in rows)
    assert "process_start_time_seconds " in answers["/metrics"]
    hardware = {name: answers[f"/status/hardware/{name}"] for name in ("cpu", "ram", "disk")}
    assert all(figures["total"] > 0 for figures in hardware.values())
    machine = [figures for name, figures in hardware.items() if name != "disk" and figures["source"] == "machine"]
    unknown = ("UNKNOWN", "FileNotFoundError")
    for figures in machine if kind != "hidden" else []:
        assert (figures["status"], figures["error"]) == unknown
        assert figures.keys().isdisjoint({"used", "percent"})
    assert hardware["disk"]["used"] > 0


def test_without_any_file_only_their_figures_are_absent() -> None:
    answers = views("empty")
    page = answers["/debug/vars"]
    process = process_of(page)
    missing = {
        *(f"process.{name}" for name in ("start_time_seconds", "start_boottime_seconds", "uptime_seconds")),
        *("process.rss_bytes", "process.open_fds", "threads.native"),
        *(f"memstats.{name}" for name in OF_STATUS),
    }
    errors = {name: entry["type"] for name, entry in page["pyvars.errors"].items()}
    assert errors == dict.fromkeys(missing, "FileNotFoundError")
    assert not [name for name in missing if name.partition(".")[2] in {**process, **page["threads"]}]
    assert process["cpu_user_seconds"] > 0
    assert process["peak_rss_bytes"] > 1_000_000
    assert {page["memstats"][name] for name in OF_STATUS} == {0}
    assert page["threads"]["count"] >= 1
    workers = page["pyvars.workers"]
    assert (workers["live"], workers["shared"]) == (3, False)  # it cannot know whether there are others
    assert "set PYVARS_SHARE" in workers["reason"]
    rows = answers["/debug/workers"]["workers"]
    assert [row["start_time_seconds"] for row in rows] == [None] * 3
    lines = answers["/metrics"].splitlines()
    assert 'pyvars_left_out{reason="FileNotFoundError",variable="memstats.Sys"} 1' in lines
    assert not [line for line in lines if line.startswith(("pyvars_memory_sys_bytes", "process_open_fds"))]
    assert answers["/api/stats"]["memory_alloc"] > 0


def test_memory_without_any_file_and_without_what_glibc_offers() -> None:
    code = """
import ctypes, json
found = ctypes.CDLL.__getattr__
def lacking(library, name):
    if name == "mallinfo2":
        raise AttributeError(name)
    return found(library, name)
ctypes.CDLL.__getattr__ = lacking
import pyvars
memstats = pyvars.get("memstats")
print(json.dumps([memstats.snapshot(), sorted(memstats.missing)]))
"""
    memstats, missing = json.loads(within("empty", code).stdout)
    jsonschema.validate(memstats, json.loads((DATA / "memstats.schema.json").read_text()))
    assert missing == sorted([*OF_STATUS, "Alloc", "HeapAlloc", "TotalAlloc"])
    assert {memstats[name] for name in missing} == {0}
    assert memstats["HeapObjects"] > 0


GROUP = """
import os, signal, sys, pyvars
from pyvars.site.default import debug
from pyvars.workers import MEMBER
site = debug(None, None, prefix="/debug")
print(MEMBER.group.directory, flush=True)
"""


def group_left_by(code: str) -> Path:
    done = within("empty", code, check=False)
    return Path(done.stdout.strip())


def test_its_group_directory_goes_with_it() -> None:
    assert not group_left_by(GROUP).exists()


def test_what_it_leaves_is_swept_by_the_next_program() -> None:
    group = group_left_by(f"{GROUP}\nos.kill(os.getpid(), signal.SIGKILL)")
    assert group.is_dir()
    run(GROUP)
    assert not group.exists()


def test_its_group_directory_stays_while_it_lives() -> None:
    shell = f'{MOUNTS["empty"]} && exec "$@"'
    code = f"{GROUP}\nsys.stdin.read()"
    with subprocess.Popen(
        [tool("unshare"), "-m", "sh", "-c", shell, "sh", sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    ) as program:
        assert program.stdout
        group = Path(program.stdout.readline().strip())
        run(GROUP)
        there = group.is_dir()
        program.communicate(timeout=30)
    assert (there, group.exists()) == (True, False)


def test_a_process_that_is_hidden_has_not_ended() -> None:
    code = """
import os
from pyvars.runtime.proc import of_process
of_process(os.getpid())
child = os.fork()
if not child:
    os.setgid(65534)
    os.setuid(65534)
    print(of_process(1), of_process(2**22 + 1), flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""
    unknown = dict.fromkeys(("start_time_seconds", "cpu_seconds", "rss_bytes", "threads"))
    ended = {"start_time_seconds": 0.0, "cpu_seconds": 0.0, "rss_bytes": 0, "threads": 0}
    assert within("hidden", code).stdout == f"{unknown} {ended}\n"


def test_spawned_workers_find_each_other_by_their_command_line() -> None:
    code = """
import json, multiprocessing, sys
sys.path.insert(0, "")
from tests.runtime import spawned
if __name__ == "__main__":
    print(json.dumps(spawned.pages()))
"""
    first, second = json.loads(within("empty", code).stdout)
    assert (first["orders"], first["pyvars.workers"]["live"]) == (1, 1)
    assert (second["orders"], second["pyvars.workers"]["live"]) == (11, 2)
