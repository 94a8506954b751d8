"""Where the processes of a deployment meet: a private directory, in memory where there is such a place.

The directory of a user is `/dev/shm/pyvars-<uid>`, else the same below $XDG_RUNTIME_DIR or the temporary directory; in
it each group of processes has one. PYVARS_SHARE names the group's directory itself, or is `off`.
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
"""How the names of segments begin."""
RETIRED = "retired"
"""The name of the file that holds what dead workers counted."""


def socket_of(segment: str) -> str:
    """The name of the socket beside a segment."""
    return f"s-{segment.removeprefix(SEGMENT)}"


class UnsharedError(Exception):
    """Numbers cannot be shared; the text says why, and how to mend it."""


def find_group_directory(group: str | None) -> str:
    """The directory of this process's group, made if need be; `group` is its name if it is known already.

    Raises:
        UnsharedError: there is no such place; it was turned off; or it cannot be told which processes belong together.
        OSError: the same, in the words of the system.
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
    """Whether the directory of this process's group is there already."""
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
    # One of these may be a member of a group whose owner has gone, such as a program that became a daemon.
    for process in ancestors:
        for group in _groups(base):
            if any(file.startswith(f"{SEGMENT}{process.pid}-{process.start}-") for file in _files(group)):
                return os.path.basename(group)
    return name_of(ancestors[-1])


def private_directory(path: str) -> str:
    """Make the directory, or see that it is ours alone, and hand the path back.

    Raises:
        UnsharedError: others can reach it, or it is no directory.
        OSError: it cannot be made.
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
    """Remove the groups in `base` that have neither an owner nor a live member, but for `keep`.

    Not where PYVARS_SHARE says: what is beside that directory is not ours.
    """
    if os.environ.get("PYVARS_SHARE"):
        return
    for group in _groups(base):
        owner = owner_in(os.path.basename(group))
        if group == keep or owner is None or is_running(owner):
            continue
        remove_group(group)


def remove_group(group: str, own: str = "") -> None:
    """Remove the directory if no member of it lives but the process whose segment is `own`.

    A newborn's segment is locked before it can be seen, and so left alone.
    """
    files = [os.path.join(group, file) for file in _files(group)]
    # To ask of the own segment would end its lock.
    if any(is_locked(file) for file in files if os.path.basename(file) != own):
        return
    for file in files:
        if os.path.basename(file) == own or not is_locked(file):
            with suppress(OSError):
                os.unlink(file)
    with suppress(OSError):  # not empty: there is a newborn
        os.rmdir(group)


def _groups(base: str) -> list[str]:
    """The groups in a directory, which may be anybody's: those of this user and of this namespace of pids."""
    try:
        return [
            entry.path
            for entry in os.scandir(base)
            if owner_in(entry.name) is not None
            and entry.is_dir(follow_symlinks=False)
            and entry.stat(follow_symlinks=False).st_uid == os.geteuid()
        ]
    except OSError:
        return []


def _files(group: str) -> list[str]:
    try:
        return os.listdir(group)
    except OSError:
        return []
