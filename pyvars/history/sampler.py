"""The histories of this process, and the thread that writes them. One process of a group writes a history.

Each process whose integration has served a request has the thread `pyvars-history`. Once a second the thread checks
whether a process writes the history: the writer holds the lock of the file, and notes each second that it is alive. If
the lock is free, or the last note is over two seconds old (a stopped process keeps its lock), the thread replaces the
file by a new one with the same rows, and this process is the writer from then on. If the former writer runs again, it
finds another file at the path, and stops writing.
"""

import atexit
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from threading import Event, RLock, Thread
from weakref import WeakKeyDictionary, ref

from pyvars.core import resources
from pyvars.core.clock import monotonic, since_boot_ns
from pyvars.core.registry import Registry
from pyvars.core.threads import why_no_threads
from pyvars.history import marks
from pyvars.history.marks import Waiting, Watch
from pyvars.history.place import Place, configured, is_off, opened, place_of, remove_unfinished
from pyvars.history.recorder import Recorder
from pyvars.history.ring import Header, Mark, RingReader
from pyvars.workers.together.locks import AVAILABLE, take

__all__ = ("History", "history_of")

TICK_SECONDS = 1.0
"""The time between two ticks of the thread. In a tick the writer makes a sample, and others look for a writer."""
STALE_NS = 2_000_000_000
"""A writer that has not noted for so long that it is alive is replaced."""
FIRST_SECONDS = 0.2
"""How long after the first request the first tick is, so that the two do not compete for the CPU."""
RETRY_SECONDS = 10.0
"""How long after a failure the thread tries again to make the file."""
JOIN_SECONDS = 0.5
"""How long a fork, or the end of the process, waits for the end of the thread."""


class History:
    """The history of one registry, in this process."""

    def __init__(self, registry: Registry) -> None:
        self._registry = ref(registry)
        self._named = configured()
        self._off = "PYVARS_HISTORY is off" if is_off() else ""
        self.forget()

    def forget(self) -> None:
        """Return to the state before `start`: a forked child writes nothing yet."""
        self._started = False
        self._recorder: Recorder | None = None
        self._reason = ""
        self._failed_until = 0.0

    def start(self) -> None:
        """Let the thread keep the history from now on, if threads may run in this process. A second call is cheap."""
        if not self._started and not self._why_none():
            self._started = THREAD.keep(self)

    def _why_none(self) -> str:
        return self._off or why_no_threads() or ("" if AVAILABLE else "this system has no file locks (fcntl)")

    @property
    def reason(self) -> str:
        """Why there is no history; empty if there is one, or one begins soon."""
        return self._why_none() or self._reason

    @contextmanager
    def reading(self) -> Generator[RingReader | None]:
        """The history of the group, or of this process if it has no group; None if there is none. Reading may raise."""
        place, recorder = self._place(), self._recorder
        if self._off or not place.path:
            yield recorder.ring if recorder is not None else None
            return
        with _opened(place) as ring:
            yield ring if ring is not None and ring.header().group == place.group else None

    def _place(self) -> Place:
        return place_of(self._registry(), self._named)

    def tick(self) -> bool:
        """Make a sample if this process is the writer; else check whether one runs. Only the thread calls this.

        Returns False if the registry no longer exists; then nothing more is written.
        """
        registry = self._registry()
        if registry is None:
            self.stop()
            return False
        place, recorder = place_of(registry, self._named), self._recorder
        try:
            if recorder is not None and not (recorder.ring.path == place.path and recorder.ring.is_published):
                self.stop()
                recorder = None
            if recorder is None and monotonic() >= self._failed_until:
                self._reason = ""
                recorder = self._recorder = self._taken_over(place)
            if recorder is not None:
                recorder.sample(registry, since_boot_ns())
        except Exception as error:  # for example no room, or another program has written into the file
            self.stop()
            self._reason = f"the history cannot be written: {error}"
            self._failed_until = monotonic() + RETRY_SECONDS
        return True

    def stop(self) -> None:
        """Stop writing and free the lock, so that another process can write."""
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            recorder.ring.close()

    def _taken_over(self, place: Place) -> Recorder | None:
        """Returns the recorder with which this process goes on; None if another process writes the history."""
        with _opened(place) as there:
            if there is None:
                return self._begun(place)
            header = there.header()
            is_ours = header.group == place.group
            if not take(there.file) and 0 <= since_boot_ns() - header.beat < STALE_NS:
                self._reason = "" if is_ours else f"another program writes the history in {place.path}"
                return None
            own = header._replace(epoch=header.epoch + 1, life=header.life + (not is_ours), group=place.group)
            recorder = Recorder(place.path, own, there.content())
            if not there.file.is_at(place.path):  # another process was quicker
                recorder.ring.close()
                return None
            if not is_ours:
                recorder.mark("start", f"the program has started again: process {os.getpid()}")
            recorder.ring.publish()
        remove_unfinished(place.path)
        return recorder

    def _begun(self, place: Place) -> Recorder | None:
        """Returns the recorder of a new history; None if another process has begun one."""
        recorder = Recorder(place.path, Header(group=place.group), None)
        recorder.mark("start", f"the program has started: process {os.getpid()}")
        try:
            recorder.ring.publish_first()
        except FileExistsError:
            with _opened(place) as there:
                if there is None:  # the file at the path is damaged
                    recorder.ring.publish()
                    return recorder
            recorder.ring.close()
            return None
        return recorder

    def write(self, waiting: Sequence[Waiting]) -> bool:
        """Write these marks. Returns whether that succeeded."""
        with suppress(Exception), self.reading() as ring:  # for example another process is writing marks
            if ring is not None:
                offset = ring.header().offset
                ring.add_marks([Mark((moment + offset) / 1e9, kind, text) for moment, kind, text in waiting])
                return True
        return False


