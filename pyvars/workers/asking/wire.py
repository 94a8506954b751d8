"""The protocol: how two workers send a question and its answer over a unix socket."""

import os
import selectors
import socket
import struct
from collections.abc import Generator
from contextlib import contextmanager
from typing import TypeAlias, cast

from pyvars.core.clock import monotonic
from pyvars.core.own_file import OwnFile, OwnSocket
from pyvars.formats.json import from_json

__all__ = ("HEAD", "MAX_QUESTION_BYTES", "Question", "listening", "received", "selector", "send", "short_path")

Question: TypeAlias = "dict[str, object]"
"""A question: `ask` is its kind (`figures`, `values`, `about` or `page`); its other keys depend on the kind."""

HEAD = struct.Struct("=Qd")
"""The head of an answer: the length of the rest in bytes, which shows whether an answer is complete; and when it was
sent, by time.monotonic, a clock that all processes of a machine share."""

MAX_QUESTION_BYTES = 64 * 1024
"""A question that goes on after so many bytes is refused."""
ANSWER_TIMEOUT_SECONDS = 1.0
"""The maximum time for sending an answer."""
QUESTION_TIMEOUT_SECONDS = 0.05
"""The maximum time for receiving a question."""
_MAX_PATH = 100  # a socket's path has at most 107 bytes, man 7 unix


def selector() -> selectors.BaseSelector:
    """A selector that needs no file descriptor of its own (unless eventlet has replaced it)."""
    kind: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.DefaultSelector)
    return kind()


@contextmanager
def short_path(path: str) -> Generator[str]:
    """Gives a path to the same socket that is short enough for the system; valid in this block.

    If the given path is too long, it is a path through /proc/self/fd.
    """
    if len(path.encode(errors="surrogateescape")) <= _MAX_PATH:
        yield path
        return
    with OwnFile.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY) as directory:
        yield f"/proc/self/fd/{directory.number}/{os.path.basename(path)}"


def listening(path: str) -> OwnSocket:
    """Make a unix socket that listens at the path. Raises OSError."""
    listener = OwnSocket(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    try:
        with short_path(path) as short:
            listener.socket.bind(short)
        listener.socket.listen(64)
    except BaseException:
        listener.close()
        raise
    return listener


def send(connection: OwnSocket, text: bytes) -> None:
    """Send the whole answer. Raises OSError if the peer does not receive it within a second."""
    rest, until = memoryview(text), monotonic() + ANSWER_TIMEOUT_SECONDS
    while rest:  # not by sendall, which would not notice that the program has closed the socket
        connection.socket.settimeout(max(0.001, until - monotonic()))
        rest = rest[connection.socket.send(rest) :]


def received(connection: OwnSocket) -> Question:
    """Receive a question: one line of JSON. Raises OSError if it is malformed, or not complete within 50 ms."""
    text, until = b"", monotonic() + QUESTION_TIMEOUT_SECONDS
    while not text.endswith(b"\n"):
        connection.socket.settimeout(max(0.0, until - monotonic()))  # 0: it does not wait
        part = connection.socket.recv(MAX_QUESTION_BYTES)
        if not part or len(text) > MAX_QUESTION_BYTES:
            raise ConnectionError("the question is incomplete or too long")
        text += part
    try:
        question = from_json(text)
    except ValueError:
        raise ConnectionError("the question is not JSON") from None
    if not isinstance(question, dict):
        raise ConnectionError("the question is not an object")
    return cast("Question", question)
