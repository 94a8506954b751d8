"""The server of each worker: a socket, and a thread that answers the questions of peers.

The thread also calls a check of the membership every few seconds, since a worker may never be asked for a page; and it
keeps up the other threads that do not wait for a page (`pyvars.core.threads`).
"""

import os
import selectors
import socket
import threading
from collections.abc import Callable, Container
from contextlib import suppress

from pyvars.core import resources
from pyvars.core.clock import monotonic
from pyvars.core.functions import on_periodic
from pyvars.core.own_file import OwnSocket, pipe
from pyvars.core.threads import keep_up, threads_run
from pyvars.workers.asking.wire import HEAD, Question, listening, received, selector, send
from pyvars.workers.together.files import remove

__all__ = ("WorkerServer",)

JOIN_SECONDS = 1.0
"""The maximum time to wait for the end of the thread when it is stopped."""
_RESTORE_SECONDS = 1.0
"""How long the thread waits before it makes new files, if the program has closed its files."""
MAX_AT_ONCE = 16
"""The maximum number of questions that are answered in threads at once; further ones are refused."""
_CHECK_SECONDS = 3.0
"""The time between two calls of the check, unless the check asks to be called sooner."""
_AFTER_FORK_SECONDS = 0.01
"""The time from a fork to the first call of the check, in parent and child; it grows by half with each call."""


