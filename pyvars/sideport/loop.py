"""The event loop of the side port, which notices when the program has closed its files.

A program may close all files, to become a daemon say, and its own files then get the numbers of those of the loop. So
each socket of the loop remembers what its file descriptor was (st_dev and st_ino), and looks at that before it uses it.
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
"""How long the loop waits at most before it looks at its files again."""


class FilesLost(OSError):
    """The program has closed files of the event loop."""

    def __init__(self) -> None:
        super().__init__(errno.EBADF, "the program has closed its files")


def _identity(file: int) -> tuple[int, int] | None:
    """What the file descriptor is; None if it is closed."""
    try:
        found = os.fstat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _checked(name: str) -> Any:
    """The method of a socket with this name, which is not called once the number is that of another file.

    Then there is nothing to be had from the socket for now, as asyncio understands it; the loop notices in its turn.
    """
    method: Any = getattr(socket.socket, name, None)  # a socket of eventlet has not all of them

    def call(own: "_Socket", *arguments: Any) -> Any:
        if not own.is_intact:
            raise BlockingIOError
        return method(own, *arguments)

    return call


class _Socket(socket.socket):
    """A socket of the loop, which is used and closed only while its number is its own."""

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
        """Whether it is open, and its number is its own."""
        return self._identity is not None and _identity(self.fileno()) == self._identity

    def accept(self) -> "tuple[_Socket, Any]":
        """Accept a connection, which is a socket of the loop, too."""
        connection, address = super().accept()
        return _Socket(connection, self._open), address

    def close(self) -> None:
        """Close it. The loop no longer expects it to be open."""
        self._open.discard(self)
        self.lose()

    def lose(self) -> None:
        """Close it, unless its number is that of another file by now. The loop notices."""
        is_intact, file = self.is_intact, self.detach()
        if is_intact:
            with suppress(OSError):  # another thread was quicker
                os.close(file)


class _Selector(selectors.BaseSelector):
    """A selector that raises FilesLost once one of the sockets is not what it was when it was made."""

    def __init__(self, open_sockets: set[_Socket]) -> None:
        # poll() has no file descriptor of its own that the program could close. Where threads are greenlets, the module
        # that makes them so has replaced the default.
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
    """An event loop for a server. Its base is not one of the classes that nest_asyncio and debuggers patch."""

    def __init__(self, listener: socket.socket) -> None:
        self._open: set[_Socket] = set()
        super().__init__(_Selector(self._open))
        # asyncio has no public way to the two ends of the pipe that wakes it.
        vars(self).update({end: self.own(vars(self)[end]) for end in ("_ssock", "_csock")})
        self.listener: _Socket = self.own(listener)

    @property
    def intact(self) -> bool:
        """Whether its sockets are what they were, and the listener is open."""
        return self.listener in self._open and all(each.is_intact for each in [*self._open])

    def own(self, plain: socket.socket) -> _Socket:
        """Make the socket one of the loop, which is used and closed only while its number is its own."""
        return _Socket(plain, self._open)

    def close_listener(self) -> None:
        """Close the listener, unless its number is that of another file by now. A loop that still runs will notice."""
        self.listener.lose()

    def abandon(self, *used: object) -> None:
        """Close those of its sockets that are still its own, and keep it and what is `used` from garbage collection.

        asyncio complains of loops that were not closed, and of tasks that did not end.
        """
        for each in [*self._open]:
            each.lose()
        _abandoned.append((self, all_tasks(self), *used))
