"""Which processes find each other without configuration, and which do not."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest

from tests.programs import ROOT, output
from tests.services import free_port, service
from tests.workers import group_of
from tests.workers.test_membership import AS_NOBODY
from tests.workers.test_workers import GUNICORN, get, page, wait_for_members

COUNTING = """
import json, multiprocessing, os, sys, time, urllib.request
from concurrent.futures import ProcessPoolExecutor
import pyvars
tasks = pyvars.publish("tasks", pyvars.Int())
by_parity = pyvars.publish("by_parity", pyvars.Map())
def task(number):
    tasks.add()
    by_parity.add("odd" if number % 2 else "even")
    return os.getpid()
def pool_in_a_worker(number):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(task, range(5))
def page(url):
    return json.load(urllib.request.urlopen(url + "/debug/vars"))
"""


def program(tmp_path: Path, main: str) -> Any:
    """The output of `main` in a program in a file, which children of multiprocessing can import."""
    path = tmp_path / "program.py"
    path.write_text(f"{COUNTING}\nif __name__ == '__main__':\n" + indent(main, "    "))
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", str(path)],  # 3.12: fork in a process with threads
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_pools_of_multiprocessing(tmp_path: Path, method: str) -> None:
    """While the pool works, after its end, and with a second pool."""
    during, after, again = program(
        tmp_path,
        f"""
context = multiprocessing.get_context("{method}")
with pyvars.serve(0) as server:
    tasks.add(1000)
    for _ in range(2):
        with ProcessPoolExecutor(3, mp_context=context) as pool:
            list(pool.map(task, range(50)))
            print(json.dumps(page(server.url)))
        if _ == 0: print(json.dumps(page(server.url)))
""",
    )
    assert during["tasks"] == after["tasks"] == 1050
    assert during["by_parity"] == after["by_parity"] == {"even": 25, "odd": 25}
    assert again["tasks"] == 1100
    fork_server = method == "forkserver" and sys.version_info >= (3, 14)  # it imports the program itself, and stays
    assert during["pyvars.workers"]["live"] > 1 + fork_server == after["pyvars.workers"]["live"]
    assert after["pyvars.workers"]["retired"] > 0


def test_pools_inside_workers_of_a_pool(tmp_path: Path) -> None:
    (found,) = program(
        tmp_path,
        """
with pyvars.serve(0) as server:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(pool_in_a_worker, range(4)))
    print(json.dumps(page(server.url)))
""",
    )
    assert found["tasks"] == 20


def test_children_of_a_plain_fork(tmp_path: Path) -> None:
    """A child begins at zero; its counts are kept when it ends, and so are those of its own child."""
    lines = program(
        tmp_path,
        """
with pyvars.serve(0) as server:
    tasks.add(7)
    if (child := os.fork()) == 0:
        assert tasks.value == 0
        tasks.add(10)
        if os.fork() == 0:
            tasks.add(100)
        else:
            os.wait()
        os._exit(0)
    os.waitpid(child, 0)
    print(json.dumps([tasks.value, page(server.url)["tasks"], page(server.url)["pyvars.workers"]["retired"]]))
""",
    )
    assert lines == [[7, 117, 2]]


def test_without_a_integration_nothing_is_shared(tmp_path: Path) -> None:
    """A forked child continues from the value at the fork, and no file is made."""
    lines = program(
        tmp_path,
        """
tasks.add(7)
with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
    list(pool.map(task, range(4)))
if (child := os.fork()) == 0:
    tasks.add()
    os._exit(tasks.value)
print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), tasks.value]))
print(json.dumps(os.path.exists("/dev/shm/pyvars-%d/g-%d" % (os.geteuid(), os.getpid()))))
print(json.dumps("pyvars.workers" in sys.modules))
""",
    )
    assert lines == [[8, 7], False, False]


def test_a_program_leaves_no_file(tmp_path: Path) -> None:
    (directory,) = program(
        tmp_path,
        """
pyvars.serve(0)
from pyvars.workers import MEMBER
print(json.dumps(MEMBER.group.directory))
""",
    )
    assert not os.path.exists(directory)


def test_what_a_killed_program_left_is_swept(tmp_path: Path) -> None:
    left, after = program(
        tmp_path,
        """
