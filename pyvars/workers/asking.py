"""Asks siblings over their sockets: all at once, under one deadline, and nobody twice who has not answered yet."""

import os
import select
import socket
from collections.abc import Iterable
from time import monotonic

from pyvars.formats.json import plain
from pyvars.workers.answerer import LENGTH, Ask, reachable
from pyvars.workers.place import socket_of

__all__ = ("Asker",)


class _Call:
    """One question to one sibling, and what has come of the answer."""

    __slots__ = ("connection", "data")

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.data = bytearray()

    def receive(self) -> bool:
        """Take what has come; true if that is all."""
        try:
            part = self.connection.recv(1 << 18)
        except BlockingIOError:
            return False
        except OSError:
            part = b""
        self.data += part
        return not part

    @property
    def answer(self) -> bytes | None:
        """The whole answer, or None if half of it is missing."""
        if len(self.data) < LENGTH.size:
            return None
        body = bytes(self.data[LENGTH.size :])
        return body if len(body) == LENGTH.unpack_from(self.data)[0] else None


class Asker:
    """Asks the siblings of this process. One thread at a time asks; others go without an answer."""

    def __init__(self) -> None:
        self._silent: dict[str, _Call] = {}

    def forget(self) -> None:
        """Close what is open."""
        for name in list(self._silent):
            call = self._silent.pop(name, None)
            if call is not None:
                call.connection.close()

    def ask(self, directory: str, siblings: Iterable[str], ask: Ask, deadline: float) -> dict[str, bytes]:
        """The answers by the name of the sibling's segment; of who has not answered by the deadline there is none.

        Who has not answered an earlier question yet, being stopped say, is not asked and not waited for.
        """
        text = plain(ask) + b"\n"
        calls: dict[int, tuple[str, _Call]] = {}
        poll = select.poll()
        names = set(siblings)
        for name in [name for name in self._silent if name not in names]:  # it has died
            self._drop(name)
        for name in names:
            if self._is_silent(name):
                continue
            call = _call(os.path.join(directory, socket_of(name)), text)
            if call is not None:
                calls[call.connection.fileno()] = name, call
                poll.register(call.connection, select.POLLIN)
        answers: dict[str, bytes] = {}
        while calls and (left := deadline - monotonic()) > 0:
            for file, _ in poll.poll(left * 1000):
                name, call = calls[file]
                if call.receive():
                    poll.unregister(file)
                    del calls[file]
                    call.connection.close()
                    if call.answer is not None:
                        answers[name] = call.answer
        for name, call in calls.values():
            self._silent[name] = call
        return answers

    def _is_silent(self, name: str) -> bool:
        call = self._silent.get(name)
        if call is None:
            return False
        if not call.receive():
            return True
        self._drop(name)  # late, but it answers again
        return False

    def _drop(self, name: str) -> None:
        call = self._silent.pop(name, None)
        if call is not None:
            call.connection.close()


def _call(path: str, text: bytes) -> _Call | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.setblocking(False)
    try:
        with reachable(path) as short:
            connection.connect(short)
        connection.sendall(text)
    except OSError:  # it has no thread that answers, or died a moment ago, or does not come to take questions
        connection.close()
        return None
    return _Call(connection)
