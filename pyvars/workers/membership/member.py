"""This process as one of a group: its segment, and what forks, a change of user and the end make of it."""

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
from pyvars.workers.numbers.segment import H_REQUESTS, INT, Segment
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
FORK_GRACE_SECONDS = 5.0


class Member:
    """The membership of this process. Nothing here is called while it counts."""

    def __init__(self) -> None:
        self.requests: IntCell = IntCell()
        """Requests that came through the integrations of this process."""
        self.reason: str = ""
        """Why numbers are not shared; empty if they are."""
        self.group: GroupReader | None = None
        """The group, if this process is in one."""
        self.own: OwnSegment | None = None
        """What its own segment says, then."""
        self.answer: Callable[[Registry, Question], bytes] | None = None
        """What answers peers that ask for values of functions: set by who knows the pages."""
        self.server: WorkerServer = WorkerServer(self._answer)
        self.client: WorkerClient = WorkerClient()
        self._registries: dict[str, ref[Registry]] = {}
        self._numbered = 0
        self._segment: Segment | None = None
        self._records: Records | None = None
        self._uid = -1
        self._pid = os.getpid()
        self._lock = Lock()
        self._hooked = False
        self._refreshed = 0.0
        self._answered: frozenset[str] = frozenset()
        self._latest: tuple[float, GroupReading] | None = None
        self._tried = self._looked = self._forked_at = -60.0

    @property
    def shared(self) -> bool:
        """Whether the numbers of this process are in a segment."""
        return self._segment is not None

    @property
    def error(self) -> str:
        """Why some numbers, though not all, are private; empty if none is."""
        return self._records.error if self._records is not None else ""

    @property
    def name(self) -> str:
        """The name of the segment."""
        return self._segment.name if self._segment is not None else ""

    def registry_key(self, registry: Registry) -> str | None:
        """The name that the registry has in every worker: `default`, else its number in the order of integrations."""
        for key, reference in self._registries.copy().items():
            if reference() is registry:
                return key
        return None

    def share(self, registry: Registry, *, default: bool) -> None:
        """Share the numbers of the registry with the group; become a member of it if need be. Again is no error."""
        self._hook()
        with self._lock:
            if self.registry_key(registry) is None:
                self._numbered += not default
                key = "default" if default else str(self._numbered)
                self._registries[key] = ref(registry, partial(self._drop, key))
                if self._records is not None:
                    self._records.add_registry(key, registry)
            self._bind_once()

    def _drop(self, key: str, _: object) -> None:
        self._registries.pop(key, None)

    def join(self, registry: Registry) -> bool:
        """Share the default registry if there is a group to join; false if there is none yet.

        It is looked for at most every 100 ms, since a program may publish a great many variables.
        """
        now = monotonic()
        if now - self._looked < REUSE_SECONDS or self._lock.locked():
            return False
        self._looked = now
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

    def _bind_once(self) -> None:
        if self._segment is None:
            self._bind(None)

    def _bind(self, group: str | None) -> None:
        """Become a member of the group; if that cannot be, count in private memory, and say why."""
        self._tried = monotonic()
        self.reason = "the directory for sharing does not stay"
        for _ in range(_ATTEMPTS):
            try:
                self._join_group(self._directory(group))
            except FileNotFoundError:  # a sweeper took it for dirt: an unlucky moment, or two
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
        except OSError as error:  # among them FileNotFoundError, which here is no bad luck
            raise UnsharedError(str(error)) from None
        sweep(os.path.dirname(directory), keep=directory)
        return directory

    def _join_group(self, directory: str) -> None:
        pid = os.getpid()
        # Known to this object before a cell is bound: a fork may come at any moment.
        self._segment = segment = Segment(directory, pid, start_of(pid))
        self._records = records = Records(segment)
        self._uid, self._pid = os.geteuid(), pid
        self.own = own = OwnSegment(segment)
        for key, reference in self._registries.copy().items():
            if (registry := reference()) is not None:
                records.add_registry(key, registry)
        self.requests._bind(*segment.word(H_REQUESTS, INT))
        own.write_figures()
        segment.publish()
        self.group = GroupReader(directory, segment.name, own.layout)
        self.server.start(os.path.join(directory, socket_of(segment.name)))

    def _leave_group(self) -> None:
        """Count in private memory again, from what there is."""
        if self._records is not None:
            self._records.close()
        self.requests._unbind()
        if self._segment is not None:
            self._segment.discard()
        self._segment = self._records = self.own = self.group = self._latest = None

    def read_group(self, deadline: float, *, renew: bool = False) -> GroupReading | None:
        """What the peers say; None if this process is in no group.

        Their numbers are there to be read. Their runtime figures they write down when they are asked, which they are at
        most every 100 ms, or now to `renew` them: who does not so in time is read as it was before.
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
        """The same, as a page had it that was made just now."""
        if self._latest is not None and monotonic() - self._latest[0] < REUSE_SECONDS:
            return self._latest[1]
        return self.group.read() if self.group is not None else None

    def _refresh(self, group: GroupReader, deadline: float, renew: bool) -> None:
        now = monotonic()
        if renew or now - self._refreshed >= REUSE_SECONDS:
            self._refreshed = now
            until = min(deadline, now + FIGURES_TIMEOUT_SECONDS)
            self._answered = frozenset(self.client.ask(group.directory, group.peer_names(), ASK_FIGURES, until))

    def ask(self, ask: Question, deadline: float, pids: Collection[int]) -> dict[int, bytes]:
        """What live members with these pids answer, by pid; empty of who did not."""
        group, reading = self.group, self.latest()
        if group is None or reading is None:
            return {}
        names = {peer.name: peer.pid for peer in reading.live if peer.pid in pids}
        if self._pid in pids and self.server.runs:
            names[self.name] = self._pid
        answers = self.client.ask(group.directory, names, ask, deadline)
        return {pid: answers.get(name, b"") for name, pid in names.items()}

    def answered(self, name: str) -> bool:
        """Whether the peer answered when it was last asked."""
        return name in self._answered

    def _answer(self, ask: Question) -> bytes:
        if ask.get("ask") == "figures" and self.own is not None:
            self.own.write_figures()
            return b"{}"
        reference = self._registries.get(str(ask.get("registry")))
        registry = reference() if reference is not None else None
        return self.answer(registry, ask) if registry is not None and self.answer is not None else b"null"

    def _catch_up(self) -> None:
        """After a fork that ran no hook, and after a change of user, be where this process belongs now.

        And try again where it could not be before, once a second.
        """
        if self._segment is not None and self._pid != os.getpid():
            resources.after_fork_in_child()
        if self._segment is not None and self._uid != os.geteuid():
            self._follow_user()
        if self._segment is None and monotonic() - self._tried > RETRY_SECONDS and self._registries:
            with self._lock:
                self._bind_once()

    def _follow_user(self) -> None:
        """Go on in the place of the new user, which those who changed likewise can read."""
        with self._lock:
            segment, group, records = self._segment, self.group, self._records
            if segment is None or group is None or records is None or self._uid == os.geteuid():
                return
            self.server.stop()
            records.close()
            self.requests._unbind()
            self._segment = self._records = self.own = self.group = self._latest = None
            segment.clear()  # whoever still reads it there must not count these numbers a second time
            segment.close()
            self._bind(os.path.basename(group.directory))

    def _note_fork(self) -> None:
        self._forked_at = monotonic()

    def _leave_parent_memory(self) -> None:
        """In a child, before anything else there: write no more to the memory of the parent."""
        if self._pid != os.getpid() and self._records is not None:
            self._records.detach_in_child()
            self.requests._restart()

    def _after_fork(self) -> None:
        """In a child: its share begins at zero, in a segment of its own, in the group of its parent."""
        if self._pid == os.getpid():
            return
        self._pid = os.getpid()
        self._lock = Lock()
        self._refreshed = 0.0
        segment, group = self._segment, self.group
        self._segment = self._records = self.own = self.group = self._latest = None
        if segment is not None:
            segment.close()
        if self._registries:
            self._bind(os.path.basename(group.directory) if group is not None else None)
        if self._segment is not None and self._uid == 0:
            self.server.call_for_a_minute(self._catch_up)  # servers drop privileges in the child, soon after the fork

    def _at_exit(self) -> None:
        """At the end: the last of a group whose owner is gone, or is this process, takes its directory away."""
        group, segment, records = self.group, self._segment, self._records
        if group is None or segment is None or records is None or self._pid != os.getpid():
            return
        records.stop()
        self.server.stop()
        owner = owner_in(os.path.basename(group.directory))
        if owner is None or (owner.pid != self._pid and is_running(owner)):
            return
        if monotonic() - self._forked_at > FORK_GRACE_SECONDS:  # a child that was just forked may be on its way in
            remove_group(group.directory, segment.name)


MEMBER: Member = Member()
"""The membership of this process."""
