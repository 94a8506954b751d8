"""The files of a group directory, and which entries of a directory are certainly files of pyvars.

Only these are ever opened, removed or replaced: a directory that PYVARS_SHARE names may get files of other programs at
any time. Opening alone can do harm, since closing a file drops the record locks that this process has of it.
"""

import os
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice

from pyvars.core.own_file import OwnFile
from pyvars.workers.together.group import Process, holds_in_memory
from pyvars.workers.together.locks import is_locked

__all__ = (
    "MAGIC",
    "RETIRED",
    "WITHOUT_ROOM",
    "first_foreign",
    "has_lost_lock",
    "is_left",
    "is_ours",
    "own",
    "owner_of",
    "peers_in",
    "remove",
    "socket_of",
)

MAGIC = b"pyvars\0"
"""How every segment and the retired file begin."""
_BEGINNING = len(MAGIC) + 1
"""Bytes of the magic with the version of the format."""
RETIRED = "retired"
"""The name of the retired file, which holds the numbers of dead workers."""

# <prefix>-<pid>-<start>-<random>: a segment, one that is not published yet, a socket. The retired file is written as a
# segment of pid 0 and then renamed.
_OF_WORKER = re.compile(r"(w|\.w|s)-([0-9]+)-([0-9]+)-[0-9a-f]+")
WITHOUT_ROOM = re.compile(r"w-([0-9]{1,10})-([0-9]{1,18})-[0-9a-f]{8}")
"""The names of segments which may be empty, since there was no room for them: a pid, a start time and 8 digits."""
_OF_ADDRESS = re.compile(r"p-[0-9]+-[A-Za-z0-9_.~%-]*")

_MAX_LOOKED_AT = 10_000
"""How many entries of a directory are checked: a directory of other files may have millions."""

own: set[str] = set()
"""The names of the segments of this process: usually one, and two while it joins a group again. They are never opened a
second time, since closing them would drop their locks. A forked child empties this set: the segments of its parent are
now segments of a peer."""


def socket_of(segment: str) -> str:
    """The file name of the socket that belongs to a segment."""
    return f"s-{segment.removeprefix('w-')}"


def peers_in(names: Iterable[str]) -> list[str]:
    """Of the names in a group directory, those of segments of live and dead peers."""
    return [name for name in names if name.startswith("w-") and name not in own and _OF_WORKER.fullmatch(name)]


def owner_of(name: str) -> Process | None:
    """The process that made the segment or the socket of this name; None if the name is not that of one."""
    match = _OF_WORKER.fullmatch(name)
    return Process(int(match[2]), int(match[3])) if match else None


def is_ours(directory: str, name: str) -> bool:
    """Whether the entry has the name, the type, the owner and the content of a file of pyvars.

    A segment is empty before it is published, and while there is no room for it; an empty file must have a name exactly
    as pyvars makes them. The lock file of an address is always empty.
    """
    try:
        found = os.lstat(os.path.join(directory, name))
    except OSError:
        return False
    if found.st_uid != os.geteuid():
        return False
    of_worker = _OF_WORKER.fullmatch(name)
    if of_worker and of_worker[1] == "s":
        return stat.S_ISSOCK(found.st_mode)
    if not stat.S_ISREG(found.st_mode):
        return False
    if name in own:
        return True
    if _OF_ADDRESS.fullmatch(name) or (of_worker and of_worker[1] == ".w" and not found.st_size):
        return not found.st_size
    if WITHOUT_ROOM.fullmatch(name) and not found.st_size:
        return True
    return bool(of_worker or name == RETIRED) and _begins_with_magic(os.path.join(directory, name))


def _begins_with_magic(path: str) -> bool:
    with suppress(OSError):  # another program may have replaced it meanwhile
        with OwnFile.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK) as file:
            return os.pread(file.number, len(MAGIC), 0) == MAGIC
    return False


def has_lost_lock(directory: str, name: str) -> bool:
    """Whether the worker of an unlocked segment lives: its program may have closed the file, which drops the lock.

    Such a worker runs and has mapped the segment; a process that has called exec has not. Nobody maps a segment without
    room, which holds the magic at most, so for it a running process is enough.
    """
    owner = owner_of(name)
    if owner is None or name in own:
        return False
    path = os.path.join(directory, name)
    with suppress(OSError):
        return holds_in_memory(owner, name if os.stat(path).st_size > _BEGINNING else "")
    return False


def is_left(directory: str, name: str) -> bool:
    """Whether the entry is a file of pyvars that belongs to no live process. Sockets always count as such."""
    if name in own or not is_ours(directory, name):
        return False
    return name.startswith("s-") or not _is_in_use(directory, name)


def _is_in_use(directory: str, name: str) -> bool:
    return is_locked(os.path.join(directory, name)) or has_lost_lock(directory, name)


def remove(directory: str, name: str) -> None:
    """Remove the entry if it is a file of pyvars."""
    if is_ours(directory, name):
        with suppress(OSError):
            os.unlink(os.path.join(directory, name))


def first_foreign(directory: str) -> str | None:
    """An entry of the directory that is no file of pyvars; None without one, or if a live worker uses the directory.

    So a file that another program puts into a directory in use does not keep later workers out of the group.
    """
    foreign = None
    with os.scandir(directory) as entries:
        for entry in islice(entries, _MAX_LOOKED_AT):
            if not is_ours(directory, entry.name):  # or a worker has removed it meanwhile
                foreign = foreign or (entry.name if os.path.lexists(entry.path) else None)
            elif entry.name.startswith("w-") and _is_in_use(directory, entry.name):
                return None
    return foreign
