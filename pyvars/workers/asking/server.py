"""The server of each worker: a socket at which peers ask for what needs the worker's own code, and a thread for it."""

import os
import select
import socket
import struct
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import TypeAlias, cast

from pyvars.core import resources
from pyvars.formats.json import from_json

__all__ = ("WorkerServer", "Question", "short_path", "threads_run")

Question: TypeAlias = "dict[str, object]"
"""A question: `ask` is its kind (`figures`, `values` or `page`); which other keys it has depends on the kind."""

HEAD = struct.Struct("=Qd")
"""The head of an answer: its length in bytes, so that an incomplete one is detected, and the time.monotonic at which it
was sent, a clock that all processes of a machine share."""

MAX_QUESTION_BYTES = 64 * 1024
ANSWER_TIMEOUT_SECONDS = 1.0
"""How long sending an answer may take."""
QUESTION_TIMEOUT_SECONDS = 0.05
"""How long the server waits for the whole question."""
MAX_AT_ONCE = 16
"""How many questions are answered at once in threads; further ones are refused."""
_CHECK_SECONDS = 60.0
_MAX_PATH = 100  # a socket's path has at most 107 bytes, man 7 unix


def threads_run() -> bool:
    """Whether pyvars can run threads here: not under gevent or eventlet, nor in uWSGI without threads.

    Nor in the master of uWSGI: it forks without holding the GIL, and if a thread holds it at that moment, the new
    worker waits for it for ever (https://github.com/unbit/uwsgi/issues/2387).
    """
    for module, question in (("gevent.monkey", "is_module_patched"), ("eventlet.patcher", "is_monkey_patched")):
        patched = getattr(sys.modules.get(module), question, None)
        if patched is not None and (patched("threading") or patched("thread")):
            return False
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is None:
        return True
    options = getattr(uwsgi, "opt", {})
    enabled = "enable-threads" in options or options.get("threads", b"1") != b"1"
    return bool(enabled and uwsgi.masterpid() != os.getpid())


@contextmanager
def short_path(path: str) -> Generator[str]:
    """A path to the same socket, through /proc/self/fd if the given one is too long; valid in this block."""
    if len(path.encode(errors="surrogateescape")) <= _MAX_PATH:
        yield path
        return
    directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{os.path.basename(path)}"
    finally:
        os.close(directory)


