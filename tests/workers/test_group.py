"""Which processes are a group, by /proc: a table of parents and the expected owner."""

import os
import sys
from pathlib import Path

import pytest

from pyvars.workers.together.group import Process, UnknownOwnerError, find, name_of, owner_in
from tests.programs import run

ME, PARENT = os.getpid(), os.getppid()
COMMAND = b"\0".join(map(os.fsencode, sys.orig_argv)) + b"\0"
SPAWNED = b"python\0-c\0from multiprocessing.spawn import spawn_main\0--multiprocessing-fork\0"
FORKSERVER = b"python\0-c\0from multiprocessing.forkserver import main; main(3)\0"
LATER_FORKSERVER = FORKSERVER.replace(b"from", b"import sys; from")  # of Python 3.14


class Proc:
    """A proc file system with this process, which started at tick 900."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.add(ME, PARENT, start=900, auxv=b"mine", cmdline=COMMAND)

    def add(
        self, pid: int, parent: int, *, start: int, auxv: bytes | None = b"", cmdline: bytes | None = b"", exe: str = ""
    ) -> None:
        """Add a process. Files that are None do not exist."""
        folder = self.root / str(pid)
        folder.mkdir(exist_ok=True)
        fields = ["S", str(parent), *["0"] * 17, str(start)]
        (folder / "stat").write_text(f"{pid} (a) b) {' '.join(fields)} 0")
        for name, data in (("auxv", auxv), ("cmdline", cmdline)):
            path = folder / name
            if data is not None:
                path.write_bytes(data)
        if exe:
            (folder / "exe").symlink_to(exe)

    def owner(self) -> int:
        """The pid of the owner that is found."""
        return find(str(self.root))[-1].pid


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


def test_forked_without_exec(proc: Proc) -> None:
    proc.add(PARENT, 70, start=800, auxv=b"mine")
    proc.add(70, 60, start=700, auxv=b"mine")
    proc.add(60, 1, start=600, auxv=b"a shell's")
    assert find(str(proc.root)) == [Process(ME, 900), Process(PARENT, 800), Process(70, 700)]


def test_started_by_a_supervisor(proc: Proc) -> None:
    proc.add(PARENT, 1, start=800, auxv=b"theirs", cmdline=COMMAND)
    assert proc.owner() == ME


def test_the_pid_of_a_parent_that_has_gone_is_anothers(proc: Proc) -> None:
    proc.add(PARENT, 1, start=950, auxv=b"mine")
    assert proc.owner() == ME


@pytest.mark.parametrize("forkserver", [FORKSERVER, LATER_FORKSERVER])
def test_spawned_and_forked_and_served(proc: Proc, forkserver: bytes) -> None:
    """This process was forked by a spawned one, whose parent is a fork server of the program."""
    proc.add(PARENT, 70, start=800, auxv=b"mine", cmdline=SPAWNED)
    proc.add(70, 60, start=700, auxv=b"x", cmdline=forkserver)
    proc.add(60, 50, start=600, auxv=b"y", cmdline=forkserver)
    proc.add(50, 40, start=500, auxv=b"z", cmdline=b"python\0app.py\0")
    proc.add(40, 1, start=400, auxv=b"a shell's")
    assert proc.owner() == 50


def test_an_orphan_is_its_own_owner(proc: Proc) -> None:
    proc.add(PARENT, 1, start=800, auxv=b"mine", cmdline=SPAWNED, exe="/usr/bin/python")
    proc.add(1, 0, start=1, auxv=b"init", exe="/sbin/init")
    assert proc.owner() == PARENT


def test_in_a_container_the_program_is_the_first_process(proc: Proc) -> None:
    proc.add(PARENT, 1, start=800, auxv=b"mine", cmdline=SPAWNED, exe="/usr/bin/python")
    proc.add(1, 0, start=1, auxv=b"python", cmdline=b"python\0app.py\0", exe="/usr/bin/python")
    assert proc.owner() == 1


def test_an_orphan_whose_program_cannot_be_seen(proc: Proc) -> None:
    proc.add(PARENT, 1, start=800, auxv=b"mine", cmdline=SPAWNED)
    proc.add(1, 0, start=1, auxv=b"init")
    assert proc.owner() == PARENT


def test_a_chain_without_end_is_cut(proc: Proc) -> None:
    proc.add(PARENT, PARENT, start=900, auxv=b"mine")
    assert len(find(str(proc.root))) == 32


def test_without_proc_a_process_is_alone(tmp_path: Path) -> None:
    assert find(str(tmp_path)) == [Process(ME, 0)]
    assert name_of(Process(ME, 0), str(tmp_path)) == f"g-{ME}-0-0"
    assert owner_in(f"g-{ME}-0-0") == Process(ME, 0)  # also of an existing directory, so that it can be removed


def test_a_parent_whose_command_line_is_hidden(proc: Proc) -> None:
    proc.add(PARENT, 70, start=800, auxv=b"mine", cmdline=None)
    proc.add(70, 1, start=700, auxv=b"a shell's")
    assert proc.owner() == PARENT


def test_a_parent_that_proc_hides_is_reported(proc: Proc) -> None:
    with pytest.raises(UnknownOwnerError, match=f"hides the parent process {PARENT}.*set PYVARS_SHARE"):
        proc.owner()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have a child of another user")
@pytest.mark.parametrize(
    ("title", "found"),
    [
        ("", "the parent"),
        # As if the server had set its title: the last byte of the command line is overwritten in the child, while
        # setproctitle overwrites all of it. Whether the parent has set a title cannot be known.
        ("write_title()", "this process has changed its title (setproctitle), and its parent <pid> runs as another"),
    ],
)
def test_a_parent_of_another_user(title: str, found: str) -> None:
    """Its auxiliary vector cannot be read; real processes, since the kernel refuses nothing to root."""
    code = f"""
import ctypes, os
from pyvars.workers.together.group import find, UnknownOwnerError
def write_title():
    start = int(open("/proc/self/stat").read().rpartition(")")[2].split()[45])
    ctypes.memset(start, 120, 1)
parent = os.getpid()
reader, writer = os.pipe()
if os.fork() == 0:
    {title or "pass"}
    os.setegid(65534)
    os.seteuid(65534)
    try:
        text = "the parent" if find()[-1].pid == parent else "nobody"
    except UnknownOwnerError as error:
        text = str(error).replace(str(parent), "<pid>")
    os.write(writer, text.encode())
    os.seteuid(0)
    os._exit(0)
os.wait()
print(os.read(reader, 1000).decode())
"""
    assert run(code).stdout.startswith(found)
