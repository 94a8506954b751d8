"""The server of each worker: a socket at which peers ask for what needs the worker's own code, and a thread for it.

The thread also calls a check of the membership now and then, for a worker that is never asked for a page.
"""

import os
import select
import socket
import struct
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import TypeAlias, cast

from pyvars.core import resources
from pyvars.core.clock import monotonic
from pyvars.formats.json import from_json
from pyvars.workers.together.files import remove

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
_CHECK_SECONDS = 3.0
"""How often the check is called, unless it says that it is to be called sooner."""
_AFTER_FORK_SECONDS = 0.01
"""How long after a fork the check is called, in both processes; then after longer and longer times."""
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
    """A thread that answers peers on a unix socket in the group directory, and calls `check` every few seconds.

    `check` returns after how many seconds it is to be called again at the latest, or None if it does not matter.

    The thread is stopped before a fork and started again in the parent after it, so that a fork finds only the threads
    of the program.
    """

    def __init__(self, answer: Callable[[Question], bytes], check: Callable[[], float | None]) -> None:
        self._answer = answer
        self._check = check
        self._path = ""
        self._listener: socket.socket | None = None
        self._delay = _CHECK_SECONDS
        self._reset()
        resources.hold(
            __name__,
            "thread pyvars-workers and its socket",
            before=self._before_fork,
            in_parent=self._in_parent,
            in_child=self._forget,
        )

    def _reset(self) -> None:
        self._started = False
        self._forks = 0
        self._lock = threading.RLock()  # reentrant: a signal handler may make a page, which may join again
        self._thread: threading.Thread | None = None
        self._stop_write = -1
        self._busy = threading.BoundedSemaphore(MAX_AT_ONCE)

    @property
    def runs(self) -> bool:
        """Whether the thread runs, and answers peers."""
        return self._thread is not None and self._listener is not None

    def start(self, path: str | None) -> None:
        """Listen at `path` and start the thread, which without a path only calls `check`.

        If the socket cannot be made, it does so too. Does nothing if threads cannot run, nor on Windows.
        """
        if not (threads_run() and hasattr(select, "poll")):
            return
        if path is not None:
            self._path = path
            with suppress(OSError):  # no file descriptor is left, or the file system has no sockets
                self._listener = _listening(path)
        self._started = True
        self._resume()

    def wake(self) -> None:
        """Make the thread call `check` now."""
        with self._lock, suppress(OSError):  # there is no thread; or the pipe is full, which it has not read for long
            os.write(self._stop_write, b"\0")

    def restore(self) -> None:
        """If the socket was removed, make it again. Another file in its place stays."""
        if self._listener is not None and not os.path.lexists(self._path):
            with suppress(OSError):
                listener = _listening(self._path)
                self._pause()
                self._listener.close()
                self._listener = listener
                self._resume()

    def stop(self) -> None:
        """Stop the thread, close the socket and remove its file."""
        self._started = False
        self._pause()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            remove(*os.path.split(self._path))

    def _before_fork(self) -> None:
        self._forks += 1
        self._pause()

    def _in_parent(self) -> None:
        self._forks -= 1
        self._delay = _AFTER_FORK_SECONDS
        self._resume()

    def _forget(self) -> None:
        """In a forked child, close the parent's socket and forget its thread."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._stop_write >= 0:  # the fork ran no hooks, so the thread was not stopped before it
            os.close(self._stop_write)
        self._reset()
        self._delay = _AFTER_FORK_SECONDS

    def _pause(self) -> None:
        """Stop the thread; the socket stays open."""
        with self._lock:  # a thread that joins again may be starting it
            thread, self._thread = self._thread, None
            if thread is None:
                return
            os.close(self._stop_write)
            self._stop_write = -1
        if thread is not threading.current_thread():  # `check` may call this in the thread, which then ends by itself
            thread.join()

    def _resume(self) -> None:
        """Start the thread, if it does not run yet and no fork is in progress, which starts it when it is done."""
        with self._lock:
            if not self._started or self._forks or self._thread is not None:
                return
            try:
                stop_read, self._stop_write = os.pipe()
                os.set_blocking(self._stop_write, False)
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

    def _run(self, listener: socket.socket | None, stop_read: int) -> None:
        poll = select.poll()
        poll.register(stop_read, select.POLLIN)
        wait = select.poll()
        wait.register(stop_read, select.POLLIN)
        if listener is not None:
            poll.register(listener, select.POLLIN)
        check_at = monotonic() + self._delay
        try:
            while self._thread is threading.current_thread():
                events = dict(poll.poll(max(0.0, check_at - monotonic()) * 1000))
                if stop_read in events:
                    if not os.read(stop_read, 100):  # the other end of the pipe is closed
                        return
                    check_at = 0.0
                if listener is not None and listener.fileno() in events:
                    try:
                        self._serve_one(listener.accept()[0])
                    except OSError:  # a bad question; or no file descriptor is left: without a pause a busy loop
                        wait.poll(100)
                if monotonic() >= check_at:
                    soon = self._check()
                    self._delay = min(_CHECK_SECONDS, self._delay * 1.5)
                    check_at = monotonic() + (self._delay if soon is None else min(soon, self._delay))
        finally:
            os.close(stop_read)

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
