"""Which member of a group serves an address: the one that holds the lock of a file named after it.

The lock is of the process and goes with it, however it ends; a forked child does not have it.
"""

import errno
import os
from urllib.parse import quote

from pyvars.core import resources
from pyvars.workers.membership.member import MEMBER
from pyvars.workers.together.locks import lock

__all__ = ("claim", "release")

_held: dict[str, int] = {}  # by path: the file must not be opened a second time, since closing it ends the lock


def claim(host: str, port: int) -> bool:
    """Be the one that serves the address; false if another live member of the group is.

    True where there is no group: then the system alone says who has the address. Raises OSError if this process serves
    it already.
    """
    group = MEMBER.group
    if group is None or port == 0:
        return True
    path = _path(group.directory, host, port)
    if path in _held:
        raise OSError(errno.EADDRINUSE, f"this process serves port {port} already")
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return True
    try:
        lock(file)
    except OSError:
        os.close(file)
        return False
    _held[path] = file
    return True


def release(host: str, port: int) -> None:
    """Leave the address to another."""
    for path in [path for path in _held if os.path.basename(path) == _name(host, port)]:
        os.close(_held.pop(path))


def _path(directory: str, host: str, port: int) -> str:
    return os.path.join(directory, _name(host, port))


def _name(host: str, port: int) -> str:
    return f"p-{port}-{quote(host, safe='')}"


def _forget() -> None:
    while _held:
        os.close(_held.popitem()[1])


resources.hold(__name__, "locks of addresses", in_child=_forget)
