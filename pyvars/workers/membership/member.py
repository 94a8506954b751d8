"""This process as a worker of its group: it joins, joins again after a fork or a change of user, and leaves at exit."""

import atexit
import os
from collections.abc import Callable, Collection
from functools import partial
from threading import Lock
from weakref import ref

from pyvars.core import resources
from pyvars.core.cells import IntCell
from pyvars.core.clock import monotonic
from pyvars.core.registry import Registry
from pyvars.core.threads import threads_run
from pyvars.formats.json import to_json
from pyvars.runtime.event_loop import BLOCKED_FROM, TICK_SECONDS, note_blocked, on_first_loop, tick
from pyvars.runtime.reading import REUSE_SECONDS
from pyvars.workers.asking.client import ASK_FIGURES, FIGURES_TIMEOUT_SECONDS, WorkerClient
from pyvars.workers.asking.server import WorkerServer
from pyvars.workers.asking.wire import Question
from pyvars.workers.membership.load import own_load
from pyvars.workers.numbers.group_reading import NO_PEERS, GroupReader, GroupReading
from pyvars.workers.numbers.own_segment import OwnSegment
from pyvars.workers.numbers.records import Records
from pyvars.workers.numbers.retired import MAX_DEAD, fold
from pyvars.workers.numbers.segment import H_BLOCKED, H_REQUESTS
from pyvars.workers.numbers.worker_segment import WorkerSegment
from pyvars.workers.together import files
from pyvars.workers.together.directory import UnsharedError, find_group_directory, group_exists, has_ended, remove_group
from pyvars.workers.together.forks import hook_uwsgi
from pyvars.workers.together.group import doubt, start_of

__all__ = ("MEMBER", "Member")

_ATTEMPTS = 10
RETRY_SECONDS = 1.0
"""The minimum time between a failed attempt to join and the next one."""
FORKED_SECONDS = 60.0
"""The time after its last fork in which a process looks for dead workers, because all its children may end at once."""
LOCK_SECONDS = 0.02
"""The maximum time that a page waits for another thread that joins the group."""
FORK_GRACE_SECONDS = 5.0
"""A process that exits within this time after a fork does not remove the group directory: the child may be joining."""


