"""The event loop of the side port, which notices when the program has closed its files.

A program may close all file descriptors, for example to become a daemon. Files that it opens later then get the numbers
of the file descriptors of the loop. So each socket of the loop remembers the identity (st_dev, st_ino) of the file
behind its file descriptor, and compares it before it uses the file descriptor.
"""

import errno
import os
import selectors
import socket
from asyncio import all_tasks
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pyvars.core.threads import threads_run

__all__ = ("FilesLost", "Loop")

CHECK_SECONDS = 3.0
"""The maximum time between two checks of the file descriptors."""


class FilesLost(OSError):
    """The program has closed files of the event loop."""

    def __init__(self) -> None:
        super().__init__(errno.EBADF, "the program has closed its files")


def _identity(file: int) -> tuple[int, int] | None:
    """The identity of the file behind a file descriptor; None if it is closed."""
    try:
        found = os.fstat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _checked(name: str) -> Any:
    """Wraps the method of a socket with this name: it raises BlockingIOError if the file descriptor has another file.

    asyncio takes this error to mean that the socket is not ready. The selector then raises FilesLost.
    """
    method: Any = getattr(socket.socket, name, None)  # the sockets of eventlet lack some of them

    def call(own: "_Socket", *arguments: Any) -> Any:
        if not own.is_intact:
            raise BlockingIOError
        return method(own, *arguments)

    return call


class _Socket(socket.socket):
    """A socket of the loop. Its file descriptor is used and closed only while it still refers to this socket."""

    def __init__(self, plain: socket.socket, open_sockets: "set[_Socket]") -> None:
        super().__init__(plain.family, plain.type, plain.proto, plain.detach())
        self._identity = _identity(self.fileno())
        self._open = open_sockets
        self._open.add(self)

    recv: Any = _checked("recv")
    recv_into: Any = _checked("recv_into")
    send: Any = _checked("send")
    sendmsg: Any = _checked("sendmsg")
    _accept: Any = _checked("_accept")

    @property
    def is_intact(self) -> bool:
        """Whether the socket is open, and its file descriptor still refers to it."""
        return self._identity is not None and _identity(self.fileno()) == self._identity

    def accept(self) -> "tuple[_Socket, Any]":
        """Accept a connection. Returns a socket of the loop."""
        connection, address = super().accept()
        return _Socket(connection, self._open), address

    def close(self) -> None:
        """Close the socket. From now on `Loop.intact` does not depend on it."""
        self._open.discard(self)
        self.lose()

    def lose(self) -> None:
        """Close the socket, but not a file descriptor that has another file by now. It makes `Loop.intact` false."""
        is_intact, file = self.is_intact, self.detach()
        if is_intact:
            with suppress(OSError):  # another thread has closed it
                os.close(file)


class _Selector(selectors.BaseSelector):
    """A selector that raises FilesLost if the file descriptor of an open socket has another file by now."""

    def __init__(self, open_sockets: set[_Socket]) -> None:
        # poll() has no file descriptor of its own that the program could close. gevent and eventlet, which turn threads
        # into greenlets, replace the default selector by one of theirs.
        self._selector = selectors.PollSelector() if threads_run() else selectors.DefaultSelector()
        self._open = open_sockets

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._selector.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._selector.unregister(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = self._selector.select(CHECK_SECONDS if timeout is None else min(timeout, CHECK_SECONDS))
        if not all(each.is_intact for each in [*self._open]):
            raise FilesLost
        return events

    def close(self) -> None:
        self._selector.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._selector.get_map()


_abandoned: list[object] = []


class Loop(BaseSelectorEventLoop):
    """An event loop for a server. It does not derive from the classes that nest_asyncio and debuggers patch."""

    def __init__(self, listener: socket.socket) -> None:
        self._open: set[_Socket] = set()
        super().__init__(_Selector(self._open))
        # The two ends of the pipe that wakes the loop; asyncio has no public attributes for them.
        vars(self).update({end: self.own(vars(self)[end]) for end in ("_ssock", "_csock")})
        self.listener: _Socket = self.own(listener)

    @property
    def intact(self) -> bool:
        """Whether the file descriptors of all open sockets still refer to them, and the listener is open."""
        # Another thread asks: a socket that the loop has closed meanwhile is no longer among them.
        return self.listener in self._open and all(each.is_intact or each not in self._open for each in [*self._open])

    def own(self, plain: socket.socket) -> _Socket:
        """Returns a socket of the loop that takes over the file descriptor of a plain socket."""
        return _Socket(plain, self._open)

    def close_listener(self) -> None:
        """Close the listener, unless its file descriptor has another file by now. `select` then raises FilesLost."""
        self.listener.lose()

    def abandon(self, *used: object) -> None:
        """Close the file descriptors that still refer to its sockets, and keep `used` and the loop alive for ever.

        asyncio warns when it frees a loop that was not closed, or a task that has not ended.
        """
        for each in [*self._open]:
            each.lose()
        _abandoned.append((self, all_tasks(self), *used))
