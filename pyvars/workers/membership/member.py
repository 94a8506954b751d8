"""This process as a worker of its group: joining, and what happens after a fork, a change of user, and at exit."""

import atexit
import os
from collections.abc import Callable, Collection
from functools import partial
from threading import Lock
from time import monotonic
from weakref import ref

from pyvars.core import resources
from pyvars.core.cells import IntCell
from pyvars.core.registry import Registry
from pyvars.runtime.reading import REUSE_SECONDS
from pyvars.workers.asking.client import ASK_FIGURES, FIGURES_TIMEOUT_SECONDS, WorkerClient
from pyvars.workers.asking.server import Question, WorkerServer
from pyvars.workers.numbers.group_reading import NO_PEERS, GroupReader, GroupReading
from pyvars.workers.numbers.own_segment import OwnSegment
from pyvars.workers.numbers.records import Records
from pyvars.workers.numbers.segment import H_REQUESTS
from pyvars.workers.numbers.worker_segment import WorkerSegment
from pyvars.workers.together.directory import (
    UnsharedError,
    find_group_directory,
    group_exists,
    remove_group,
    socket_of,
    sweep,
)
from pyvars.workers.together.forks import hook_uwsgi
from pyvars.workers.together.group import is_running, owner_in, start_of

__all__ = ("MEMBER", "Member")

_ATTEMPTS = 10
RETRY_SECONDS = 1.0
"""How long after a failed attempt to join the next one is made at the earliest."""
FORK_GRACE_SECONDS = 5.0
"""How long after a fork a process that exits leaves the group directory alone: the child may still be joining."""


