"""This process as one of a group: its segment, and what forks, a change of user and the end make of it."""

import atexit
import os
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from importlib import import_module
from threading import Lock
from time import monotonic
from weakref import ref

from pyvars.cells import IntCell, lock
from pyvars.formats.json import plain
from pyvars.registry import Registry
from pyvars.runtime import vitals
from pyvars.runtime.reading import REUSE_SECONDS
from pyvars.workers.answerer import Answerer, Ask
from pyvars.workers.asking import Asker
from pyvars.workers.family import Family, Group
from pyvars.workers.group import is_running, owner_in, start_of
from pyvars.workers.layout import Layout, parse
from pyvars.workers.place import UnsharedError, find_place, group_exists, remove_group, socket_of, sweep
from pyvars.workers.plan import Source
from pyvars.workers.segment import H_CHUNKS, H_GENERATION, H_REQUESTS, H_USED, INT, Segment, record_area
from pyvars.workers.tree import Tree

__all__ = ("MEMBER", "Member")

_ATTEMPTS = 10
PATIENCE_SECONDS = 0.05
"""So long a page waits for the runtime figures of siblings. Who is late once is not waited for until it answers."""


class Member:
    """The membership of this process. Nothing here is called while it counts."""

    def __init__(self) -> None:
        self.requests: IntCell = IntCell()
        """Requests that came through the carriers of this process."""
        self.reason: str = ""
        """Why numbers are not shared; empty if they are."""
        self.group: Group | None = None
        """The group, if this process is in one."""
        self.answer: Callable[[Registry, Ask], bytes] | None = None
        """What answers siblings that ask for values of functions: set by who knows the pages."""
        self.answerer: Answerer = Answerer(self._answer)
        self.asker: Asker = Asker()
        self._roots: dict[str, ref[Registry]] = {}
        self._numbered = 0
        self._segment: Segment | None = None
        self._tree: Tree | None = None
        self._uid = -1
        self._pid = os.getpid()
        self._vitals: dict[str, object] = {}
        self._vitals_lock = Lock()
        self._layout: tuple[int, Layout] | None = None
        self._lock = Lock()
        self._hooked = False
        self._refreshed = 0.0
        self._answered: frozenset[str] = frozenset()
        self._latest: tuple[float, Family] | None = None

    @property
    def shared(self) -> bool:
        """Whether the numbers of this process are in a segment."""
        return self._segment is not None

    @property
    def error(self) -> str:
        """Why some numbers, though not all, are private; empty if none is."""
        return self._tree.error if self._tree is not None else ""

    @property
    def name(self) -> str:
        """The name of the segment."""
        return self._segment.name if self._segment is not None else ""

    def root(self, registry: Registry) -> str | None:
        """The name that the registry has in every worker: `default`, else its number in the order of carriers."""
        return next((name for name, root in self._roots.items() if root() is registry), None)

    def share(self, registry: Registry, *, default: bool) -> None:
        """Share the numbers of the registry with the group; become a member of it if need be. Again is no error."""
        with self._lock:
            if self.root(registry) is None:
                self._numbered += not default
                name = "default" if default else str(self._numbered)
                self._roots[name] = ref(registry, partial(self._drop, name))
                if self._tree is not None:
                    self._tree.add_root(name, registry)
            if self._segment is None:
                self._bind(None)
            self._hook()

    def _drop(self, name: str, _: object) -> None:
        self._roots.pop(name, None)

    def join(self, registry: Registry) -> bool:
        """Share the default registry if there is a group to join; false if there is none yet."""
        if self.group is None and not group_exists():
            return False
        self.share(registry, default=True)
        return True

    def _hook(self) -> None:
        if self._hooked:
            return
        self._hooked = True
        atexit.register(self._leave)
        if hasattr(os, "register_at_fork"):  # pragma: no branch - it is missing on Windows only
            os.register_at_fork(
                before=self.answerer.pause, after_in_parent=self.answerer.resume, after_in_child=self._after_fork
            )
        if "uwsgi" in sys.modules:
            # Without enable-threads uWSGI forks its workers without Python's hooks.
            import_module("uwsgidecorators").postfork(self._after_fork)

    def _bind(self, group: str | None, before: Tree | None = None, *, restart: bool = False) -> None:
        """Become a member of the group; if that cannot be, count in private memory, and say why.

        `before` is the tree of the segment that is left, if there was one.
        """
        self.reason = ""
        for _ in range(_ATTEMPTS):
            segment = None
            try:
                directory = self._place(group)
                pid = os.getpid()
                segment = Segment(directory, pid, start_of(pid))
                tree = before.moved(segment, restart=restart) if before is not None else None
                if tree is None:
                    if before is not None:
                        before.close(restart=restart)
                    tree, before = Tree(segment), None
                    for name, root in self._roots.copy().items():
                        if (registry := root()) is not None:
                            tree.add_root(name, registry)
                self.requests.bind(*segment.word(H_REQUESTS, INT))
                self._segment, self._tree, self._uid, self._pid = segment, tree, os.geteuid(), pid
                self._layout, self._vitals = None, {}
                self.write_vitals()
                segment.publish()
            except FileNotFoundError:  # a sweeper took it for dirt: an unlucky moment, or two
                self._unbind(segment, before)
                before = None
                continue
            except (OSError, UnsharedError) as error:
                self._unbind(segment, before, restart=restart)
                self.reason = str(error)
                return
            self.group = Group(directory, segment.name, self.layout)
            self.answerer.start(os.path.join(directory, socket_of(segment.name)))
            return
        self.reason = "the directory for sharing does not stay"

    def _place(self, group: str | None) -> str:
        try:
            directory = find_place(group)
        except OSError as error:  # among them FileNotFoundError, which here is no bad luck
            raise UnsharedError(str(error)) from None
        sweep(os.path.dirname(directory), keep=directory)
        return directory

    def _unbind(self, segment: Segment | None, before: Tree | None, *, restart: bool = False) -> None:
        for tree in (before, self._tree):
            if tree is not None:
                tree.close(restart=restart)
        self.requests.unbind()
        if segment is not None:
            segment.discard()
        self._segment = self._tree = self.group = self._latest = None

    def write_vitals(self) -> None:
        """Put the runtime figures of this process where its siblings see them, if they say something else than before.

        What cannot be written is not worth an error: the others then see the figures from before.
        """
        with self._vitals_lock:
            figures = vitals()
            if self._segment is not None and any(self._vitals.get(key) is not each for key, each in figures.items()):
                self._vitals = figures
                with suppress(TypeError):
                    self._segment.write_vitals(plain(figures))

    def vitals(self, target: str) -> object:
        """The figures of this process as its siblings see them: what one page said, the next one does not take back."""
        return self._vitals.get(target)

    def layout(self) -> Layout:
        """The layout of this process's own segment."""
        segment = self._segment
        if segment is None:
            return parse((), 0, False)
        generation: int = segment.header[H_GENERATION]
        if self._layout is None or self._layout[0] != generation:
            areas = [segment.read(*record_area(chunk)) for chunk in range(segment.header[H_CHUNKS])]
            self._layout = generation, parse(areas, segment.header[H_USED], True)
        return self._layout[1]

    def source(self) -> Source | None:
        """The numbers of this process, as the siblings see them; None if it is in no group."""
        for _ in range(_ATTEMPTS):  # names may change meanwhile
            segment, layout = self._segment, self.layout()
            if segment is None:
                return None
            words = memoryview(segment.numbers())
            if self.layout() is layout:
                break
        return Source(layout, words.cast("q"), words.cast("d"), True)

    def family(self, deadline: float, *, renew: bool = False) -> Family | None:
        """What the siblings say; None if this process is in no group.

        Their numbers are there to be read. Their runtime figures they write down when they are asked, which they are at
        most every 100 ms, or now to `renew` them: who does not so in time is read as it was before.
        """
        self._check()
        group = self.group
        if group is None:
            return None
        if not group.is_alone():
            self.write_vitals()
            self._refresh(group, deadline, renew)
        self._latest = monotonic(), group.read()
        return self._latest[1]

    def latest(self) -> Family | None:
        """The same, as a page had it that was made just now."""
        if self._latest is not None and monotonic() - self._latest[0] < REUSE_SECONDS:
            return self._latest[1]
        return self.group.read() if self.group is not None else None

    def _refresh(self, group: Group, deadline: float, renew: bool) -> None:
        now = monotonic()
        if renew or now - self._refreshed >= REUSE_SECONDS:
            self._refreshed = now
            until = min(deadline, now + PATIENCE_SECONDS)
            self._answered = frozenset(self.asker.ask(group.directory, group.siblings(), {"ask": "vitals"}, until))

    def ask(self, ask: Ask, deadline: float, pids: Collection[int]) -> dict[int, bytes]:
        """What live members with these pids answer, by pid; empty of who did not."""
        group, family = self.group, self.latest()
        if group is None or family is None:
            return {}
        names = {peer.name: peer.pid for peer in family.live if peer.pid in pids}
        if self._pid in pids and self.answerer.runs:
            names[self.name] = self._pid
        answers = self.asker.ask(group.directory, names, ask, deadline)
        return {pid: answers.get(name, b"") for name, pid in names.items()}

    def answered(self, name: str) -> bool:
        """Whether the sibling answered when it was last asked."""
        return name in self._answered

    def _answer(self, ask: Ask) -> bytes:
        if ask.get("ask") == "vitals":
            self.write_vitals()
            return b"{}"
        root = self._roots.get(str(ask.get("root")))
        registry = root() if root is not None else None
        return self.answer(registry, ask) if registry is not None and self.answer is not None else b"null"

    def _check(self) -> None:
        """After a fork that ran no hook, and after a change of user, be where this process belongs now."""
        if self._segment is not None and self._pid != os.getpid():
            self._after_fork()
        if self._segment is not None and self._uid != os.geteuid():
            self._move()

    def _move(self) -> None:
        """Go on in the place of the new user, which those who changed likewise can read."""
        with self._lock:
            segment, group = self._segment, self.group
            if segment is None or group is None or self._uid == os.geteuid():
                return
            self.answerer.stop()
            tree = self._tree
            self._segment = self._tree = self.group = self._latest = None
            self._bind(os.path.basename(group.directory), tree)
            segment.clear()  # whoever still reads it there must not count these numbers a second time
            segment.close()

    def _after_fork(self) -> None:
        """In a child: its share begins at zero, in a segment of its own, in the group of its parent."""
        if self._pid == os.getpid():
            return
        self._pid = os.getpid()
        lock._at_fork_reinit()  # type: ignore[attr-defined]  # for uWSGI, which runs no hooks
        self._lock, self._vitals_lock = Lock(), Lock()
        self.answerer.forget()
        self.asker.forget()
        self._refreshed = 0.0
        segment, group = self._segment, self.group
        if segment is None or group is None:
            return
        tree = self._tree
        self.requests.restart()
        self._segment = self._tree = self.group = self._latest = None
        self._bind(os.path.basename(group.directory), tree, restart=True)
        segment.close()
        if self._segment is not None and self._uid == 0 and self.answerer.runs:
            self.answerer.watch(self._check)  # servers drop privileges in the child, soon after the fork

    def _leave(self) -> None:
        """At the end: the last of a group whose owner is gone, or is this process, takes its directory away."""
        group, segment, tree = self.group, self._segment, self._tree
        if group is None or segment is None or tree is None or self._pid != os.getpid():
            return
        tree.leave()
        self.answerer.stop()
        owner = owner_in(os.path.basename(group.directory))
        if owner is not None and (owner.pid == self._pid or not is_running(owner)):
            remove_group(group.directory, segment.name)


MEMBER: Member = Member()
"""The membership of this process."""