class WorkerServer:
    """A thread that answers peers on a unix socket in the group directory, and calls `check` every few seconds.

    `check` returns the maximum number of seconds until it must be called again, or None if there is no such limit.

    The thread is stopped before a fork, and started again in the parent after it, so that at the fork only threads of
    the program run. The methods are thread-safe.
    """

    def __init__(self, answer: Callable[[Question], bytes], check: Callable[[], float | None]) -> None:
        self._answer = answer
        self._check = check
        self._path = ""
        self._listener: OwnSocket | None = None
        self._delay = _CHECK_SECONDS
        self._reset()
        resources.hold(
            __name__,
            "thread pyvars-workers and its socket",
            before=self._before_fork,
            in_parent=self._in_parent,
            in_child=self._forget,
        )
        on_periodic(self.wake)

    def _reset(self) -> None:
        self._started = False
        self._forks = False
        self._lock = threading.RLock()  # reentrant: a signal handler may make a page, which may join the group again
        self._thread: threading.Thread | None = None
        self._stop: _Stop | None = None
        self._busy = threading.BoundedSemaphore(MAX_AT_ONCE)

    @property
    def runs(self) -> bool:
        """Whether the thread runs and has a socket, so that it answers peers."""
        return self._thread is not None and self._listener is not None

    def start(self, path: str | None) -> None:
        """Listen at `path`, and start the thread. Does nothing on Windows, or if pyvars can run no threads.

        Without a path, or if the socket cannot be made, the thread only calls `check`.
        """
        if not (threads_run() and hasattr(socket, "AF_UNIX")):
            return
        if path is not None:
            self._path = path
            with suppress(OSError):  # no file descriptor is left, or the file system has no sockets
                self._listener = listening(path)
        self._started = True
        self._resume()

    def wake(self) -> None:
        """Make the thread call `check` now."""
        with self._lock:
            if self._stop is not None:
                self._stop.wake()

    def restore(self) -> None:
        """If the program has closed the files of the thread, or the socket was removed, make them again.

        A file that is not of pyvars stays where the socket was.
        """
        if self._listener is not None and not (self._listener.is_intact and os.path.lexists(self._path)):
            with suppress(OSError):
                remove(*os.path.split(self._path))
                listener = listening(self._path)
                self._pause()
                self._listener.close()
                self._listener = listener
                self._resume()
        elif not self._is_intact():  # only the pipe is closed
            self._pause()
            self._resume()

    def _is_intact(self) -> bool:
        """Whether the files of the thread are open: the program has closed none."""
        listener, stop = self._listener, self._stop
        return (listener is None or listener.is_intact) and (stop is None or stop.is_intact)

    def stop(self) -> None:
        """Stop the thread, close the socket and remove its file."""
        self._started = False
        self._pause()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            remove(*os.path.split(self._path))

    def _before_fork(self) -> None:
        self._forks = True
        self._pause()

    def _in_parent(self) -> None:
        self._forks = False
        self._delay = _AFTER_FORK_SECONDS
        self._resume()

    def _forget(self) -> None:
        """In a forked child, close the parent's socket and forget its thread."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._stop is not None:  # the fork ran no hooks, so the thread was not stopped before it
            self._stop.close()
        self._reset()
        self._delay = _AFTER_FORK_SECONDS

    def _pause(self) -> None:
        """Stop the thread; the socket stays open."""
        with self._lock:  # a thread that joins again may be starting it
            thread, self._thread = self._thread, None
            if thread is None or self._stop is None:
                return
            self._stop.say()
        if thread is not threading.current_thread():  # `check` may call this in the thread, which then ends by itself
            resources.join(thread, JOIN_SECONDS)

    def _resume(self) -> None:
        """Start the thread, unless it runs already. If a fork is in progress, it is started after that instead."""
        with self._lock:
            if not self._started or self._forks or self._thread is not None:
                return
            try:
                self._stop = stop = _Stop()
            except OSError:  # no file descriptor is left
                return
            self._thread = threading.Thread(
                target=self._run, args=(self._listener, stop), name="pyvars-workers", daemon=True
            )
            try:
                self._thread.start()
            except Exception:  # no more threads, no memory for one, or the interpreter is shutting down
                self._thread = None
                stop.close()

    def _run(self, listener: OwnSocket | None, stop: "_Stop") -> None:
        try:
            with suppress(OSError):  # closed before it began
                self._serve(listener, stop)
            # The program has closed the files. It may be about to open others, and expect them to get certain numbers,
            # so the thread waits before it makes new files.
            while not stop.said.wait(_RESTORE_SECONDS):
                self._keep_up()
        finally:
            stop.close()

    def _serve(self, listener: OwnSocket | None, stop: "_Stop") -> None:
        """Answer peers until the thread is told to end, or the program has closed its files."""
        ready = selector()
        ready.register(stop.read.number, selectors.EVENT_READ)
        if listener is not None:
            ready.register(listener.number, selectors.EVENT_READ)
        check_at = monotonic() + self._delay
        while True:
            events = {key.fd for key, _ in ready.select(max(0.0, check_at - monotonic()))}
            if stop.said.is_set() or not self._is_intact():
                return
            if stop.was_woken(events):
                check_at = 0.0
            if listener is not None and listener.number in events:
                try:
                    self._serve_one(OwnSocket(listener.socket.accept()[0]))
                except OSError:  # a malformed question, or no file descriptor is left: the pause avoids a busy loop
                    stop.said.wait(0.1)
            if monotonic() >= check_at:
                soon = self._keep_up()
                self._delay = min(_CHECK_SECONDS, self._delay * 1.5)
                check_at = monotonic() + (self._delay if soon is None else min(soon, self._delay))

    def _keep_up(self) -> float | None:
        keep_up()
        return self._check()

    def _serve_one(self, connection: OwnSocket) -> None:
        """Answer one question: one for figures in this thread, others in a new one, since they may run slow functions.

        If MAX_AT_ONCE such threads run already, the connection is closed without an answer.
        """
        try:
            question = received(connection)
        except BaseException:
            connection.close()
            raise
        if question.get("ask") == "figures":
            self._answer_to(connection, question)
        elif self._busy.acquire(blocking=False):
            try:
                threading.Thread(
                    target=self._answer_in_thread, args=(connection, question), name="pyvars-answer", daemon=True
                ).start()
            except Exception:  # no more threads, or no memory for one
                self._busy.release()
                connection.close()
        else:
            connection.close()

    def _answer_in_thread(self, connection: OwnSocket, question: Question) -> None:
        try:
            self._answer_to(connection, question)
        finally:
            self._busy.release()

    def _answer_to(self, connection: OwnSocket, question: Question) -> None:
        with connection, suppress(OSError):
            text = self._answer(question)
            send(connection, HEAD.pack(len(text), monotonic()) + text)


class _Stop:
    """Tells the thread to end, and wakes it through a pipe if it waits for peers."""

    def __init__(self) -> None:
        self.said = threading.Event()
        self.read, self._write = pipe()
        os.set_blocking(self._write.number, False)

    @property
    def is_intact(self) -> bool:
        """Whether the pipe is open, or was closed by `say`: then the program has not closed it."""
        return self.said.is_set() or (self.read.is_intact and self._write.is_intact)

    def say(self) -> None:
        self.said.set()
        self._write.close()

    def wake(self) -> None:
        """Wake the thread. Does nothing if the pipe is full, or if the program has closed it."""
        with suppress(OSError):
            os.write(self._write.number, b"\0")

    def was_woken(self, events: Container[int]) -> bool:
        """Whether `wake` was called, given the numbers of the files that can be read."""
        return self.read.number in events and bool(os.read(self.read.number, 100))

    def close(self) -> None:
        self.read.close()
        self._write.close()
