"""Reloaders: a parent process watches the files, and a child runs the program anew after each change of one.

The child gets the side port, even if the parent has opened it first; no other process gets it.
"""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from pyvars.cli.reloaders import child_of_reloader
from tests.programs import ROOT, output
from tests.services import free_port

SERVE = """
import os, sys
import pyvars
pyvars.publish("version", pyvars.String("1"))
server = pyvars.serve(int(os.environ["SIDE"]))
"""
FLASK = f"""{SERVE}
from flask import Flask
app = Flask(__name__)
if __name__ == "__main__":
    app.run(debug=True, port=int(os.environ["PORT"]))
"""
DJANGO = f"""{SERVE}
from django.conf import settings
from django.core.management import execute_from_command_line
settings.configure(DEBUG=True, ROOT_URLCONF=__name__, SECRET_KEY="x" * 50, USE_TZ=True)
urlpatterns = []
if __name__ == "__main__":
    execute_from_command_line(sys.argv)
"""
ASGI = f"""{SERVE}
async def app(scope, receive, send):
    await receive()
"""
HUPPER = f"""{SERVE}
import hupper, signal
def main():
    hupper.start_reloader("program.main", verbose=0, reload_interval=0.2)
    signal.pause()
"""
PROGRAMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "flask run --debug": (FLASK, ("-m", "flask", "--app", "program", "run", "--debug", "--port", "{port}")),
    "app.run(debug=True)": (FLASK, ("program.py",)),
    "manage.py runserver": (DJANGO, ("program.py", "runserver", "127.0.0.1:{port}", "--skip-checks")),
    "uvicorn --reload": (ASGI, ("-m", "uvicorn", "program:app", "--reload", "--port", "{port}")),
    "hupper": (HUPPER, ("run.py",)),
}


class Program:
    def __init__(self, process: "subprocess.Popen[bytes]", file: Path, port: int) -> None:
        self.process = process
        self.file = file
        self.port = port

    def page(self) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", "/debug/vars")
            return json.loads(connection.getresponse().read())
        except OSError:
            return None
        finally:
            connection.close()

    def until(self, wanted: Callable[[Any], bool]) -> Any:
        end = time.monotonic() + 55
        while not ((page := self.page()) and wanted(page)):
            said = (self.file.parent / "log").read_text()
            assert self.process.poll() is None, said
            assert time.monotonic() < end, (page, said)
            time.sleep(0.02)
        return page

    def change(self) -> Any:
        """Write a second version; returns the page of it."""
        self.file.write_text(self.file.read_text().replace('String("1")', 'String("2")'))
        due = 0.0

        def changed(page: Any) -> bool:
            # Repeatedly, since the reloader may not watch yet; with a later time, since some compare whole seconds. But
            # seldom, and not while a child is starting, since the reloader would interrupt it.
            nonlocal due
            if page["version"] != "2" and time.monotonic() >= due:
                later = time.time() + 10 * time.monotonic()
                os.utime(self.file, (later, later))
                due = time.monotonic() + 2
            return page["version"] == "2"

        return self.until(changed)


@contextmanager
def started(folder: Path, source: str, *command: str, **environment: str) -> Iterator[Program]:
    file = folder / "program.py"
    file.write_text(source)
    (folder / "run.py").write_text("import program; program.main()")
    side, port = free_port(), free_port()
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            [sys.executable, *(word.format(port=port, side=side) for word in command)],
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "PYTHONDONTWRITEBYTECODE": "1",
                "SIDE": str(side),
                "PORT": str(port),
                **environment,
            },
            stdout=log,
            stderr=log,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield Program(process, file, side)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_child_of_a_reloader_has_the_side_port(name: str, tmp_path: Path) -> None:
    source, command = PROGRAMS[name]
    with started(tmp_path, source, *command) as program:
        parent = program.process.pid
        first = program.until(lambda page: page["process"]["pid"] != parent)
        assert (first["version"], first["pyvars.workers"]["live"]) == ("1", 1)
        second = program.change()
        assert second["process"]["pid"] not in (parent, first["process"]["pid"])
        assert second["pyvars.workers"]["live"] == 1


def test_a_child_of_watchfiles_has_the_side_port(tmp_path: Path) -> None:
    source = f"""
def main():
    {SERVE.replace(chr(10), chr(10) + "    ")}
    import time
    time.sleep(60)
if __name__ == "__main__":
    import watchfiles
    # Not the log, which stands beside it: a child that is interrupted writes there, and the next would be, too.
    watchfiles.run_process(".", target=main, debounce=100, watch_filter=watchfiles.PythonFilter())
"""
    with started(tmp_path, source, "program.py") as program:
        parent = program.process.pid
        assert program.until(lambda page: True)["process"]["pid"] != parent
        assert program.change()["process"]["pid"] != parent


# The parent serves an address, and starts the process that its argument names; a child of the same program starts none.
FAMILY = """
import os, subprocess, sys
import pyvars
port = int(os.environ["SIDE"])
try:
    server = pyvars.serve(port)
except OSError as error:
    sys.exit(f"{error.errno}")
if "CHILD" in os.environ:
    sys.exit("served")
child = {child}
done = subprocess.run(child, env={**os.environ, "CHILD": "1"}, capture_output=True, text=True, timeout=50)
print(done.stderr.splitlines()[-1], server.serving)
"""


