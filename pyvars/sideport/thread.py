"""The thread that runs an event loop. It ends before a fork, and after the fork another thread continues the loop.

Since Python 3.12 a fork in a process with several threads causes a DeprecationWarning. While no thread runs the loop,
its files stay open, its requests are suspended, and clients wait.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from threading import Event, RLock, Thread, current_thread
from threading import enumerate as all_threads
from typing import Any

from pyvars.core import resources
from pyvars.core.clock import monotonic
from pyvars.core.threads import threads_run
from pyvars.sideport.loop import Loop

__all__ = ("LoopThread",)

PAUSE_SECONDS = 1.0
"""How long a fork waits at most for the end of the thread, which may be in an access rule of the program."""

GRACE_SECONDS = 0.005
"""How long a fork waits for requests to end, and then for each of anyio's threads that worked for them."""


class LoopThread:
    """Runs a coroutine on an event loop, and closes the loop once the coroutine has returned.

    `ended` is called in the thread at the end: with None, or with the exception, after which the loop is not closed.
    """

    def __init__(
        self, loop: Loop, main: Coroutine[Any, Any, None], ended: Callable[[BaseException | None], None]
    ) -> None:
        self._loop = loop
        self._main = main
        self._ended = ended
        self._task: asyncio.Task[None] | None = None
        self._over = False
        self._lock = RLock()  # for the start of the next thread; reentrant: a signal handler may fork meanwhile
        self._previous: Thread | None = None
        self._leaves = Event()
        try:
            self._thread = self._started()
        except BaseException:
            main.close()
            raise

    @property
    def runs(self) -> bool:
        """Whether a thread runs the loop, or will run it after the fork in progress."""
        return not self._over

    def pause(self) -> None:
        """Before a fork: end the thread. Does not wait longer than PAUSE_SECONDS, and not at all if called in it."""
        thread, waits = self._thread, self._previous is not None and self._previous.is_alive()
        if thread.is_alive() and not waits and thread is not current_thread() and threads_run():
            self._leaves.set()
            with suppress(RuntimeError):  # the loop was closed a moment ago
                self._loop.call_soon_threadsafe(self._leave, monotonic() + GRACE_SECONDS)
            resources.join(thread, PAUSE_SECONDS)
            for worker in all_threads():
                if getattr(worker, "loop", None) is self._loop:  # no public way finds anyio's threads
                    resources.join(worker, GRACE_SECONDS)

    def resume(self) -> None:
        """After a fork: continue the loop in a new thread, which first waits for the end of the previous one."""
        with self._lock:
            if not self._leaves.is_set():
                return
            self._previous, self._leaves = self._thread, Event()
            try:
                self._thread = self._started()
            except Exception as error:  # no more threads, no memory for one, or the interpreter shuts down
                self._end(error)

    def join(self, seconds: float) -> None:
        """Wait up to `seconds` for the end of the thread; not at all if called in it."""
        self.resume()
        if self._thread is not current_thread():
            self._thread.join(seconds)

    def _leave(self, until: float) -> None:
        """Stop the loop: once it has no request, or at `until`, on the clock of `monotonic`."""
        if len(asyncio.all_tasks(self._loop)) > 1 and monotonic() < until:
            self._loop.call_later(0.0005, self._leave, until)
        else:
            self._loop.stop()

    def _started(self) -> Thread:
        thread = Thread(target=self._run, args=(self._leaves, self._previous), name="pyvars-server", daemon=True)
        thread.start()
        return thread

    def _run(self, leaves: Event, previous: Thread | None) -> None:
        if previous is not None:
            previous.join()
        if self._over:
            return
        try:
            if self._task is None:
                self._task = self._loop.create_task(self._main)
                self._task.add_done_callback(lambda _: self._loop.stop())
            # Not run_until_complete: anyio keeps its worker threads until the task that this runs has ended.
            while not (leaves.is_set() or self._task.done()):
                self._loop.run_forever()
            if not self._task.done():
                return
            self._task.result()
            _finish(self._loop)
        except BaseException as error:
            self._end(error)
        else:
            self._end(None)

    def _end(self, error: BaseException | None) -> None:
        self._over = True
        with suppress(ValueError):  # the previous thread still runs the coroutine
            self._main.close()
        self._ended(error)


def _finish(loop: Loop) -> None:
    """Cancel all requests, wait for their end, and close the loop, as asyncio.run does; programs may replace that."""
    while tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.wait(tasks))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
