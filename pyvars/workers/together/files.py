"""The files of a group directory: their names, and which entries of a directory are certainly files of pyvars.

pyvars opens, removes and replaces no other entries, because another program may put files into a directory that
PYVARS_SHARE names at any time. Even opening a file can do harm: closing it drops the record locks that this process
holds on it.
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
    "HISTORY",
    "HISTORY_MAGIC",
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
"""The first bytes of every segment and of the retired file."""
_BEGINNING = len(MAGIC) + 1
"""The number of bytes of the magic and of the version of the format that follows it."""
RETIRED = "retired"
"""The name of the retired file, which has the counts of dead workers."""
HISTORY = "h-"
"""What a registry key follows in the name of the file with the history of that registry."""
HISTORY_MAGIC = b"pyvarsH\x01"
"""The first bytes of every history. The last one is the version of the format."""

# <prefix>-<pid>-<start>-<random>. The prefixes are those of a segment, of a segment that is not published yet, and of a
# socket. The retired file is written as a segment of pid 0, and then renamed.
_OF_WORKER = re.compile(r"(w|\.w|s)-([0-9]+)-([0-9]+)-[0-9a-f]+")
WITHOUT_ROOM = re.compile(r"w-([0-9]{1,10})-([0-9]{1,18})-[0-9a-f]{8}")
"""The names of segments that may be empty, because there was no room for them: a pid, a start time and 8 hex digits."""
_OF_HISTORY = re.compile(r"h-[a-z0-9]+|(\.)h-[a-z0-9]+-[0-9a-f]{8}")
"""The names of histories, and of those that are not published yet."""
_OF_ADDRESS = re.compile(r"p-[0-9]+-[A-Za-z0-9_.~%-]*")

_MAX_LOOKED_AT = 10_000
"""The maximum number of entries of a directory that are checked: a directory of other programs may have millions."""

own: set[str] = set()
"""The names of the segments of this process: usually one, and two while it joins a group again. They must not be opened
a second time, because closing them would drop their locks. A forked child empties this set: to it, the segments of its
parent are those of a peer."""


def socket_of(segment: str) -> str:
    """The file name of the socket that belongs to a segment."""
    return f"s-{segment.removeprefix('w-')}"


def peers_in(names: Iterable[str]) -> list[str]:
    """Returns those of the names in a group directory that are of segments of peers, live and dead."""
    return [name for name in names if name.startswith("w-") and name not in own and _OF_WORKER.fullmatch(name)]


def owner_of(name: str) -> Process | None:
    """The process that made the segment or socket of this name; None if it is not the name of one."""
    match = _OF_WORKER.fullmatch(name)
    return Process(int(match[2]), int(match[3])) if match else None


def is_ours(directory: str, name: str) -> bool:
    """Whether the entry has the name, the type, the owner and the content of a file of pyvars.

    A segment may be empty before it is published, and while there is no room for it, and a history before it is
    published: then its name alone must show that it is of pyvars. The lock file of an address is always empty.
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
    of_history = _OF_HISTORY.fullmatch(name)
    if of_history:
        is_new = bool(of_history[1]) and not found.st_size
        return is_new or _begins_with(HISTORY_MAGIC[:-1], os.path.join(directory, name))
    return bool(of_worker or name == RETIRED) and _begins_with(MAGIC, os.path.join(directory, name))


def _begins_with(magic: bytes, path: str) -> bool:
    with suppress(OSError):  # another program may have replaced or removed it meanwhile
        with OwnFile.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK) as file:
            return os.pread(file.number, len(magic), 0) == magic
    return False


def has_lost_lock(directory: str, name: str) -> bool:
    """Whether the worker of a segment that is not locked is live: closing the file, as its program may do, unlocks it.

    Then the process with the pid and start of the file name is running and has mapped the segment. (If it has called
    exec, it has not.) A segment without room is not mapped, so for one it is enough that the process is running.
    """
    owner = owner_of(name)
    if owner is None or name in own:
        return False
    path = os.path.join(directory, name)
    with suppress(OSError):
        return holds_in_memory(owner, name if os.stat(path).st_size > _BEGINNING else "")
    return False


def is_left(directory: str, name: str) -> bool:
    """Whether the entry is a file of pyvars that a dead process left. Sockets have no lock and always count as left."""
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
    """An entry of the directory that is not a file of pyvars. None if there is none, or if a live worker is in there.

    So if another program puts a file into the directory of a running group, later workers can still join.
    """
    foreign = None
    with os.scandir(directory) as entries:
        for entry in islice(entries, _MAX_LOOKED_AT):
            if not is_ours(directory, entry.name):  # or a worker has removed it meanwhile
                foreign = foreign or (entry.name if os.path.lexists(entry.path) else None)
            elif entry.name.startswith("w-") and _is_in_use(directory, entry.name):
                return None
    return foreign
