"""What dead workers counted, kept in one file: written by whoever finds them dead, each counted exactly once.

The file has the form of a segment. It says whose numbers are in it, so that a death between its appearance and the
removal of the folded segments changes nothing.
"""

import os
from collections.abc import Sequence
from contextlib import suppress

from pyvars.formats.json import plain
from pyvars.runtime import kept
from pyvars.workers.numbers.layout import Path, SegmentLayout, is_shown
from pyvars.workers.numbers.reading import MAX_RETIRED, Peer, read
from pyvars.workers.numbers.segment import COMPOSITE, FLOAT, FOLDED, H_RETIRED, INT, Segment
from pyvars.workers.numbers.sums import Sums, add, number, remainder, remainder_path
from pyvars.workers.together.directory import RETIRED, SEGMENT, socket_of
from pyvars.workers.together.group import Process, is_running
from pyvars.workers.together.locks import exclusive

__all__ = ("fold", "read_retired")

MAX_UNSEEN = 20_000
"""So many numbers that no live worker shows are kept, for one that may: names may hold a pid, and so never end."""


def read_retired(directory: str, before: Peer | None) -> Peer | None:
    """What is kept of dead workers, or None if none has died yet. Raises CorruptError, OSError."""
    try:
        return read(os.path.join(directory, RETIRED), before)
    except FileNotFoundError:
        return None


def fold(directory: str, own: str, live: Sequence[SegmentLayout]) -> bool:
    """Move the numbers of the dead segments in the directory to the file of the retired, and remove the segments.

    `own` is the name of this process's segment, `live` what live workers show. False if nothing was moved: another
    process is about it, or there is no room, or they are damaged; then the dead segments stay, and count where they
    are.
    """
    try:
        with exclusive(directory):
            return _fold(directory, own, live)
    except OSError:
        return False


def _fold(directory: str, own: str, live: Sequence[SegmentLayout]) -> bool:
    retired = None
    with suppress(ValueError):  # damaged: better to begin again than never to fold any more
        retired = read_retired(directory, None)
    folded = retired.layout.folded if retired else frozenset[str]()
    dead: list[Peer] = []
    present: list[str] = []
    names = os.listdir(directory)
    _clean(directory, names)
    for name in names:
        if not name.startswith(SEGMENT) or name == own:
            continue
        with suppress(OSError, ValueError):  # it has gone, or is none; nobody else's is lost for that
            peer = read(os.path.join(directory, name), None)
            if not peer.alive:
                present.append(name)
                if name not in folded:
                    dead.append(peer)
    if dead:
        _write(directory, dead, retired, present, live)
    for name in present:
        for path in (name, socket_of(name)):
            with suppress(OSError):
                os.unlink(os.path.join(directory, path))
    return bool(present)


def _clean(directory: str, names: Sequence[str]) -> None:
    """Remove what processes left that were killed at birth, while folding, or while a dead one was removed."""
    sockets = {socket_of(name) for name in names if name.startswith(SEGMENT)}
    for name in names:
        _, *parts = name.split("-")
        newborn = name.startswith(f".{SEGMENT}") and len(parts) == 3 and all(part.isdecimal() for part in parts[:2])
        # Who folds is the only one: another one's file, which has no pid, is left over.
        if (newborn and not is_running(Process(int(parts[0]), int(parts[1])))) or (
            name.startswith("s-") and name not in sockets
        ):
            with suppress(OSError):
                os.unlink(os.path.join(directory, name))


def _write(
    directory: str, dead: Sequence[Peer], retired: Peer | None, present: Sequence[str], live: Sequence[SegmentLayout]
) -> None:
    sums: Sums = {}
    for peer in (*([retired] if retired else []), *dead):
        add(sums, peer)
    paths = {path for layout in live for numbers in layout[:2] for path in numbers.paths}
    maps = {path for layout in live for path in layout.maps}
    unseen = [path for path in sums if not is_shown(path, paths, maps)]
    for path in unseen[: max(0, len(unseen) - MAX_UNSEEN)]:  # those of the longest dead first
        del sums[path]

    segment = Segment(directory, 0, 0)
    try:
        composites: dict[Path, int] = {(): 0}
        for path, addends in sums.items():
            kind = INT if isinstance(addends, int) else FLOAT
            index = segment.allocate()
            words, local = segment.word(index, kind)
            words[local] = number(addends)
            segment.link(_composite(segment, composites, path[:-1]), path[-1], kind, index)
            rest = 0.0 if isinstance(addends, int) else remainder(addends)
            if rest:
                index = segment.allocate()
                words, local = segment.word(index, FLOAT)
                words[local] = rest
                segment.link(_composite(segment, composites, remainder_path(path)[:-1]), path[-1], FLOAT, index)
        for name in present:
            segment.link(0, name, FOLDED, 0)
        segment.header[H_RETIRED] = min(MAX_RETIRED, (retired.retired if retired else 0) + len(dead))
        rows = [peer.figures for peer in (*([retired] if retired else []), *dead)]
        with suppress(TypeError, ValueError):  # they were written by processes that are dead, and may be anything
            segment.write_figures(plain(kept(rows)))
        segment.publish(RETIRED)
        segment.close()
    except BaseException:
        segment.discard()
        raise


def _composite(segment: Segment, composites: dict[Path, int], path: Path) -> int:
    if path not in composites:
        parent = _composite(segment, composites, path[:-1])
        composites[path] = segment.allocate()
        segment.link(parent, path[-1], COMPOSITE, composites[path])
    return composites[path]