class Member:
    """The membership of this process in its group. Thread-safe. Counting does not use it."""

    def __init__(self) -> None:
        self.requests: IntCell = IntCell()
        """Counts the requests that the integrations of this process received."""
        self.reason: str = ""
        """Why joining the group failed, or which workers may be missing in it; else empty."""
        self.group: GroupReader | None = None
        """Reads the group; None if this process is in no group."""
        self.own: OwnSegment | None = None
        """Reads the segment of this process; None if it has none."""
        self.answer: Callable[[Registry, Question], bytes] | None = None
        """Answers the questions of peers, except those for runtime figures; set by `pyvars.workers.share`."""
        self.server: WorkerServer = WorkerServer(self._answer, self._check)
        self.client: WorkerClient = WorkerClient()
        self._registries: dict[str, ref[Registry]] = {}
        self._other_registries = 0
        self._segment: WorkerSegment | None = None
        self._records: Records | None = None
        self._group_name: str | None = None
        self._uid = -1
        self._pid = os.getpid()
        self._lock = Lock()
        self._hooked = False
        self._refreshed = 0.0
        self.answers: dict[str, bytes] = {}
        """The answers to the latest question for runtime figures, by the names of the peers' segments."""
        self._latest: tuple[float, GroupReading] | None = None
        self._tried_at = self._looked_at = self._forked_at = -60.0

    @property
    def shared(self) -> bool:
        """Whether this process is in a group."""
        return self._segment is not None

    @property
    def error(self) -> str:
        """Why some numbers of this process are private although it is in a group; empty if none are."""
        return self._records.error if self._records is not None else ""

    @property
    def name(self) -> str:
        """The file name of this process's segment; empty if it has none."""
        return self._segment.name if self._segment is not None else ""

    def registry_key(self, registry: Registry) -> str | None:
        """The registry key: `default`, or the number of the registry in the order of sharing; None if it is not shared.

        It names the registry in the group, so all workers must share their registries in the same order.
        """
        for key, reference in self._registries.copy().items():
            if reference() is registry:
                return key
        return None

    def share(self, registry: Registry, *, default: bool) -> None:
        """Share the numbers of the registry with the group, and join the group if this process has not joined yet.

        `default` tells whether it is the default registry. It may be called again for the same registry.
        """
        self._hook()
        with self._lock:
            if self.registry_key(registry) is None:
                self._other_registries += not default
                key = "default" if default else str(self._other_registries)
                self._registries[key] = ref(registry, partial(self._drop, key))
                if self._records is not None:
                    self._records.add_registry(key, registry)
            if self._segment is None:
                self._try_join()

    def _drop(self, key: str, _: object) -> None:
        self._registries.pop(key, None)

    def join(self, registry: Registry) -> bool:
        """Share the default registry if the group directory exists. Returns False if it does not exist yet.

        Looks for it at most every 100 ms, since each of many publishes may call this; returns False in between.
        """
        now = monotonic()
        if now - self._looked_at < REUSE_SECONDS or self._lock.locked():
            return False
        self._looked_at = now
        if self.group is None and not group_exists():
            return False
        self.share(registry, default=True)
        return True

    def _hook(self) -> None:
        if self._hooked:
            return
        self._hooked = True
        atexit.register(self._at_exit)
        leave, join = self._leave_parent_memory, self._after_fork
        resources.hold(__name__, "segment", in_parent=self._note_fork, first_in_child=leave, in_child=join)
        hook_uwsgi()
        on_first_loop(self.server.wake)

    def _try_join(self) -> None:
        """Join the group, the former one if there was one. If that fails, set `reason`, and count in private memory."""
        self._tried_at = monotonic()
        for _ in range(_ATTEMPTS):
            try:
                self._join_group(find_group_directory(self._group_name))
            except FileNotFoundError:  # another process took the directory or the file for left over, and removed it
                self._leave_group()
                self.reason = "another process keeps removing the group directory"
            except (OSError, UnsharedError) as error:
                self._leave_group()
                self.reason = str(error)
                break
            else:
                self.reason = doubt(self._group_name)
                return self._fold_dead()
        self.server.start(None)  # to try again, and to send probes to event loops

    def _join_group(self, directory: str) -> None:
        pid = os.getpid()
        # Set before the first cell is bound: the process may fork at any moment, and the child must unbind the cells.
        self._segment = segment = WorkerSegment(directory, pid, start_of(pid))
        self._records = records = Records(segment)
        self._uid, self._pid = os.geteuid(), pid
        self.own = own = OwnSegment(segment)
        for key, reference in self._registries.copy().items():
            if (registry := reference()) is not None:
                records.add_registry(key, registry)
        records.keep(self.requests, H_REQUESTS)
        records.keep(BLOCKED_FROM, H_BLOCKED)
        if self._group_name is None or not threads_run():  # else only when a peer asks: the figures are costly to read
            own.write_figures()
        segment.publish()
        self.group, self._group_name = GroupReader(directory, own.layout), os.path.basename(directory)
        self.server.stop()  # it runs without a socket if joining failed before
        self.server.start(os.path.join(directory, files.socket_of(segment.name)))

    def _leave_group(self) -> None:
        """Remove the segment. The numbers stay as they are, in private memory."""
        segment = self._segment
        if self._records is not None:
            self._records.close()
        self._segment = self._records = self.own = self.group = self._latest = None
        if segment is not None:
            segment.clear()  # the next segment will have these numbers, which must count only once
            segment.discard()

    def _fold_dead(self) -> None:
        """Fold the segments of dead workers if there are over MAX_DEAD: without readers they would pile up."""
        if (group := self.group) is not None and (own := self.own) is not None:
            fold(group.directory, own.layout, MAX_DEAD)

    def read_group(self, deadline: float | None = None, *, renew: bool = False) -> GroupReading | None:
        """Read the segments of the group. Returns None if this process is in no group.

        The numbers in a segment are always up to date, but a worker writes its runtime figures there only when a peer
        asks. With a deadline this asks all peers, at most every 100 ms, and waits up to 50 ms for them; of a late peer
        it reads the earlier figures. With `renew` it always asks, and waits until the deadline.
        """
        self._catch_up()
        group, own = self.group, self.own
        if group is None or own is None:
            return None
        reading = NO_PEERS
        if not group.is_alone():
            own.write_figures()
            if deadline is not None:
                self._refresh(group, deadline, renew)
            reading = group.read()
        self._latest = monotonic(), reading
        return reading

    def latest(self) -> GroupReading | None:
        """The last reading of the group if it is under 100 ms old, else a new one; None if there is no group."""
        if self._latest is not None and monotonic() - self._latest[0] < REUSE_SECONDS:
            return self._latest[1]
        return self.group.read() if self.group is not None else None

    def _refresh(self, group: GroupReader, deadline: float, renew: bool) -> None:
        now = monotonic()
        if renew or now - self._refreshed >= REUSE_SECONDS:
            self._refreshed = now
            until = deadline if renew else min(deadline, now + FIGURES_TIMEOUT_SECONDS)
            self.answers = self.client.ask(group.directory, group.peer_names(), ASK_FIGURES, until, patient=renew)

    def ask(self, question: Question, deadline: float, pids: Collection[int], patient: bool) -> dict[int, bytes]:
        """Ask the live workers with these pids. Returns the answers by pid, empty if a worker did not answer in time.

        If its server runs, this process asks itself, too. A worker that owes an answer is asked only if `patient`.
        """
        group, reading = self.group, self.latest()
        if group is None or reading is None:
            return {}
        names = {peer.name: peer.pid for peer in reading.live if peer.pid in pids}
        if self._pid in pids and self.server.runs:
            names[self.name] = self._pid
        answers = self.client.ask(group.directory, names, question, deadline, patient=patient)
        return {pid: answers.get(name, b"") for name, pid in names.items()}

    def _answer(self, question: Question) -> bytes:
        if question.get("ask") == "figures" and self.own is not None:
            self.own.write_figures()
            note_blocked()
            return to_json(own_load())
        reference = self._registries.get(str(question.get("registry")))
        registry = reference() if reference is not None else None
        return self.answer(registry, question) if registry is not None and self.answer is not None else b"null"

    def _check(self) -> float | None:
        """The check that the thread of the server calls: every 3 s, or every second while there is an event loop."""
        self._catch_up()
        self.server.restore()
        if monotonic() - self._forked_at < FORKED_SECONDS:
            self._fold_dead()
        return TICK_SECONDS if tick() else None

    def _catch_up(self) -> None:
        """Join again after a fork without hooks, a change of user, a removal or a failure; share what had no room."""
        if self._segment is not None and self._pid != os.getpid():
            resources.after_fork_in_child()
        resources.make_again()
        # Do not wait long: the server's thread calls this, too, and the holder of the lock may wait for that thread.
        if self._is_astray() and self._lock.acquire(timeout=LOCK_SECONDS):
            try:
                if self._is_astray():
                    self._join_again()
            finally:
                self._lock.release()
        if (segment := self._segment) is not None and segment.is_lost:
            segment.restore()
        if self._records is not None:
            self._records.settle()

    def _is_astray(self) -> bool:
        """Whether peers do not find this process, and it should join again now. Usually costs one system call."""
        segment = self._segment
        if segment is None:
            return bool(self._registries) and monotonic() - self._tried_at > RETRY_SECONDS
        return self.group is not None and (self._uid != os.geteuid() or not segment.is_published())

    def _join_again(self) -> None:
        """Join the former group again, with a new segment that has all numbers of this process.

        After a change of user, the segment is in the directory of the new user. If the group directory was removed, the
        first worker that notices makes it again; the counts of dead workers are lost then.
        """
        if self._segment is not None:
            self.server.stop()
            self._leave_group()
        self._try_join()

    def _note_fork(self) -> None:
        self._forked_at = monotonic()

    def _leave_parent_memory(self) -> None:  # in a forked child, before any code of the program runs there
        if self._pid != os.getpid() and self._records is not None:
            self._records.detach_in_child()
        files.own.clear()

    def _after_fork(self) -> None:
        """In a forked child, join the group of the parent with a new segment, in which all numbers start at zero."""
        self._pid = os.getpid()
        self._lock = Lock()
        self._refreshed = 0.0
        self._forked_at = -60.0
        segment = self._segment
        self._segment = self._records = self.own = self.group = self._latest = None
        if segment is not None:
            segment.close()
        if self._registries:
            self._try_join()

    def _at_exit(self) -> None:
        """Remove the group directory if its owner has ended or is this process, and no other worker is live."""
        group, records = self.group, self._records
        if group is None or records is None or self._pid != os.getpid():
            return
        records.stop()
        self.server.stop()
        if has_ended(group.directory, without=self._pid) and monotonic() - self._forked_at > FORK_GRACE_SECONDS:
            remove_group(group.directory)
        self._fold_dead()


MEMBER: Member = Member()
"""The membership of this process. There is no other instance."""
