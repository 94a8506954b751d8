"""Reads the segments of the peers of this process, live and dead, and the retired file, as one consistent reading."""

import os
import re
from collections.abc import Callable
from typing import NamedTuple

from pyvars.core.clock import monotonic
from pyvars.workers.numbers.layout import CorruptError, SegmentLayout
from pyvars.workers.numbers.reading import TOO_DEEP, SegmentReading, read
from pyvars.workers.numbers.retired import fold, read_retired
from pyvars.workers.together.files import RETIRED, own, peers_in

__all__ = ("NO_PEERS", "GroupReading", "GroupReader")

_SETTLED_SECONDS = 0.1
"""If the mtime of a directory has been seen unchanged for longer, the next change of the directory changes it: file
times have a resolution of 4 to 10 ms."""
_ATTEMPTS = 8
"""How often the group is read again if segments are folded or added meanwhile."""


class GroupReading(NamedTuple):
    """The content of the group directory at one moment, without the segment of this process."""

    peers: list[SegmentReading]
    """The live peers, and the dead ones that are not folded yet."""
    retired: SegmentReading | None
    """The retired file; None if there is none."""
    missing: dict[str, str]
    """By the name of a file: why numbers are missing in this reading, or are from an earlier one. If the file can be
    read, but its worker has more numbers than are there, the file is listed only while the worker lives."""

    @property
    def live(self) -> list[SegmentReading]:
        """The live peers."""
        return [peer for peer in self.peers if peer.alive]

    @property
    def is_empty(self) -> bool:
        """Whether there is neither a segment of a peer nor a retired file."""
        return not (self.peers or self.retired or self.missing)

    @property
    def dead_count(self) -> int:
        """How many workers of the group have died."""
        return len(self.peers) - len(self.live) + (self.retired.retired_count if self.retired else 0)

    @property
    def incomplete_pids(self) -> set[int]:
        """The pids of the peers whose numbers are missing."""
        return {int(found[1]) for found in map(_PID.match, self.missing) if found}


_PID = re.compile("w-([0-9]{1,10})-")

NO_PEERS: GroupReading = GroupReading([], None, {})
"""The reading of a process that has had no peers."""


class GroupReader:
    """Reads the group directory for this process; `layout()` returns the layout of its own segment.

    Thread-safe: threads that read at once do the same work twice, without harm.
    """

    def __init__(self, directory: str, layout: Callable[[], SegmentLayout]) -> None:
        self.directory = directory
        self._layout = layout
        self._seen: dict[str, SegmentReading] = {}
        self._alone = 0
        self._changed_at: tuple[int, float] = 0, 0.0  # the last mtime of the directory, and when it was first seen

    def is_alone(self) -> bool:
        """Whether a reading found neither peers nor a retired file, and the directory has not changed since.

        Costs one system call.
        """
        return self._alone != 0 and self._changed() == self._alone

    def has_peers(self) -> bool:
        """Whether this process has or had peers."""
        return not self.is_alone() and (bool(self.peer_names()) or self._retired_now() != (0, 0))

    def peer_names(self) -> list[str]:
        """The names of the segments of peers, live and dead; from the last reading if the directory cannot be read."""
        return peers_in(self._names()[0])

    def _names(self) -> tuple[list[str], str]:
        """The names of all files, and why the directory cannot be read; the reason is empty if it can."""
        try:
            return os.listdir(self.directory), ""
        except OSError as error:  # no descriptor is left, for example: use the names of the last reading meanwhile
            return list(self._seen), _text(error)

    def _changed(self) -> int:
        try:
            return os.stat(self.directory).st_mtime_ns
        except OSError:
            return 0

    def read(self) -> GroupReading:
        """Read all segments, and fold those of dead peers. Waits up to 10 ms for a segment that is being changed.

        Every count is in the result exactly once, even if workers die or are folded meanwhile.
        """
        if self.is_alone():
            return NO_PEERS
        reading, began, changed = NO_PEERS, 0.0, 0
        for _ in range(_ATTEMPTS):
            began, changed, before = monotonic(), self._changed(), self._retired_now()
            if changed != self._changed_at[0]:
                self._changed_at = changed, began
            reading = self._read()
            if not all(peer.alive for peer in reading.peers) and fold(self.directory, self._layout):
                continue
            # A fold during the reading may have moved counts from a segment that was not read yet to the retired file
            # when that had been read already: then read again.
            if self._retired_now() == before and changed == self._changed():
                break
        if reading.is_empty and began - self._changed_at[1] > _SETTLED_SECONDS:
            self._alone = changed
        self._seen = {peer.name: peer for peer in (*reading.peers, *([reading.retired] if reading.retired else []))}
        return reading

    def _retired_now(self) -> tuple[int, int]:
        try:
            found = os.stat(os.path.join(self.directory, RETIRED))
        except OSError:
            return 0, 0
        return found.st_ino, found.st_mtime_ns

    def _read(self) -> GroupReading:
        peers: list[SegmentReading] = []
        missing: dict[str, str] = {}
        seen = self._seen
        names, unreadable = self._names()
        if unreadable:
            missing[self.directory] = unreadable
        for name in peers_in(names):
            try:
                peer = read(os.path.join(self.directory, name), seen.get(name))
            except FileNotFoundError:
                continue
            except CorruptError as error:
                missing[name] = str(error)
                continue
            except OSError as error:
                missing[name] = _text(error)
                if name not in seen:
                    continue
                peer = seen[name]
            peers.append(peer)
            if peer.alive and peer.missing:
                missing.setdefault(name, peer.missing)
        retired = None
        try:
            retired = read_retired(self.directory, seen.get(RETIRED))
        except CorruptError as error:
            missing[RETIRED] = str(error)
        except OSError as error:
            missing[RETIRED] = _text(error)
            retired = seen.get(RETIRED)
        folded = retired.layout.folded if retired else ()
        peers = [peer for peer in peers if peer.name not in folded]
        if (peers or retired) and self._layout().left_out:
            missing.update(dict.fromkeys(own.intersection(names), TOO_DEEP))
        return GroupReading(peers, retired, missing)


def _text(error: OSError) -> str:
    return error.strerror or str(error)
