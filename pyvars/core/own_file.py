"""Files, sockets and ends of pipes of pyvars, which notice when the program has closed them.

A program may close any file descriptor (a daemon closes all of them), and the next file that it opens gets the same
number. So pyvars also remembers the device and inode of each of its files, and uses the number only while it refers to
that file. One gap remains: another thread may close the file, and open another one, in the few microseconds between
this check and the system call that follows it.
"""

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from typing import Self

__all__ = ("OwnFile", "OwnSocket", "pipe", "read")

_FIRST_NUMBER = 3
"""Lower numbers are standard input, output and error: the program may write to them, even if they are now files of
pyvars."""


class OwnFile:
    """An open file of pyvars. Only `close`, or leaving its `with` block, closes it; garbage collection does not."""

    __slots__ = ("_identity", "_number")

    def __init__(self, number: int) -> None:
        self._number = _above_standard(number)
        self._identity: tuple[int, int] = _identity(self._number)

    @classmethod
    def open(cls, path: str, flags: int, mode: int = 0o600) -> "Self":
        """Open the file, with O_CLOEXEC: programs that this one starts do not inherit it. Raises OSError."""
        return cls(os.open(path, flags | os.O_CLOEXEC, mode))

    @property
    def is_intact(self) -> bool:
        """Whether its number still refers to this file."""
        try:
            return self._number >= 0 and _identity(self._number) == self._identity
        except OSError:
            return False

    @property
    def number(self) -> int:
        """Its number, for a system call right now. Raises OSError (EBADF) if it no longer refers to this file."""
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
        """Whether both refer to the same file."""
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
    """An open socket of pyvars. It takes over the file descriptor of the socket object that it is made of."""

    __slots__ = ("_socket",)

    def __init__(self, socket: "socket.socket") -> None:
        super().__init__(socket.detach())
        # The family is passed on, because a socket of eventlet does not find it out from the descriptor.
        self._socket = type(socket)(socket.family, socket.type, socket.proto, self._number)

    @property
    def socket(self) -> "socket.socket":
        """The socket, for a call right now. Raises OSError (EBADF) if its number no longer refers to this socket."""
        if not self.is_intact:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._socket

    def close(self) -> None:
        """Close it, unless its number is that of another file. May be called again."""
        self._socket.detach()  # else the socket object closes its number when it is collected
        super().close()


def pipe() -> tuple[OwnFile, OwnFile]:
    """Make a pipe. Returns its read end and its write end. Raises OSError."""
    read, write = os.pipe()
    return OwnFile(read), OwnFile(write)


def read(path: str) -> bytes:
    """The content of the file. If the program closes the file meanwhile, it is read again. Raises OSError.

    A file object of Python would go on with its number, even if that refers to another file by then.
    """
    while True:
        parts: list[bytes] = []
        try:
            with OwnFile.open(path, os.O_RDONLY) as file:
                while not parts or parts[-1]:
                    parts.append(os.read(file.number, 65536))
            return b"".join(parts)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise


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