from pyvars.workers import MEMBER
reader, writer = os.pipe()
code = "import pyvars, os, signal; pyvars.serve(0); from pyvars.workers import MEMBER;"
code += "print(MEMBER.group.directory, flush=True); os.kill(os.getpid(), 9)"
import subprocess
left = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True).stdout.strip()
print(json.dumps(os.path.isdir(left)))
pyvars.serve(0)
print(json.dumps(os.path.isdir(left)))
""",
    )
    assert (left, after) == (True, False)


TWO_PROGRAMS = """
import json, os, subprocess, sys, urllib.request
child = "import pyvars, sys; pyvars.publish('n', pyvars.Int(1)); "
child += "print(pyvars.serve(0).url, flush=True); sys.stdin.read()"
start = lambda: subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
children = [start(), start()]
urls = [child.stdout.readline().decode().strip() for child in children]
pages = [json.load(urllib.request.urlopen(url + "/debug/vars")) for url in urls]
print([[page["n"], page["pyvars.workers"]["live"]] for page in pages])
for child in children: child.communicate()
"""


def test_two_programs_of_one_supervisor_do_not_mix() -> None:
    """The supervisor is a Python program that runs another program twice."""
    assert output(TWO_PROGRAMS) == "[[1, 1], [1, 1]]\n"


def test_a_directory_of_ones_own_joins_what_would_not_find_each_other(tmp_path: Path) -> None:
    place = tmp_path / "shared"
    assert output(TWO_PROGRAMS, PYVARS_SHARE=str(place)) == "[[2, 2], [2, 2]]\n"
    assert place.stat().st_mode & 0o777 == 0o700


def test_sharing_can_be_turned_off() -> None:
    code = """
import urllib.request, pyvars
print(urllib.request.urlopen(pyvars.serve(0).url + "/debug/vars/pyvars.workers").read().decode())
"""
    found = json.loads(output(code, PYVARS_SHARE="off"))
    assert found == group_of(1, reason="PYVARS_SHARE is off")


def test_celery_prefork(tmp_path: Path) -> None:
    """50 tasks in 3 worker processes. The page is served by their parent, the fourth process, which runs no task."""
    port = free_port()
    (tmp_path / "celery_app.py").write_text(
        f"""
import celery, pyvars
app = celery.Celery("app", broker="filesystem://")
app.conf.broker_transport_options = {{
    "data_folder_in": "{tmp_path}/queue", "data_folder_out": "{tmp_path}/queue", "control_folder": "{tmp_path}/control"
}}
app.conf.worker_hijack_root_logger = False
tasks = pyvars.publish("tasks", pyvars.Int())
@app.task(ignore_result=True)
def task(): tasks.add()
if __name__ == "celery_app":
    import sys
    if "worker" in sys.argv: pyvars.serve({port})
"""
    )
    (tmp_path / "queue").mkdir()
    command = ("celery", "-A", "celery_app", "worker", "-c", "3", "--without-gossip", "--without-mingle", "-l", "ERROR")
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "PYTHONWARNINGS": "ignore"}
    with service(*command, ready=port, **environment):
        send = "import celery_app\nfor _ in range(50): celery_app.task.delay()"
        subprocess.run([sys.executable, "-c", send], check=True, timeout=60, env={**os.environ, **environment})
        until = time.monotonic() + 60
        while (found := page(port))["tasks"] < 50:
            assert time.monotonic() < until
        assert found["tasks"] == 50
        assert found["pyvars.workers"]["live"] == 4


def _nobody_can_read(path: str) -> bool:
    return all(os.stat(parent).st_mode & 0o005 == 0o005 for parent in [Path(path), *Path(path).parents])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@AS_NOBODY
@pytest.mark.parametrize("preload", [(), ("--preload",)])
def test_workers_that_drop_root(preload: tuple[str, ...], tmp_path: Path) -> None:
    """The master stays root, so its workers cannot read it; they find each other as their new user."""
    for path in (sys.base_prefix, sys.prefix, str(ROOT)):
        if not _nobody_can_read(path):
            pytest.skip(f"user nobody cannot read {path}, where this Python or the tests are")
    port = free_port()
    command = [part.format(port=port) for part in (*GUNICORN, "--user", "nobody", "--group", "nogroup", *preload)]
    with service(*command, "tests.workers.app:wsgi", ready=port, COVERAGE_PROCESS_CONFIG=""):
        wait_for_members(port, 4)
        assert all(get(port, "/count") for _ in range(100))
        assert {page(port)["orders"] for _ in range(20)} == {100}
        assert page(port)["pyvars.workers"] == group_of(4)
    shutil.rmtree("/dev/shm/pyvars-65534", ignore_errors=True)
