"""The socket of each worker: what needs a worker's own code is asked there, and answered by a thread of its own."""

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
from pyvars.formats.json import parsed

__all__ = ("WorkerServer", "Question", "short_path", "threads_run")

Question: TypeAlias = "dict[str, object]"
"""A question: `ask` is its kind, the rest belongs to the kind."""

HEAD = struct.Struct("=Qd")
"""An answer begins with its length, so that half of one is known for what it is, and the time.monotonic of the answer,
which on one machine is the same for all processes."""

MAX_QUESTION_BYTES = 64 * 1024
ANSWER_TIMEOUT_SECONDS = 1.0
QUESTION_TIMEOUT_SECONDS = 0.05
MAX_AT_ONCE = 16
_CHECK_SECONDS = 60.0
_MAX_PATH = 100  # a socket's path has at most 107 bytes, man 7 unix


def threads_run() -> bool:
    """Whether threads of ours run by themselves: not under gevent or eventlet, nor in uWSGI without threads.

    Nor in the master of uWSGI: it forks without the GIL, and if a thread has that at the moment, the new worker waits
    for it for ever (https://github.com/unbit/uwsgi/issues/2387).
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
    """A path to the same socket that is short enough for the system."""
    if len(path.encode(errors="surrogateescape")) <= _MAX_PATH:
        yield path
        return
    directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{os.path.basename(path)}"
    finally:
        os.close(directory)


class WorkerServer:
    """A thread that answers the peers on a unix socket in the group's directory.

    The thread is stopped before a fork, so that the child is no copy of a program with one thread more than the program
    made, and started again after it.
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
        self._wake = -1
        self._check: Callable[[], None] | None = None
        self._pause = 0.0
        self._check_until = 0.0
        self._busy = threading.BoundedSemaphore(MAX_AT_ONCE)

    @property
    def runs(self) -> bool:
        """Whether it answers."""
        return self._thread is not None

    def start(self, path: str) -> None:
        """Listen at `path`, and answer from a thread, where threads run and there can be such a socket."""
        self._path = path
        if not threads_run():
            return
        with suppress(OSError):  # no descriptor is left, or it is a file system without sockets
            self._listener = _listening(path)
            self.resume()

    def call_for_a_minute(self, check: Callable[[], None]) -> None:
        """Call `check` again and again for a minute: soon at first, then once a second."""
        self.pause()
        self._check, self._pause, self._check_until = check, 0.01, monotonic() + _CHECK_SECONDS
        self.resume()

    def stop(self) -> None:
        """Answer no more, and take the socket away."""
        self.pause()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            with suppress(OSError):
                os.unlink(self._path)

    def forget(self) -> None:
        """In a forked child: thread and socket are the parent's."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._wake >= 0:  # a fork without hooks
            os.close(self._wake)
        self._reset()

    def pause(self) -> None:
        """Stop the thread, before a fork."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        os.close(self._wake)
        self._wake = -1
        if thread is not threading.current_thread():  # it changes the place itself, and ends after that
            thread.join()

    def resume(self) -> None:
        """Start the thread, if there is somebody to listen to."""
        if self._listener is None or self._thread is not None:
            return
        try:
            ended, self._wake = os.pipe()
        except OSError:  # no descriptor is left
            return
        self._thread = threading.Thread(
            target=self._run, args=(self._listener, ended), name="pyvars-workers", daemon=True
        )
        try:
            self._thread.start()
        except RuntimeError:  # no more threads, or the interpreter is on its way out
            self._thread = None
            os.close(ended)
            os.close(self._wake)
            self._wake = -1

    def _run(self, listener: socket.socket, ended: int) -> None:
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        poll.register(ended, select.POLLIN)
        wait = select.poll()
        wait.register(ended, select.POLLIN)
        try:
            while self._thread is threading.current_thread():
                events = dict(poll.poll(self._timeout()))
                if ended in events:  # the other end of the pipe is closed
                    return
                if events:
                    try:
                        self._serve_one(listener.accept()[0])
                    except OSError:  # half a question; or no descriptor is left, and then this would go round and round
                        wait.poll(100)
                if self._check is not None:
                    self._check()
        finally:
            os.close(ended)

    def _timeout(self) -> float | None:
        if self._check is None or monotonic() > self._check_until:
            self._check = None
            return None
        self._pause = min(1.0, self._pause * 1.5)
        return self._pause * 1000

    def _serve_one(self, connection: socket.socket) -> None:
        """Answer here what is quick, and in a thread what runs functions of the program, as long as there are few."""
        try:
            ask = _received(connection)
        except BaseException:
            connection.close()
            raise
        connection.settimeout(ANSWER_TIMEOUT_SECONDS)
        if ask.get("ask") == "figures":
            self._answer_to(connection, ask)
        elif self._busy.acquire(blocking=False):
            try:
                threading.Thread(
                    target=self._answer_in_thread, args=(connection, ask), name="pyvars-answer", daemon=True
                ).start()
            except RuntimeError:  # no more threads
                self._busy.release()
                connection.close()
        else:
            connection.close()

    def _answer_in_thread(self, connection: socket.socket, ask: Question) -> None:
        try:
            self._answer_to(connection, ask)
        finally:
            self._busy.release()

    def _answer_to(self, connection: socket.socket, ask: Question) -> None:
        with connection, suppress(OSError):
            text = self._answer(ask)
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
    """The question: one line of JSON, which is sent at once."""
    text, until = b"", monotonic() + QUESTION_TIMEOUT_SECONDS
    while not text.endswith(b"\n"):
        connection.settimeout(max(0.001, until - monotonic()))
        part = connection.recv(MAX_QUESTION_BYTES)
        if not part or len(text) > MAX_QUESTION_BYTES:
            raise ConnectionError("half a question")
        text += part
    try:
        ask = parsed(text)
    except ValueError:
        raise ConnectionError("no question") from None
    if not isinstance(ask, dict):
        raise ConnectionError("no question")
    return cast("Question", ask)
