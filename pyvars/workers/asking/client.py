"""Asks peers over their sockets: all at the same time, with one deadline, and each peer one question at a time."""

import os
import selectors
import socket
from collections.abc import Iterable
from contextlib import suppress

from pyvars.core import resources
from pyvars.core.clock import monotonic
from pyvars.core.own_file import OwnSocket
from pyvars.formats.json import to_json
from pyvars.workers.asking.wire import HEAD, Question, selector, short_path
from pyvars.workers.together.files import socket_of

__all__ = ("FIGURES_TIMEOUT_SECONDS", "ASK_FIGURES", "WorkerClient")

FIGURES_TIMEOUT_SECONDS = 0.05
"""How long a page waits for peers to write their runtime figures."""
ASK_FIGURES: Question = {"ask": "figures"}
"""Asks a peer to write its runtime figures to its segment; the answer is its load (`membership.load`)."""
MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""The maximum length of an answer, 32 MiB. An answer whose head announces more is ignored."""


class _Call:
    """One question to one peer, and the part of the answer that was received so far."""

    __slots__ = ("asked", "connection", "data", "number")

    def __init__(self, connection: OwnSocket) -> None:
        self.connection = connection
        self.number = connection.number
        self.asked = monotonic()
        self.data = bytearray()

    def receive(self) -> bool:
        """Receive what has arrived, without waiting. Returns whether the answer is complete or cannot be completed."""
        try:
            part = self.connection.socket.recv(1 << 18)
        except BlockingIOError:
            return False
        except OSError:  # the peer or the program has closed the connection
            part = b""
        self.data += part
        # The length tells the end of the answer: a child that the peer forked meanwhile may keep the stream open.
        return not part or len(self.data) >= self._wanted

    @property
    def _wanted(self) -> int:
        """The length of the whole answer with its head, in bytes; 0 if that is longer than MAX_ANSWER_BYTES."""
        if len(self.data) < HEAD.size:
            return HEAD.size + 1
        length: int = HEAD.unpack_from(self.data)[0]
        return HEAD.size + length if length <= MAX_ANSWER_BYTES else 0

    @property
    def answer(self) -> bytes | None:
        """The whole answer without its head; None if it is incomplete or has another length than the head says."""
        return bytes(self.data[HEAD.size :]) if len(self.data) == self._wanted else None

    @property
    def late(self) -> bool:
        """Whether the peer answered, but more than FIGURES_TIMEOUT_SECONDS after it was asked."""
        return len(self.data) >= HEAD.size and HEAD.unpack_from(self.data)[1] - self.asked > FIGURES_TIMEOUT_SECONDS


class WorkerClient:
    """Asks the peers of this process. Thread-safe; a forked child closes the connections of its parent."""

    def __init__(self) -> None:
        self._pending: dict[str, _Call] = {}
        resources.hold(__name__, "sockets of questions", in_child=self.forget)

    def forget(self) -> None:
        """Close the connections to peers that owe an answer. A forked child calls this."""
        for name in list(self._pending):
            self._drop(name)

    def ask(
        self, directory: str, peers: Iterable[str], question: Question, deadline: float, *, patient: bool = False
    ) -> dict[str, bytes]:
        """Ask the peers, given by the names of their segments. Returns the answers that came in time, by name.

        A peer that still owes an earlier answer (because it is stopped, for example) is neither asked nor waited for;
        with `patient` it is asked after it has given that answer. The deadline is on the clock of time.monotonic.
        """
        text = to_json(question) + b"\n"
        calls: dict[int, tuple[str, _Call, bool]] = {}
        ready = selector()

        def wait_for(name: str, call: _Call | None, *, owed: bool) -> None:
            if call is not None:
                calls[call.number] = name, call, owed
                ready.register(call.number, selectors.EVENT_READ)

        names = set(peers)
        if not patient:  # then `names` are all peers, so the others have died; a patient question may go to a few only
            self._drop(*[name for name in list(self._pending) if name not in names])
        for name in names:
            earlier = self._pending.pop(name, None) if patient else None
            if earlier is not None:
                wait_for(name, earlier, owed=True)
            elif not self._is_silent(directory, name):
                wait_for(name, _call(os.path.join(directory, socket_of(name)), text), owed=False)
        answers: dict[str, bytes] = {}
        while calls and (left := deadline - monotonic()) > 0:
            for key, _ in ready.select(left):
                name, call, owed = calls[key.fd]
                if not call.receive():
                    continue
                ready.unregister(key.fd)
                del calls[key.fd]
                call.connection.close()
                if owed:
                    wait_for(name, _call(os.path.join(directory, socket_of(name)), text), owed=False)
                elif call.answer is not None:
                    answers[name] = call.answer
        for name, call, _ in calls.values():
            self._drop(name)  # another thread may have asked this peer meanwhile
            self._pending[name] = call
        return answers

    def asked(self, name: str) -> float:
        """The `monotonic` time at which the peer was asked what it has not answered yet; 0 if it owes no answer."""
        call = self._pending.get(name)
        return call.asked if call is not None else 0.0

    def _is_silent(self, directory: str, name: str) -> bool:
        """Whether the peer still owes an answer, or gave its last answer late.

        A peer that was late is asked for its runtime figures, without waiting for the answer. It counts as silent until
        it answers that question in time.
        """
        call = self._pending.get(name)
        if call is None:
            return False
        if not call.receive():
            return True
        self._drop(name)
        again = _call(os.path.join(directory, socket_of(name)), to_json(ASK_FIGURES) + b"\n") if call.late else None
        if again is not None:
            self._pending[name] = again
        return again is not None

    def _drop(self, *names: str) -> None:
        for name in names:
            with suppress(KeyError):  # another thread has dropped it
                self._pending.pop(name).connection.close()


def _call(path: str, text: bytes) -> _Call | None:
    try:
        connection = OwnSocket(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    except OSError:  # no file descriptor is left
        return None
    try:
        connection.socket.setblocking(False)
        with short_path(path) as short:
            connection.socket.connect(short)
        connection.socket.sendall(text)
    except OSError:  # the peer runs no thread, died a moment ago, or has a full queue of connections
        connection.close()
        return None
    return _Call(connection)
