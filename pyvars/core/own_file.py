"""Files, sockets and ends of pipes of pyvars, which are told from others that get their number.

A program may close any number: a daemon closes all. What it opens next gets the number then. So a file of pyvars is
known by its device and inode, too, and its number is used only while it is the number of that file. Between that look
and the system call that follows there are microseconds in which another thread may still close one file and open the
other.
"""

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from typing import Self

__all__ = ("OwnFile", "OwnSocket", "pipe")

_FIRST_NUMBER = 3
"""What has a lower number is standard input, output or error, whatever it is: the program writes there."""


class OwnFile:
    """An open file of pyvars, which is closed with `close` or as a context manager, and never by itself."""

    __slots__ = ("_identity", "_number")

    def __init__(self, number: int) -> None:
        self._number = _above_standard(number)
        self._identity: tuple[int, int] = _identity(self._number)

    @classmethod
    def open(cls, path: str, flags: int, mode: int = 0o600) -> "Self":
        """Open the file; it is not inherited by programs that this one starts. Raises OSError."""
        return cls(os.open(path, flags | os.O_CLOEXEC, mode))

    @property
    def is_intact(self) -> bool:
        """Whether its number is still the number of this file."""
        try:
            return self._number >= 0 and _identity(self._number) == self._identity
        except OSError:
            return False

    @property
    def number(self) -> int:
        """Its number, for a system call right now. Raises OSError (EBADF) if it is that of no file, or of another."""
        if not self.is_intact:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._number

    def is_at(self, path: str) -> bool:
        """Whether the path is a name of this file."""
        try:
            return _identity_of(os.lstat(path)) == self._identity
        except OSError:
            return False

    def is_same(self, other: "OwnFile") -> bool:
        """Whether both are one file, opened twice."""
        return self._identity == other._identity

    def close(self) -> None:
        """Close it, unless its number is that of another file. May be called again."""
        with suppress(OSError):
            os.close(self.number)
        self._number = -1

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class OwnSocket(OwnFile):
    """A socket of pyvars."""

    __slots__ = ("_socket",)

    def __init__(self, socket: "socket.socket") -> None:
        super().__init__(socket.detach())
        # With its family, which a socket of eventlet does not look up.
        self._socket = type(socket)(socket.family, socket.type, socket.proto, self._number)

    @property
    def socket(self) -> "socket.socket":
        """The socket, for a call right now. Raises OSError (EBADF) if its number is that of no file, or of another."""
        if not self.is_intact:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._socket

    def close(self) -> None:
        """Close it, unless its number is that of another file. May be called again."""
        self._socket.detach()  # or the socket would close its number when it is collected
        super().close()


def pipe() -> tuple[OwnFile, OwnFile]:
    """The two ends of a new pipe, the one to read from first. Raises OSError."""
    read, write = os.pipe()
    return OwnFile(read), OwnFile(write)


def _identity(number: int) -> tuple[int, int]:
    return _identity_of(os.fstat(number))


def _identity_of(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _above_standard(number: int) -> int:
    if number >= _FIRST_NUMBER:
        return number
    try:
        return _above_standard(os.dup(number))
    finally:
        os.close(number)
