"""Asks peers over their sockets: all at once, under one deadline, and nobody twice who has not answered yet."""

import os
import select
import socket
from collections.abc import Iterable
from contextlib import suppress
from time import monotonic

from pyvars.core import resources
from pyvars.formats.json import plain
from pyvars.workers.asking.server import HEAD, Question, short_path
from pyvars.workers.together.directory import socket_of

__all__ = ("FIGURES_TIMEOUT_SECONDS", "ASK_FIGURES", "WorkerClient")

FIGURES_TIMEOUT_SECONDS = 0.05
"""So long a page waits for the runtime figures of peers."""
ASK_FIGURES: Question = {"ask": "figures"}
MAX_ANSWER_BYTES = 256 * 1024 * 1024


class _Call:
    """One question to one peer, and what has come of the answer."""

    __slots__ = ("asked", "connection", "data")

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.asked = monotonic()
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
        # A child that the peer forked meanwhile may hold the connection open.
        return not part or self.answer is not None or len(self.data) > MAX_ANSWER_BYTES

    @property
    def answer(self) -> bytes | None:
        """The whole answer, or None if half of it is missing."""
        if len(self.data) < HEAD.size:
            return None
        body = bytes(self.data[HEAD.size :])
        return body if len(body) == HEAD.unpack_from(self.data)[0] else None

    @property
    def late(self) -> bool:
        """Whether it was answered, but only after nobody waited for it any more."""
        return len(self.data) >= HEAD.size and HEAD.unpack_from(self.data)[1] - self.asked > FIGURES_TIMEOUT_SECONDS


class WorkerClient:
    """Asks the peers of this process. Thread-safe."""

    def __init__(self) -> None:
        self._silent: dict[str, _Call] = {}
        resources.hold(__name__, "sockets of questions", in_child=self.forget)

    def forget(self) -> None:
        """Close what is open."""
        for name in list(self._silent):
            self._drop(name)

    def ask(self, directory: str, peers: Iterable[str], ask: Question, deadline: float) -> dict[str, bytes]:
        """The answers by the name of the peer's segment; of who has not answered by the deadline there is none.

        Who has not answered an earlier question yet, being stopped say, is not asked and not waited for. Several
        threads may ask.
        """
        text = plain(ask) + b"\n"
        calls: dict[int, tuple[str, _Call]] = {}
        poll = select.poll()
        names = set(peers)
        for name in [name for name in list(self._silent) if name not in names]:  # it has died
            self._drop(name)
        for name in names:
            if self._is_silent(directory, name):
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

    def _is_silent(self, directory: str, name: str) -> bool:
        """Whether it still owes an answer, or was late with the last one: then it is asked how it is, and not waited
        for, until it has been quick once."""
        call = self._silent.get(name)
        if call is None:
            return False
        if not call.receive():
            return True
        self._drop(name)
        again = _call(os.path.join(directory, socket_of(name)), plain(ASK_FIGURES) + b"\n") if call.late else None
        if again is not None:
            self._silent[name] = again
        return again is not None

    def _drop(self, name: str) -> None:
        with suppress(KeyError):  # another thread was quicker
            self._silent.pop(name).connection.close()


def _call(path: str, text: bytes) -> _Call | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.setblocking(False)
    try:
        with short_path(path) as short:
            connection.connect(short)
        connection.sendall(text)
    except OSError:  # it has no thread that answers, or died a moment ago, or does not come to take questions
        connection.close()
        return None
    return _Call(connection)