class Member:
    """The membership of this process in its group. Counting calls nothing here."""

    def __init__(self) -> None:
        self.requests: IntCell = IntCell()
        """Requests that the integrations of this process received."""
        self.reason: str = ""
        """Why joining the group failed; empty if it did not."""
        self.group: GroupReader | None = None
        """Reads the group; None if this process is in none."""
        self.own: OwnSegment | None = None
        """Reads the segment of this process; None if it has none."""
        self.answer: Callable[[Registry, Question], bytes] | None = None
        """Computes the answer to a peer that asks for a page or for values; set by `pyvars.workers.share`."""
        self.server: WorkerServer = WorkerServer(self._answer)
        self.client: WorkerClient = WorkerClient()
        self._registries: dict[str, ref[Registry]] = {}
        self._other_registries = 0
        self._segment: WorkerSegment | None = None
        self._records: Records | None = None
        self._uid = -1
        self._pid = os.getpid()
        self._lock = Lock()
        self._hooked = False
        self._refreshed = 0.0
        self._answered: frozenset[str] = frozenset()
        self._latest: tuple[float, GroupReading] | None = None
        self._tried_at = self._looked_at = self._forked_at = -60.0

    @property
    def shared(self) -> bool:
        """Whether this process is in a group."""
        return self._segment is not None

    @property
    def error(self) -> str:
        """Why some numbers of this process are private although it is in a group; empty if none is."""
        return self._records.error if self._records is not None else ""

    @property
    def name(self) -> str:
        """The file name of this process's segment; empty if it has none."""
        return self._segment.name if self._segment is not None else ""

    def registry_key(self, registry: Registry) -> str | None:
        """The registry key: `default`, or the number of the registry in the order of sharing; None if it is not shared.

        It is the same in every worker if all of them make their integrations in the same order.
        """
        for key, reference in self._registries.copy().items():
            if reference() is registry:
                return key
        return None

    def share(self, registry: Registry, *, default: bool) -> None:
        """Share the numbers of the registry with the group, and join the group if that has not been done.

        `default` tells whether its registry key is `default`. Calling it again is no error.
        """
        self._hook()
        with self._lock:
            if self.registry_key(registry) is None:
                self._other_registries += not default
                key = "default" if default else str(self._other_registries)
                self._registries[key] = ref(registry, partial(self._drop, key))
                if self._records is not None:
                    self._records.add_registry(key, registry)
            self._try_join_once()

    def _drop(self, key: str, _: object) -> None:
        self._registries.pop(key, None)

    def join(self, registry: Registry) -> bool:
        """Share the default registry if the group directory exists; returns False if it does not exist yet.

        Looks for it at most every 100 ms, since a program may publish a great many variables; False in between.
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
        resources.hold(
            __name__,
            "segment",
            in_parent=self._note_fork,
            first_in_child=self._leave_parent_memory,
            in_child=self._after_fork,
        )
        hook_uwsgi()

    def _try_join_once(self) -> None:
        if self._segment is None:
            self._try_join(None)

    def _try_join(self, group: str | None) -> None:
        """Join the group with this name (None: find it). If that fails, set `reason` and count in private memory."""
        self._tried_at = monotonic()
        self.reason = "the directory for sharing does not stay"
        for _ in range(_ATTEMPTS):
            try:
                self._join_group(self._directory(group))
            except FileNotFoundError:  # another process removed the directory or the file as left over
                self._leave_group()
                continue
            except (OSError, UnsharedError) as error:
                self._leave_group()
                self.reason = str(error)
            else:
                self.reason = ""
            return

    def _directory(self, group: str | None) -> str:
        try:
            directory = find_group_directory(group)
        except OSError as error:  # also FileNotFoundError, which here is not worth another attempt
            raise UnsharedError(str(error)) from None
        sweep(os.path.dirname(directory), keep=directory)
        return directory

    def _join_group(self, directory: str) -> None:
        pid = os.getpid()
        # Set before the first cell is bound: the process may fork at any moment, and the child must find these.
        self._segment = segment = WorkerSegment(directory, pid, start_of(pid))
        self._records = records = Records(segment)
        self._uid, self._pid = os.geteuid(), pid
        self.own = own = OwnSegment(segment)
        for key, reference in self._registries.copy().items():
            if (registry := reference()) is not None:
                records.add_registry(key, registry)
        records.keep(self.requests, H_REQUESTS)
        own.write_figures()
        segment.publish()
        self.group = GroupReader(directory, segment.name, own.layout)
        self.server.start(os.path.join(directory, socket_of(segment.name)))

    def _leave_group(self) -> None:
        """Remove the segment; the numbers go on in private memory from their current values."""
        if self._records is not None:
            self._records.close()
        self.requests._unbind()
        if self._segment is not None:
            self._segment.discard()
        self._segment = self._records = self.own = self.group = self._latest = None

    def read_group(self, deadline: float, *, renew: bool = False) -> GroupReading | None:
        """Read the segments of the group; None if this process is in none.

        The numbers of peers are always up to date there. Their runtime figures are not: a peer writes them when it is
        asked to, which is at most every 100 ms, or in each call with `renew`. If a peer does not answer within 50 ms,
        or by the deadline, its earlier figures are read.
        """
        self._catch_up()
        group, own = self.group, self.own
        if group is None or own is None:
            return None
        reading = NO_PEERS
        if not group.is_alone():
            own.write_figures()
            self._refresh(group, deadline, renew)
            reading = group.read()
        self._latest = monotonic(), reading
        return reading

    def latest(self) -> GroupReading | None:
        """The last reading of the group if it is under 100 ms old, else a new one; None if this process is in none."""
        if self._latest is not None and monotonic() - self._latest[0] < REUSE_SECONDS:
            return self._latest[1]
        return self.group.read() if self.group is not None else None

    def _refresh(self, group: GroupReader, deadline: float, renew: bool) -> None:
        now = monotonic()
        if renew or now - self._refreshed >= REUSE_SECONDS:
            self._refreshed = now
            until = min(deadline, now + FIGURES_TIMEOUT_SECONDS)
            self._answered = frozenset(self.client.ask(group.directory, group.peer_names(), ASK_FIGURES, until))

    def ask(self, question: Question, deadline: float, pids: Collection[int]) -> dict[int, bytes]:
        """Ask the live workers with these pids, and return their answers by pid.

        The answer is empty for a worker that did not answer by the deadline. This process is asked like any other if
        its server runs.
        """
        group, reading = self.group, self.latest()
        if group is None or reading is None:
            return {}
        names = {peer.name: peer.pid for peer in reading.live if peer.pid in pids}
        if self._pid in pids and self.server.runs:
            names[self.name] = self._pid
        answers = self.client.ask(group.directory, names, question, deadline)
        return {pid: answers.get(name, b"") for name, pid in names.items()}

    def answered(self, name: str) -> bool:
        """Whether the peer whose segment has this name answered when peers were last asked for runtime figures."""
        return name in self._answered

    def _answer(self, question: Question) -> bytes:
        if question.get("ask") == "figures" and self.own is not None:
            self._settle()
            self.own.write_figures()
            return b"{}"
        reference = self._registries.get(str(question.get("registry")))
        registry = reference() if reference is not None else None
        return self.answer(registry, question) if registry is not None and self.answer is not None else b"null"

    def _catch_up(self) -> None:
        """Join the right group after a fork that ran no hooks, or after a change of user.

        If joining failed before, try again, at most once a second.
        """
        if self._segment is not None and self._pid != os.getpid():
            resources.after_fork_in_child()
        if self._segment is not None and self._uid != os.geteuid():
            self._follow_user()
        if self._segment is None and monotonic() - self._tried_at > RETRY_SECONDS and self._registries:
            with self._lock:
                self._try_join_once()
        self._settle()

    def _settle(self) -> None:
        """Share what was private for want of room, if there is room now."""
        if self._records is not None:
            self._records.settle()

    def _follow_user(self) -> None:
        """After a change of user, join the group in the new user's directory, where peers that changed too meet."""
        with self._lock:
            segment, group, records = self._segment, self.group, self._records
            if segment is None or group is None or records is None or self._uid == os.geteuid():
                return
            self.server.stop()
            records.close()
            self.requests._unbind()
            self._segment = self._records = self.own = self.group = self._latest = None
            segment.clear()  # the new segment has these numbers: readers of the old one must not add them twice
            segment.close()
            self._try_join(os.path.basename(group.directory))

    def _note_fork(self) -> None:
        self._forked_at = monotonic()

    def _leave_parent_memory(self) -> None:
        """In a forked child, before anything else runs: unbind the cells from the parent's segment."""
        if self._pid != os.getpid() and self._records is not None:
            self._records.detach_in_child()
            self.requests._restart()

    def _after_fork(self) -> None:
        """In a forked child, join the group of the parent with a new segment, in which all numbers start at zero."""
        self._pid = os.getpid()
        self._lock = Lock()
        self._refreshed = 0.0
        segment, group = self._segment, self.group
        self._segment = self._records = self.own = self.group = self._latest = None
        if segment is not None:
            segment.close()
        if self._registries:
            self._try_join(os.path.basename(group.directory) if group is not None else None)
        if self._segment is not None and self._uid == 0:
            self.server.call_for_a_minute(self._catch_up)  # servers change the user in the child, soon after the fork

    def _at_exit(self) -> None:
        """Remove the group directory if its owner has ended or is this process, and no other worker is live."""
        group, segment, records = self.group, self._segment, self._records
        if group is None or segment is None or records is None or self._pid != os.getpid():
            return
        records.stop()
        self.server.stop()
        owner = owner_in(os.path.basename(group.directory))
        if owner is None or (owner.pid != self._pid and is_running(owner)):
            return
        if monotonic() - self._forked_at > FORK_GRACE_SECONDS:  # a child may still be joining
            remove_group(group.directory, segment.name)


MEMBER: Member = Member()
"""The membership of this process; the only instance."""