@pytest.mark.parametrize(
    ("child", "printed"),
    [
        ("[sys.executable, *sys.argv]", "served False\n"),
        ("[sys.executable, '-W', 'ignore', os.path.abspath(sys.argv[0]), *sys.argv[1:]]", "98 True\n"),
        ("[sys.executable, *sys.argv, 'more']", "98 True\n"),
        ("[sys.executable, 'other.py', *sys.argv[1:]]", "98 True\n"),
        ("['sh', '-c', '\"$@\"; exit $?', 'sh', sys.executable, *sys.argv]", "98 True\n"),
    ],
    ids=["itself", "absolute", "other arguments", "other program", "a grandchild"],
)
def test_only_a_child_of_the_same_program_is_given_it(child: str, printed: str, tmp_path: Path) -> None:
    for name in ("program.py", "other.py"):
        (tmp_path / name).write_text(FAMILY.replace("{child}", child))
    assert family(tmp_path, "program.py", "argument") == printed


def test_programs_without_a_file(tmp_path: Path) -> None:
    """Two programs of `python -c` are the same if their texts are; those from standard input cannot be compared."""
    code = FAMILY.replace("{child}", "[sys.executable, *sys.orig_argv[1:]]")
    assert family(tmp_path, "-c", code) == "served False\n"
    code = FAMILY.replace("{child}", "[sys.executable, *sys.orig_argv[1:-1], sys.orig_argv[-1] + '#']")
    assert family(tmp_path, "-c", code) == "98 True\n"
    code = FAMILY.replace("{child}", "[sys.executable, '-c', 'import sys; sys.argv = [\"-\"];' + os.environ['CODE']]")
    assert family(tmp_path, "-", given=code, CODE=code.replace("\n", "\n")) == "98 True\n"


def family(folder: Path, *command: str, given: str = "", **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SIDE": str(free_port()), **environment},
        input=given,
        capture_output=True,
        text=True,
        timeout=100,
    )
    return done.stdout + (done.stderr if done.returncode else "")


def test_others_ask_in_vain() -> None:
    """A process that is no child, an empty and a too long question; serve() also works if the name is taken."""
    code = """
import os, socket, subprocess, sys
import pyvars
from pyvars.sideport.handover import program
from tests.services import free_port
sys.argv = ["name"]
port = free_port()
with pyvars.serve(port) as server:
    name = f"\\0pyvars-{os.getpid()}-{port}-127.0.0.1"
    for question in (program() + b"\\n", b"x" * 2_000_000, b"\\n"):
        with socket.socket(socket.AF_UNIX) as asker:
            asker.connect(name)
            try:
                asker.sendall(question)
                print(asker.recv(9))
            except ConnectionError:
                print(b"")
    print(server.serving)
with socket.socket(socket.AF_UNIX) as taken:
    taken.bind(name)
    with pyvars.serve(port) as server: print(server.serving)
"""
    assert output(code) == "b''\nb''\nb''\nTrue\nTrue\n"


@pytest.mark.parametrize("name", ["manage.py runserver", "hupper"])
def test_below_the_command_line_the_page_says_what_to_do(name: str, tmp_path: Path) -> None:
    source, command = PROGRAMS[name]
    unchanged = source.replace('server = pyvars.serve(int(os.environ["SIDE"]))', "")
    side, port = free_port(), free_port()
    (tmp_path / "program.py").write_text(unchanged)
    (tmp_path / "run.py").write_text("import program; program.main()")
    arguments = [part.format(port=port) for part in command]
    with subprocess.Popen(
        [sys.executable, "-m", "pyvars", "--port", str(side), *arguments],
        cwd=tmp_path,
        env={**os.environ, "PORT": str(port), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            program = Program(process, tmp_path / "program.py", side)
            (tmp_path / "log").write_text("")
            page = program.until(lambda page: page["pyvars.workers"]["reason"])
            assert "call pyvars.serve() in the program" in page["pyvars.workers"]["reason"]
            assert page["pyvars.workers"]["shared"]
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_a_child_of_a_reloader_is_found_while_it_lives(tmp_path: Path) -> None:
    assert child_of_reloader() == ""
    wait = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(wait, stdin=subprocess.PIPE, env={**os.environ, "RUN_MAIN": "true"}) as process:
        end = time.monotonic() + 30
        while f"in process {process.pid}," not in child_of_reloader():  # the child may not have started yet
            assert time.monotonic() < end
    assert child_of_reloader() == ""
    assert child_of_reloader(str(tmp_path / "nowhere")) == ""


def test_only_the_parent_gives_the_address_away() -> None:
    """Another process may listen on the socket name at which children ask their parent."""
    code = """
import os, socket
from pyvars.sideport import handover

port = 12345
bound, told = os.pipe()
go_on, end = os.pipe()
stranger = os.fork()
if stranger == 0:
    os.close(end)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(handover._name(os.getppid(), "127.0.0.1", port))
        listener.listen()
        os.write(told, b".")
        os.read(go_on, 1)
    os._exit(0)
os.read(bound, 1)
child = os.fork()
if child == 0:
    print(handover.ask_parent("127.0.0.1", port), flush=True)
    os._exit(0)
os.waitpid(child, 0)
os.close(end)
os.waitpid(stranger, 0)
"""
    assert output(code) == "False\n"
