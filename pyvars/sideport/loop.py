"""The event loop of the side port, which notices when the program has closed its files.

A program may close all file descriptors, for example to become a daemon. Files that it opens later then get the numbers
of the file descriptors of the loop. So the loop remembers the identity (st_dev, st_ino) of the file behind each of its
file descriptors, and compares it before it uses the file descriptor.
"""

import errno
import os
import selectors
import socket
from asyncio import Handle
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import Context
from typing import Any, TypeVarTuple

from pyvars.core.threads import threads_run

__all__ = ("Loop",)

CHECK_SECONDS = 3.0
"""The maximum time between two checks of the file descriptors."""


def _identity(file: int) -> tuple[int, int] | None:
    """The identity of the file behind a file descriptor; None if it is closed."""
    try:
        found = os.fstat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class _Selector(selectors.BaseSelector):
    """A selector that raises OSError if one of its file descriptors no longer has the file that was registered."""

    def __init__(self) -> None:
        # poll() has no file descriptor of its own that the program could close. gevent and eventlet, which turn threads
        # into greenlets, replace the default selector by one of theirs.
        self._selector = selectors.PollSelector() if threads_run() else selectors.DefaultSelector()
        self.identities: dict[int, tuple[int, int] | None] = {}
        """The identity of each file that was ever registered, by its file descriptor."""

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = self._selector.register(fileobj, events, data)
        self.identities[key.fd] = _identity(key.fd)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._selector.unregister(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = self._selector.select(CHECK_SECONDS if timeout is None else min(timeout, CHECK_SECONDS))
        for file in self.get_map():
            if _identity(file) != self.identities[file]:
                raise OSError(errno.EBADF, "the program has closed its files")
        return events

    def close(self) -> None:
        self._selector.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._selector.get_map()


_Ts = TypeVarTuple("_Ts")
_abandoned: list[object] = []


class Loop(BaseSelectorEventLoop):
    """An event loop for a server. Its base is not one of the classes that nest_asyncio and debuggers patch."""

    def __init__(self, listener: socket.socket) -> None:
        self._files = _Selector()
        super().__init__(self._files)
        self._listener = listener
        # The two ends of the pipe that wakes the loop; asyncio has no public attributes for them.
        self._ends: tuple[socket.socket, ...] = vars(self)["_ssock"], vars(self)["_csock"]
        self._own = {each.fileno(): _identity(each.fileno()) for each in (listener, *self._ends)}

    @property
    def intact(self) -> bool:
        """Whether the file descriptors of the listener and of the pipe that wakes the loop are still its own."""
        return all(_identity(file) == identity for file, identity in self._own.items())

    def call_soon_threadsafe(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> Handle:
        """Schedule a call from any thread. If the wake-up pipe is closed, the loop is not woken, since the file
        descriptor may be a file of the program by now; the loop notices that at its next check.
        """
        can_wake = all(_identity(end.fileno()) == self._own.get(end.fileno(), ()) for end in self._ends)
        call = super().call_soon_threadsafe if can_wake else self.call_soon
        return call(callback, *args, context=context)

    def close_listener(self) -> None:
        """Close the listener, unless its file descriptor is that of another file by now."""
        file = self._listener.detach()
        _close(file, self._own.get(file))

    def abandon(self, *used: object) -> None:
        """Close the file descriptors that are still its own, and keep `used` and the loop itself alive for ever.

        When Python frees a socket object, it closes its file descriptor, which may be a file of the program by then.
        """
        for each in (self._listener, *self._ends):
            each.detach()
        for file, identity in {**self._files.identities, **self._own}.items():
            _close(file, identity)
        _abandoned.append((self, *used))


def _close(file: int, identity: tuple[int, int] | None) -> None:
    if identity is not None and _identity(file) == identity:
        with suppress(OSError):  # another thread was quicker
            os.close(file)
