"""Hands the address of a side port over from the parent process of a reloader to its child, which runs the program.

Both call `serve()` with the same address, the parent first. The child finds the address in use, and asks its parent for
it over a unix socket in the abstract namespace, which makes no file; the name of the socket contains the pid of the
parent. The kernel tells each end the pid of the other. The parent gives the address only to a child of its own that has
the same `sys.argv`. Only Linux has such sockets; elsewhere `serve()` in the child raises OSError.

Under `python -c` both must also have the same command line. A program that is read from standard input has no name by
which parent and child could be compared, so it does not hand over its address.
"""

import asyncio
import os
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress

__all__ = ("Offer", "ask_parent", "offered", "program")

_ANSWER_SECONDS = 1.0
"""How long the child waits for the answer."""
_MAX_BYTES = 1024 * 1024
_GIVEN = b"given\n"


def offered(host: str, port: int) -> socket.socket | None:
    """A socket at which children of this process ask for the address; None if it cannot be made."""
    if not program():
        return None
    with suppress(OSError), ExitStack() as unless_done:
        listener = unless_done.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(_name(os.getpid(), host, port))
        listener.listen(8)
        unless_done.pop_all()
        return listener
    return None


def ask_parent(host: str, port: int) -> bool:
    """Ask the parent process for the address. Returns whether the parent has handed it over."""
    parent = os.getppid()
    with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_ANSWER_SECONDS)
        connection.connect(_name(parent, host, port))
        if _peer(connection) == (parent, os.geteuid()):
            connection.sendall(program() + b"\n")
            return connection.recv(64) == _GIVEN
    return False


def program() -> bytes:
    """The program that this process runs, with its arguments, in one line; empty if it is unknown."""
    name = sys.argv[0] if sys.argv else ""
    if name in ("", "-"):
        return b""
    whole = sys.orig_argv[1:] if name == "-c" else [os.path.abspath(name)]  # a relative path may name different files
    return ascii([whole, sys.argv]).encode()


class Offer(asyncio.Protocol):
    """The parent's end of a connection. It calls `give`, which frees the address, before it answers the child."""

    def __init__(self, own: bytes, give: Callable[[int], None]) -> None:
        """`own` is what `program()` was when this process began to serve."""
        self._own = own
        self._give = give
        self._question = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer once the whole question has arrived."""
        self._question += data
        if self._question.endswith(b"\n"):
            pid, user = _peer(self._transport.get_extra_info("socket"))
            if user == os.geteuid() and _is_child(pid) and self._question == self._own + b"\n":
                self._give(pid)
                self._transport.write(_GIVEN)
            self._transport.close()
        elif len(self._question) > _MAX_BYTES:
            self._transport.close()


def _name(pid: int, host: str, port: int) -> str:
    return f"\0pyvars-{pid}-{port}-{host}"[:100]


def _peer(connection: socket.socket) -> tuple[int, int]:
    """The pid and the user of the other end."""
    pid, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, user


def _is_child(pid: int) -> bool:
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
