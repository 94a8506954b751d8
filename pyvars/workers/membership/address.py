"""Which worker of a group serves an address: the one that holds the lock of the file for that address.

The kernel drops the lock when that process ends, however it ends. A forked child does not have it.
"""

import errno
import os
from urllib.parse import quote

from pyvars.core import resources
from pyvars.core.own_file import OwnFile
from pyvars.errors import ConfigurationError
from pyvars.workers.membership.member import MEMBER
from pyvars.workers.together.locks import lock

__all__ = ("check_address", "claim", "release")

_held: dict[str, OwnFile] = {}  # by path; never open such a file twice: closing the second one would drop the lock


def claim(host: str, port: int) -> bool:
    """Claim the address for this process. Returns False if another live worker of the group has claimed it.

    Returns True also if there is no group, the port is 0, or the lock file cannot be opened: then only the system
    decides whether this process gets the address. Raises OSError (EADDRINUSE) if this process has claimed it already.
    """
    group = MEMBER.group
    if group is None or port == 0:
        return True
    path = _path(group.directory, host, port)
    if path in _held and _held[path].is_intact:  # else the program has closed all files, also that of the side port
        raise OSError(errno.EADDRINUSE, f"this process already serves port {port}")
    try:
        file = OwnFile.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
    except OSError:
        return True
    try:
        lock(file)
    except OSError:
        file.close()
        return False
    _held[path] = file
    return True


def release(host: str, port: int) -> None:
    """Give up the claim, so that another worker can serve the address. Does nothing if there is no claim."""
    for path in [path for path in _held if os.path.basename(path) == _name(host, port)]:
        _held.pop(path).close()


def _path(directory: str, host: str, port: int) -> str:
    return os.path.join(directory, _name(host, port))


def _name(host: str, port: int) -> str:
    return f"p-{port}-{quote(host, safe='')}"


def _forget() -> None:
    while _held:
        _held.popitem()[1].close()


resources.hold(__name__, "locks of addresses", in_child=_forget)


def check_address(port: object, host: object) -> None:
    """Check the arguments `port` and `host` of `serve`.

    Raises:
        TypeError: `port` is not an int, or `host` is not a str.
        ConfigurationError: `port` is not from 0 to 65535, or `host` is not printable ASCII.
    """
    if isinstance(port, str) and not port.isdecimal():
        right = f"serve({host!r}, {port!r})" if isinstance(host, int) else f"serve(host={port!r})"
        raise TypeError(f"serve(port, host): the port comes first; write {right}")
    if not isinstance(port, int) or isinstance(port, bool):
        raise TypeError(f"a port is an int, such as 6060, got {port!r}")
    if not isinstance(host, str):
        raise TypeError(f'a host is a str, such as "127.0.0.1", got {host!r}')
    if not 0 <= port <= 65535:
        raise ConfigurationError(f"a port is a number from 0 to 65535, got {port!r}")
    if not (host.isascii() and host.isprintable()):  # the socket module would raise another error, and leak a socket
        raise ConfigurationError(f"a host is an address, or a name in ASCII, got {host!r}")
