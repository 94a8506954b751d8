"""Reads a whole group at one moment, without waiting for anybody: siblings that live, that died, and the retired."""

import os
import time
from collections.abc import Callable
from typing import NamedTuple

from pyvars.workers.numbers.layout import CorruptError, Layout
from pyvars.workers.numbers.reading import Peer, read
from pyvars.workers.numbers.retired import fold, read_retired
from pyvars.workers.together.directory import RETIRED, SEGMENT

__all__ = ("NOBODY", "Family", "Group")

_SETTLED_NS = 100_000_000
"""A directory that has not changed for this long has shown its change in its time, which ticks every 4 to 10 ms."""
_ATTEMPTS = 8


class Family(NamedTuple):
    """What the siblings of this process said."""

    peers: list[Peer]
    """Live ones, and dead ones not folded yet."""
    retired: Peer | None
    damaged: dict[str, str]
    """Files that could not be read, and why."""

    @property
    def live(self) -> list[Peer]:
        """Those that live."""
        return [peer for peer in self.peers if peer.alive]

    @property
    def dead(self) -> int:
        """How many have died since the group began."""
        return len(self.peers) - len(self.live) + (self.retired.retired if self.retired else 0)


NOBODY: Family = Family([], None, {})
"""The family of a process that is, and was always, alone."""


class Group:
    """The directory of a group, as the process that owns the segment `own` sees it. Thread-safe: readers only race."""

    def __init__(self, directory: str, own: str, layout: Callable[[], Layout]) -> None:
        self.directory = directory
        self._own = own
        self._layout = layout
        self._seen: dict[str, Peer] = {}
        self._alone = 0

    def is_alone(self) -> bool:
        """Whether there was nobody else, and nothing has changed since: one system call."""
        return self._alone != 0 and self._changed() == self._alone

    def has_siblings(self) -> bool:
        """Whether there is, or was, anybody else."""
        return not self.is_alone() and (bool(self.siblings()) or self._retired_now() != (0, 0))

    def siblings(self) -> list[str]:
        """The names of the segments that are there beside this process's own, of live and dead ones."""
        try:
            names = os.listdir(self.directory)
        except OSError:
            return []
        return [name for name in names if name.startswith(SEGMENT) and name != self._own]

    def _changed(self) -> int:
        try:
            return os.stat(self.directory).st_mtime_ns
        except OSError:
            return 0

    def read(self) -> Family:
        """Read them all. What was counted is in it exactly once, however many die, and are folded, meanwhile."""
        if self.is_alone():
            return NOBODY
        family, began, changed = NOBODY, 0, 0
        for _ in range(_ATTEMPTS):
            began, changed, before = time.time_ns(), self._changed(), self._retired_now()
            family = self._read()
            if family.peers and not all(peer.alive for peer in family.peers):
                layouts = [self._layout(), *(peer.layout for peer in family.live)]
                if fold(self.directory, self._own, layouts):
                    continue
            # A fold in between may have moved numbers from where they were not read yet to where they were read.
            if self._retired_now() == before and changed == self._changed():
                break
        if not family.peers and not family.retired and not family.damaged and began - changed > _SETTLED_NS:
            self._alone = changed
        self._seen = {peer.name: peer for peer in (*family.peers, *([family.retired] if family.retired else []))}
        return family

    def _retired_now(self) -> tuple[int, int]:
        try:
            found = os.stat(os.path.join(self.directory, RETIRED))
        except OSError:
            return 0, 0
        return found.st_ino, found.st_mtime_ns

    def _read(self) -> Family:
        peers: list[Peer] = []
        damaged: dict[str, str] = {}
        seen = self._seen
        try:
            names = os.listdir(self.directory)
        except OSError as error:
            return Family([], None, {self.directory: error.strerror or str(error)})
        for name in names:
            if name.startswith(SEGMENT) and name != self._own:
                try:
                    peers.append(read(os.path.join(self.directory, name), seen.get(name)))
                except FileNotFoundError:
                    continue
                except CorruptError as error:
                    damaged[name] = str(error)
                except OSError as error:
                    damaged[name] = error.strerror or str(error)
        retired = None
        try:
            retired = read_retired(self.directory, seen.get(RETIRED))
        except CorruptError as error:
            damaged[RETIRED] = str(error)
        except OSError as error:
            damaged[RETIRED] = error.strerror or str(error)
        folded = retired.layout.folded if retired else ()
        return Family([peer for peer in peers if peer.name not in folded], retired, damaged)
