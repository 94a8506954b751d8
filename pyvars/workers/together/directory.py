"""The group directory, which holds the files of all workers of a group: private to one user, and in memory if possible.

It is in the directory of the user: `/dev/shm/pyvars-<uid>`, or if /dev/shm cannot be written, `pyvars-<uid>` below
$XDG_RUNTIME_DIR or below the temporary directory. The environment variable PYVARS_SHARE can name another group
directory, by an absolute path; `off` or `0` turns sharing off.
"""

import os
import stat
from contextlib import suppress
from tempfile import gettempdir

from pyvars.workers.together.files import first_foreign, is_left, is_ours, own, owner_of, remove
from pyvars.workers.together.group import find, is_running, name_of, owner_in
from pyvars.workers.together.locks import AVAILABLE

__all__ = (
    "UnsharedError",
    "find_group_directory",
    "group_exists",
    "has_ended",
    "private_directory",
    "remove_group",
    "sweep",
)


_OFF = ("off", "0")
"""The values of PYVARS_SHARE that turn sharing off; PYVARS_NATIVE=0 is off, too."""


class UnsharedError(Exception):
    """This process cannot share its numbers. The text says why, and what to do about it."""


def find_group_directory(group: str | None) -> str:
    """Find the group directory of this process, or make it if it is missing. Returns its path.

    `group` is the name of the group, if that is known already. Otherwise the name is found in /proc, and the
    directories of groups that have ended are removed.

    Raises:
        UnsharedError: the system has no record locks; PYVARS_SHARE is off, is no absolute path, or names a directory
            with files of other programs; the directory cannot be made or read, or is not private; or /proc does not
            tell which processes belong together.
    """
    if not AVAILABLE:
        raise UnsharedError("this system has no record locks (fcntl)")
    wanted = os.environ.get("PYVARS_SHARE", "")
    if wanted in _OFF:
        raise UnsharedError(f"PYVARS_SHARE is {wanted}")
    if wanted and not os.path.isabs(wanted):  # it would be another directory in each working directory
        raise UnsharedError(f"PYVARS_SHARE is an absolute path, or off; got {wanted!r}")
    try:
        if wanted:
            return _without_foreign_files(private_directory(os.path.abspath(wanted)))
        base = private_directory(os.path.join(_memory(), f"pyvars-{os.geteuid()}"))
        found = private_directory(os.path.join(base, group or _group(base)))
    except OSError as error:
        raise UnsharedError(str(error)) from None
    if group is None:
        sweep(base, keep=found)
    return found


def group_exists() -> bool:
    """Whether the group directory of this process exists already. False also if /proc does not tell which one it is."""
    wanted = os.environ.get("PYVARS_SHARE", "")
    if wanted or not AVAILABLE:
        return os.path.isabs(wanted) and os.path.isdir(wanted)
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
    # An ancestor may be a worker of a group whose owner has ended: for example, the owner forked a daemon and exited.
    for process in ancestors:
        for group in _groups(base):
            if any(file.startswith("w-") and owner_of(file) == process for file in _files(group)):
                return os.path.basename(group)
    return name_of(ancestors[-1])


def private_directory(path: str) -> str:
    """Make the directory with mode 0700, or check that the existing one is private to this user. Returns the path.

    Raises:
        UnsharedError: the path is not a directory, belongs to another user, or others have rights to it.
        OSError: the directory cannot be made.
    """
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise UnsharedError(
            f"{path} must be a directory of user {os.geteuid()} with mode 0700; remove it, or set PYVARS_SHARE to"
            " another directory"
        )
    return path


def _without_foreign_files(path: str) -> str:
    foreign = first_foreign(path)
    if foreign is not None:
        raise UnsharedError(
            f"{path} holds {foreign!r}, which is no file of pyvars; set PYVARS_SHARE to a directory that is empty, or"
            " does not exist yet"
        )
    return path


def sweep(base: str, keep: str = "") -> None:
    """Remove each group directory in `base` whose owner has ended and which has no live worker; not `keep`."""
    for group in _groups(base):
        if group != keep and has_ended(group):
            remove_group(group)


def has_ended(group: str, without: int = 0) -> bool:
    """Whether the owner of the group has ended. The process with the pid `without` counts as ended.

    False if PYVARS_SHARE names the directory, because the group has no owner then.
    """
    owner = owner_in(os.path.basename(group))
    return owner is not None and (owner.pid == without or not is_running(owner))


def remove_group(group: str) -> None:
    """Remove the group directory if it has no live worker except this process.

    If there are files that are not of pyvars, these stay, and so does the directory. A worker locks its segment before
    it publishes it, so the segment of a worker that is just joining stays, too.
    """
    names = [name for name in _files(group) if is_ours(group, name)]
    if not all(name in own or is_left(group, name) for name in names):
        return
    for name in names:
        if name in own or is_left(group, name):
            remove(group, name)
    with suppress(OSError):  # not empty: a worker is joining
        os.rmdir(group)


def _groups(base: str) -> list[str]:
    """The paths of the group directories in `base` that are of this user and of this pid namespace.

    `base` may also have entries of other users. An entry that another process removes meanwhile is left out.
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
