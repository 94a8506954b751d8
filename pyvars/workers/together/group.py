"""Which processes belong together: those that one process forked without exec, or started through multiprocessing.

Found in facts of /proc that anybody may read. A process that was forked without exec has the auxiliary vector of its
parent, which holds random addresses (man 3 getauxval); servers that fork their workers are so told from supervisors
that start programs. Children that multiprocessing starts afresh say so on their command line.
"""

import os
import re
import sys
from typing import NamedTuple

__all__ = ("Process", "UnknownOwnerError", "find", "is_running", "name_of", "owner_in", "start_of")

PROC = "/proc"
_MAX_CLIMB = 32


class Process(NamedTuple):
    """A process; the start tells it from a later one with its pid."""

    pid: int
    start: int
    """In clock ticks since boot: field 22 of /proc/<pid>/stat; 0 where there is no such file."""


class UnknownOwnerError(OSError):
    """It cannot be told who owns this process."""


def find(proc: str = PROC) -> list[Process]:
    """This process, and those above it up to the owner of all, such as the master process of a server.

    `proc` is where the proc file system is mounted. Raises UnknownOwnerError if it does not tell; the text says what to
    do.
    """
    pid = os.getpid()
    found = [Process(pid, start_of(pid, proc))]
    while len(found) < _MAX_CLIMB:
        below = found[-1]
        parent = os.getppid() if below.pid == pid else _parent(below.pid, proc)
        above = Process(parent, start_of(parent, proc))
        # A start after its child's: the parent has gone, and its pid is another's.
        if parent <= 0 or above.start > below.start or not _belongs(below.pid, parent, proc):
            break
        found.append(above)
    return found


def start_of(pid: int, proc: str = PROC) -> int:
    """When the process started; 0 if that cannot be read."""
    fields = _stat(pid, proc)
    return int(fields[19]) if fields else 0


def is_running(process: Process) -> bool:
    """Whether this very process is there."""
    return start_of(process.pid) == process.start != 0


def name_of(owner: Process, proc: str = PROC) -> str:
    """The name of the owner's group. The namespace of pids is in it: containers can share a directory."""
    return f"g-{owner.pid}-{owner.start}-{_namespace(proc)}"


def owner_in(name: str) -> Process | None:
    """The owner that the name of a group tells; None if it is of another namespace of pids, where we see nobody."""
    match = re.fullmatch(r"g-(\d+)-(\d+)-(\d+)", name)
    return Process(int(match[1]), int(match[2])) if match and int(match[3]) == _namespace() else None


def _namespace(proc: str = PROC) -> int:
    try:
        return os.stat(f"{proc}/self/ns/pid").st_ino
    except OSError:
        return 0


def _stat(pid: int, proc: str) -> list[bytes]:
    """The fields from the third on; the second, the name, may hold anything."""
    try:
        return _read(pid, "stat", proc).rpartition(b")")[2].split()
    except OSError:
        return []


def _parent(pid: int, proc: str) -> int:
    fields = _stat(pid, proc)
    return int(fields[1]) if fields else 0


def _belongs(pid: int, parent: int, proc: str) -> bool:
    """Whether the process is a worker of its parent."""
    if _is_multiprocessing(pid, proc):
        return parent != 1 or _same_program(pid, proc)  # an orphan's parent is pid 1, which may be ours, too
    try:
        return _read(pid, "auxv", proc) == _read(parent, "auxv", proc)
    except PermissionError:  # of another user, or this process has changed its own
        return _same_command(pid, parent, proc)
    except OSError:
        return _hidden(pid, parent, proc)


def _same_program(pid: int, proc: str) -> bool:
    try:
        return os.readlink(f"{proc}/{pid}/exe") == os.readlink(f"{proc}/1/exe")
    except OSError:
        return False


def _is_multiprocessing(pid: int, proc: str) -> bool:
    """Started by multiprocessing's spawn or forkserver, or forked by the latter."""
    # What this process was started with is known, whatever title it has now.
    try:
        arguments = _original_command() if pid == os.getpid() else _read(pid, "cmdline", proc).split(b"\0")
    except OSError:
        return False
    return b"--multiprocessing-fork" in arguments or any(
        argument.startswith(b"from multiprocessing.forkserver import main") for argument in arguments
    )


def _same_command(pid: int, parent: int, proc: str) -> bool:
    """What is left when the parent is of another user, as a server's master that stays root."""
    mine = _read(pid, "cmdline", proc)
    try:
        theirs = _read(parent, "cmdline", proc)
    except OSError:
        return _hidden(pid, parent, proc)
    titled = pid == os.getpid() and mine.rstrip(b"\0") != b"\0".join(_original_command())
    if mine != theirs and titled and (parent != 1 or _read(1, "comm", proc) == _read(pid, "comm", proc)):
        # setproctitle or the like: the parent may have a title of its own, too.
        raise UnknownOwnerError(
            f"this process has a title, and its parent {parent} is of another user, so it cannot be told whether they"
            " belong together; set PYVARS_SHARE to a directory of the service"
        )
    return mine == theirs


def _original_command() -> list[bytes]:
    return [os.fsencode(argument) for argument in sys.orig_argv]


def _hidden(pid: int, parent: int, proc: str) -> bool:
    if parent != 1 and _stat(pid, proc):
        raise UnknownOwnerError(
            f"/proc hides the parent process {parent}, so it cannot be told whether they belong together; set"
            " PYVARS_SHARE to a directory of the service"
        )
    return False


def _read(pid: int, file: str, proc: str) -> bytes:
    with open(f"{proc}/{pid}/{file}", "rb") as opened:
        return opened.read()