class WorkerServer:
    """A thread that answers peers on a unix socket in the group directory.

    The thread is stopped before a fork and started again in the parent after it, so that a fork finds only the threads
    of the program.
    """

    def __init__(self, answer: Callable[[Question], bytes]) -> None:
        self._answer = answer
        self._path = ""
        self._listener: socket.socket | None = None
        self._reset()
        resources.hold(
            __name__,
            "thread pyvars-workers and its socket",
            before=self.pause,
            in_parent=self.resume,
            in_child=self.forget,
        )

    def _reset(self) -> None:
        self._thread: threading.Thread | None = None
        self._stop_write = -1
        self._check: Callable[[], None] | None = None
        self._check_delay = 0.0
        self._check_until = 0.0
        self._busy = threading.BoundedSemaphore(MAX_AT_ONCE)

    @property
    def runs(self) -> bool:
        """Whether the thread runs, and so answers peers."""
        return self._thread is not None

    def start(self, path: str) -> None:
        """Listen at `path` and start the thread. Does nothing if threads cannot run or the socket cannot be made."""
        self._path = path
        if not threads_run():
            return
        with suppress(OSError):  # no file descriptor is left, or the file system has no sockets
            self._listener = _listening(path)
            self.resume()

    def call_for_a_minute(self, check: Callable[[], None]) -> None:
        """Have the thread call `check` repeatedly for a minute: after 15 ms at first, in the end once a second."""
        self.pause()
        self._check, self._check_delay, self._check_until = check, 0.01, monotonic() + _CHECK_SECONDS
        self.resume()

    def stop(self) -> None:
        """Stop the thread, close the socket and remove its file."""
        self.pause()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            with suppress(OSError):
                os.unlink(self._path)

    def forget(self) -> None:
        """In a forked child, close the parent's socket and forget its thread."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._stop_write >= 0:  # the fork ran no hooks, so the thread was not stopped before it
            os.close(self._stop_write)
        self._reset()

    def pause(self) -> None:
        """Stop the thread, before a fork, for example; the socket stays open."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        os.close(self._stop_write)
        self._stop_write = -1
        if thread is not threading.current_thread():  # `check` may call this in the thread, which then ends by itself
            thread.join()

    def resume(self) -> None:
        """Start the thread, if the socket is open and the thread does not run yet."""
        if self._listener is None or self._thread is not None:
            return
        try:
            stop_read, self._stop_write = os.pipe()
        except OSError:  # no file descriptor is left
            return
        self._thread = threading.Thread(
            target=self._run, args=(self._listener, stop_read), name="pyvars-workers", daemon=True
        )
        try:
            self._thread.start()
        except RuntimeError:  # no more threads, or the interpreter is shutting down
            self._thread = None
            os.close(stop_read)
            os.close(self._stop_write)
            self._stop_write = -1

    def _run(self, listener: socket.socket, stop_read: int) -> None:
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        poll.register(stop_read, select.POLLIN)
        wait = select.poll()
        wait.register(stop_read, select.POLLIN)
        try:
            while self._thread is threading.current_thread():
                events = dict(poll.poll(self._timeout()))
                if stop_read in events:  # the other end of the pipe is closed
                    return
                if events:
                    try:
                        self._serve_one(listener.accept()[0])
                    except OSError:  # a bad question; or no file descriptor is left: without a pause a busy loop
                        wait.poll(100)
                if self._check is not None:
                    self._check()
        finally:
            os.close(stop_read)

    def _timeout(self) -> float | None:
        if self._check is None or monotonic() > self._check_until:
            self._check = None
            return None
        self._check_delay = min(1.0, self._check_delay * 1.5)
        return self._check_delay * 1000

    def _serve_one(self, connection: socket.socket) -> None:
        """Answer a question for figures here, any other (it may run functions of the program) in a thread of its own.

        If MAX_AT_ONCE such threads run already, the connection is closed without an answer.
        """
        try:
            question = _received(connection)
        except BaseException:
            connection.close()
            raise
        connection.settimeout(ANSWER_TIMEOUT_SECONDS)
        if question.get("ask") == "figures":
            self._answer_to(connection, question)
        elif self._busy.acquire(blocking=False):
            try:
                threading.Thread(
                    target=self._answer_in_thread, args=(connection, question), name="pyvars-answer", daemon=True
                ).start()
            except RuntimeError:  # no more threads
                self._busy.release()
                connection.close()
        else:
            connection.close()

    def _answer_in_thread(self, connection: socket.socket, question: Question) -> None:
        try:
            self._answer_to(connection, question)
        finally:
            self._busy.release()

    def _answer_to(self, connection: socket.socket, question: Question) -> None:
        with connection, suppress(OSError):
            text = self._answer(question)
            connection.sendall(HEAD.pack(len(text), monotonic()) + text)


def _listening(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_path(path) as short:
            listener.bind(short)
        listener.listen(64)
    except BaseException:
        listener.close()
        raise
    return listener


def _received(connection: socket.socket) -> Question:
    """The question: one line of JSON. Raises OSError if it is no question or not complete in time."""
    text, until = b"", monotonic() + QUESTION_TIMEOUT_SECONDS
    while not text.endswith(b"\n"):
        if (left := until - monotonic()) <= 0:
            raise TimeoutError("half a question")
        connection.settimeout(left)
        part = connection.recv(MAX_QUESTION_BYTES)
        if not part or len(text) > MAX_QUESTION_BYTES:
            raise ConnectionError("half a question")
        text += part
    try:
        question = from_json(text)
    except ValueError:
        raise ConnectionError("no question") from None
    if not isinstance(question, dict):
        raise ConnectionError("no question")
    return cast("Question", question)
