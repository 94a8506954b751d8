"""Finds the group: the owner, and its descendants that were forked without exec, or that multiprocessing started.

The source is /proc. A process that was forked without exec has the same auxiliary vector as its parent, and that vector
has random addresses (man 3 getauxval). So pyvars can distinguish a server, which forks its workers, from a supervisor,
which starts programs. Processes that multiprocessing starts as spawn or forkserver have a command line that shows it.
"""

import os
import re
import sys
from typing import NamedTuple

from pyvars.core.own_file import read
from pyvars.runtime.proc import exists, start_ticks, stat_of

__all__ = (
    "Process",
    "UnknownOwnerError",
    "doubt",
    "find",
    "holds_in_memory",
    "is_running",
    "name_of",
    "owner_in",
    "start_of",
)

PROC = "/proc"
_MAX_CLIMB = 32


class Process(NamedTuple):
    """A process, identified by its pid and its start, because a later process may have the same pid."""

    pid: int
    start: int
    """When it started, in clock ticks since boot: field 22 of /proc/<pid>/stat; 0 if that file cannot be read."""


class UnknownOwnerError(OSError):
    """/proc does not tell whether this process and its parent belong to one group."""


def find(proc: str = PROC) -> list[Process]:
    """This process and its ancestors in the group. The last one is the owner, such as the master process of a server.

    `proc` is where the proc file system is mounted. Raises UnknownOwnerError if /proc does not tell whether a parent
    belongs to the group; the text says what to do.
    """
    pid = os.getpid()
    found = [Process(pid, start_of(pid, proc))]
    while len(found) < _MAX_CLIMB:
        below = found[-1]
        parent = os.getppid() if below.pid == pid else _parent(below.pid, proc)
        above = Process(parent, start_of(parent, proc))
        # A parent that started after its child is another process: the parent has ended and its pid was used again.
        if parent <= 0 or above.start > below.start or not _belongs(below.pid, parent, proc):
            break
        found.append(above)
    return found


def start_of(pid: int, proc: str = PROC) -> int:
    """When the process started, in clock ticks since boot; 0 if that cannot be read."""
    fields = _stat(pid, proc)
    return start_ticks(fields) if fields else 0


def is_running(process: Process) -> bool:
    """Whether this process exists. False if a later process has its pid.

    If one of the two starts is unknown (0), because there is no /proc or it hides the process, the pid alone decides.
    """
    start = start_of(process.pid)
    return start == process.start if start and process.start else exists(process.pid)


def holds_in_memory(process: Process, name: str) -> bool:
    """Whether `process` is running (not a zombie), and has mapped a file of this name, or of any name if it is empty.

    If pyvars may not read which files the process has mapped, it counts as having mapped the file.
    """
    try:
        return is_running(process) and name.encode() in _read(process.pid, "maps", PROC) and not _is_zombie(process)
    except PermissionError:
        return not _is_zombie(process)
    except OSError:  # it has ended a moment ago
        return False


def _is_zombie(process: Process) -> bool:
    return _stat(process.pid, PROC)[:1] in ([b"Z"], [b"X"], [])


def name_of(owner: Process, proc: str = PROC) -> str:
    """The name of the owner's group. It has the inode of the pid namespace, since containers may share a directory."""
    return f"g-{owner.pid}-{owner.start}-{_namespace(proc)}"


def owner_in(name: str) -> Process | None:
    """The owner, which the name of a group contains.

    None if it is not the name of a group, or if the group is of another pid namespace, whose processes are not visible
    here. An owner without /proc does not know its namespace: it counts as one of this namespace.
    """
    match = re.fullmatch(r"g-(\d+)-(\d+)-(\d+)", name)
    return Process(int(match[1]), int(match[2])) if match and int(match[3]) in (0, _namespace()) else None


def doubt(name: str | None) -> str:
    """Why workers may be missing in the group of this name; empty if none can be missing."""
    owner = owner_in(name or "")
    if owner is None or owner.start:
        return ""
    return (
        "/proc does not tell which processes belong together, so workers that were not forked by a process with pyvars"
        " are missing; set PYVARS_SHARE to a directory for this service"
    )


def _namespace(proc: str = PROC) -> int:
    try:
        return os.stat(f"{proc}/self/ns/pid").st_ino
    except OSError:
        return 0


def _stat(pid: int, proc: str) -> list[bytes]:
    try:
        return stat_of(pid, proc)
    except OSError:
        return []


def _parent(pid: int, proc: str) -> int:
    fields = _stat(pid, proc)
    return int(fields[1]) if fields else 0


def _belongs(pid: int, parent: int, proc: str) -> bool:
    """Whether the process belongs to the group of its parent."""
    if _is_multiprocessing(pid, proc):
        return parent != 1 or _same_program(pid, proc)  # pid 1 adopts orphans, but may be the real parent
    try:
        return _read(pid, "auxv", proc) == _read(parent, "auxv", proc)
    except PermissionError:  # the parent is of another user, or this process has changed its user
        return _same_command(pid, parent, proc)
    except OSError:
        return _check_hidden(pid, parent, proc)


def _same_program(pid: int, proc: str) -> bool:
    try:
        return os.readlink(f"{proc}/{pid}/exe") == os.readlink(f"{proc}/1/exe")
    except OSError:
        return False


_FORKSERVERS = (
    b"from multiprocessing.forkserver import main",
    b"import sys; from multiprocessing.forkserver import main",  # Python 3.14
)


def _is_multiprocessing(pid: int, proc: str) -> bool:
    """Whether multiprocessing started the process as spawn or forkserver, or the forkserver forked it."""
    # This process uses sys.orig_argv, because setproctitle may have changed its command line in /proc.
    try:
        arguments = _original_command() if pid == os.getpid() else _read(pid, "cmdline", proc).split(b"\0")
    except OSError:
        return False
    return b"--multiprocessing-fork" in arguments or any(argument.startswith(_FORKSERVERS) for argument in arguments)


def _same_command(pid: int, parent: int, proc: str) -> bool:
    """Whether the process has the command line of its parent.

    This decides if the auxiliary vector of the parent cannot be read because the parent is of another user, such as the
    master process of a server that stays root.
    """
    mine = _read(pid, "cmdline", proc)
    try:
        theirs = _read(parent, "cmdline", proc)
    except OSError:
        return _check_hidden(pid, parent, proc)
    titled = pid == os.getpid() and mine.rstrip(b"\0") != b"\0".join(_original_command())
    if mine != theirs and titled and (parent != 1 or _read(1, "comm", proc) == _read(pid, "comm", proc)):
        # This process has changed its title, for example with setproctitle, and its parent may have done the same.
        raise UnknownOwnerError(
            f"this process has changed its title (setproctitle), and its parent {parent} runs as another user, so"
            " pyvars cannot tell whether they belong together; set PYVARS_SHARE to a directory for this service"
        )
    return mine == theirs


def _original_command() -> list[bytes]:
    return [os.fsencode(argument) for argument in sys.orig_argv]


def _check_hidden(pid: int, parent: int, proc: str) -> bool:
    """Returns False, for a parent that cannot be read. Raises if /proc hides the processes of other users."""
    if parent != 1 and _stat(pid, proc):
        raise UnknownOwnerError(
            f"/proc hides the parent process {parent}, so pyvars cannot tell whether they belong together; set"
            " PYVARS_SHARE to a directory for this service"
        )
    return False


def _read(pid: int, file: str, proc: str) -> bytes:
    return read(f"{proc}/{pid}/{file}")
