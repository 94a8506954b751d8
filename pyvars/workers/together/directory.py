"""The group directory, where the workers of a group meet: private to one user, and in memory if possible.

The directory of a user is `/dev/shm/pyvars-<uid>`, or else `pyvars-<uid>` below $XDG_RUNTIME_DIR or below the temporary
directory. It holds one group directory for each group. The environment variable PYVARS_SHARE names the group directory
itself, or is `off`.
"""

import os
import stat
from contextlib import suppress
from tempfile import gettempdir

from pyvars.workers.together.group import find, is_running, name_of, owner_in
from pyvars.workers.together.locks import AVAILABLE, is_locked

__all__ = (
    "RETIRED",
    "SEGMENT",
    "UnsharedError",
    "find_group_directory",
    "group_exists",
    "private_directory",
    "remove_group",
    "socket_of",
    "sweep",
)

SEGMENT = "w-"
"""The prefix of the file names of segments."""
RETIRED = "retired"
"""The name of the retired file, which holds the numbers of dead workers."""


def socket_of(segment: str) -> str:
    """The file name of the socket that belongs to a segment."""
    return f"s-{segment.removeprefix(SEGMENT)}"


class UnsharedError(Exception):
    """This process cannot share its numbers; the text says why, and what to do about it."""


def find_group_directory(group: str | None) -> str:
    """The path of this process's group directory, which is made if it is missing.

    `group` is the name of the group if that is known already; else it is found in /proc.

    Raises:
        UnsharedError: the system has no record locks, PYVARS_SHARE is off, or the directory is not private.
        OSError: the directory cannot be made or read.
        UnknownOwnerError: /proc does not tell which processes belong together.
    """
    if not AVAILABLE:
        raise UnsharedError("this system has no record locks (fcntl)")
    wanted = os.environ.get("PYVARS_SHARE", "")
    if wanted == "off":
        raise UnsharedError("PYVARS_SHARE is off")
    if wanted:
        return private_directory(os.path.abspath(wanted))
    base = private_directory(os.path.join(_memory(), f"pyvars-{os.geteuid()}"))
    return private_directory(os.path.join(base, group or _group(base)))


def group_exists() -> bool:
    """Whether the group directory of this process exists already. False if /proc does not tell which it is."""
    wanted = os.environ.get("PYVARS_SHARE", "")
    if wanted or not AVAILABLE:
        return wanted != "off" and os.path.isdir(wanted)
    base = os.path.join(_memory(), f"pyvars-{os.geteuid()}")
    try:
        return os.path.isdir(os.path.join(base, _group(base)))
    except OSError:
        return False


def _memory() -> str:
    for place in ("/dev/shm", os.environ.get("XDG_RUNTIME_DIR", "")):
        if place and os.access(place, os.W_OK | os.X_OK):
            return place
    return gettempdir()


def _group(base: str) -> str:
    ancestors = find()
    # An ancestor may be a worker of a group whose owner has ended: a program that became a daemon, say.
    for process in ancestors:
        for group in _groups(base):
            if any(file.startswith(f"{SEGMENT}{process.pid}-{process.start}-") for file in _files(group)):
                return os.path.basename(group)
    return name_of(ancestors[-1])


def private_directory(path: str) -> str:
    """Make the directory with mode 0700, or check that the existing one is private to this user; returns the path.

    Raises:
        UnsharedError: the path is no directory, belongs to another user, or is open to others.
        OSError: the directory cannot be made.
    """
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise UnsharedError(
            f"{path} must be a directory that belongs to user {os.geteuid()} with mode 0700; remove it, or name another"
            " one in PYVARS_SHARE"
        )
    return path


def sweep(base: str, keep: str = "") -> None:
    """Remove each group directory in `base`, except `keep`, whose owner has ended and which has no live worker.

    Does nothing if PYVARS_SHARE is set: the directories beside the one that it names do not belong to pyvars.
    """
    if os.environ.get("PYVARS_SHARE"):
        return
    for group in _groups(base):
        owner = owner_in(os.path.basename(group))
        if group == keep or owner is None or is_running(owner):
            continue
        remove_group(group)


def remove_group(group: str, own: str = "") -> None:
    """Remove the group directory if it has no live worker except the one whose segment is `own`.

    A worker that is joining locks its segment before it publishes it, so a published segment of a live worker is always
    locked, and is left alone.
    """
    files = [os.path.join(group, file) for file in _files(group)]
    # Not the own segment: is_locked opens and closes the file, which would drop this process's lock of it.
    if any(is_locked(file) for file in files if os.path.basename(file) != own):
        return
    for file in files:
        if os.path.basename(file) == own or not is_locked(file):
            with suppress(OSError):
                os.unlink(file)
    with suppress(OSError):  # not empty: a worker is joining
        os.rmdir(group)


def _groups(base: str) -> list[str]:
    """The paths of the group directories in `base` that are of this user and of this pid namespace.

    `base` may hold entries of other users too. An entry that another process removes meanwhile is left out.
    """
    try:
        with os.scandir(base) as entries:
            return [entry.path for entry in entries if owner_in(entry.name) is not None and _is_own_directory(entry)]
    except OSError:
        return []


def _is_own_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_uid == os.geteuid()
    except FileNotFoundError:
        return False


def _files(group: str) -> list[str]:
    try:
        return os.listdir(group)
    except OSError:
        return []