@contextmanager
def _opened(place: Place) -> Generator[RingReader | None]:
    ring = opened(place.path) if place.path else None
    try:
        yield ring
    finally:
        if ring is not None:
            ring.close()


class _Thread:
    """The thread that keeps the histories of this process. It ends before a fork. In the child it starts when an
    integration serves a request there."""

    def __init__(self) -> None:
        self._histories: list[History] = []
        self._forget()
        resources.hold(
            __name__, "thread pyvars-history", before=self._pause, in_parent=self._resume, in_child=self._forget
        )

    def _forget(self) -> None:
        self._lock = RLock()  # reentrant: a signal handler may make a page
        self._forks = False
        self._thread: Thread | None = None
        self._due = 0.0  # when the next tick is due, by `monotonic`
        self._stop = Event()
        for history in self._histories:
            history.stop()
            history.forget()
        self._histories = []

    def keep(self, history: History) -> bool:
        """Keep this history, too. Returns whether the thread runs, or will run after the fork in progress."""
        with self._lock:
            if not self._histories:
                self._due = monotonic() + FIRST_SECONDS
                atexit.register(self._end)
            if history not in self._histories:
                self._histories.append(history)
            self._start()
            return self._thread is not None or self._forks

    def _start(self) -> None:
        if self._histories and self._thread is None and not self._forks:
            self._stop = Event()
            self._thread = Thread(target=self._run, args=(self._stop,), name="pyvars-history", daemon=True)
            try:
                self._thread.start()
            except Exception:  # no more threads, no memory for one, or the interpreter shuts down
                self._thread = None

    def _pause(self) -> None:
        """Before a fork: end the thread."""
        self._forks = True
        self._join()

    def _join(self) -> None:
        with self._lock:
            thread, self._thread = self._thread, None
            self._stop.set()
        if thread is not None:
            with suppress(RuntimeError):  # this is that thread
                resources.join(thread, JOIN_SECONDS)

    def _resume(self) -> None:
        self._forks = False
        with self._lock:
            self._start()

    def _end(self) -> None:
        """At the end of the process, free the locks, so that other processes go on at once."""
        self._forks = True
        self._join()
        for history in self._histories:
            history.stop()

    def _run(self, stop: Event) -> None:
        watch = Watch()
        while not stop.wait(max(0.0, self._due - monotonic())):
            self._due = monotonic() + TICK_SECONDS
            histories = [history for history in self._histories.copy() if history.tick()]
            watch.look()
            waiting = marks.taken()
            written = [history.write(waiting) for history in histories] if waiting else [True]
            if not any(written):
                marks.give_back(waiting)


THREAD: _Thread = _Thread()
"""The thread of this process."""

_histories: WeakKeyDictionary[Registry, History] = WeakKeyDictionary()


def history_of(registry: Registry) -> History:
    """Returns the history of the registry. PYVARS_HISTORY is read in the first call for the registry."""
    history = _histories.get(registry)
    if history is None:
        history = _histories[registry] = History(registry)
    return history
