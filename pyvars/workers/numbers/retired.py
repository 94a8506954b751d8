"""The retired file: the counts of dead workers, added up.

To fold a segment is to add its counts to the retired file, and to remove it. A process that reads the group folds the
segments of all dead workers. A worker that joins or ends folds them if there are more than MAX_DEAD, so that they do
not fill the directory of a group that nobody reads.

The file has the format of a segment. It also names the folded segments that were not removed yet when it was written.
Readers ignore these segments, so each count is added up exactly once, even if the worker that folds is killed before it
removes them. No other file has these counts: if somebody removes the retired file, they are lost.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

from pyvars.formats.json import to_json
from pyvars.runtime import kept
from pyvars.workers.numbers.layout import Path, SegmentLayout, is_shown
from pyvars.workers.numbers.reading import MAX_RETIRED, SegmentReading, read
from pyvars.workers.numbers.segment import COMPOSITE, FLOAT, FOLDED, H_RETIRED, HISTOGRAM, INT, MAP, Segment
from pyvars.workers.numbers.sums import Sums, add, number, remainder, remainder_path
from pyvars.workers.together.files import RETIRED, is_left, is_ours, owner_of, peers_in, remove, socket_of
from pyvars.workers.together.group import is_running
from pyvars.workers.together.locks import exclusive

__all__ = ("MAX_DEAD", "fold", "read_retired")

MAX_DEAD = 4
"""The maximum number of segments of dead workers that stay while no process reads the group."""
_MAX_LOOKED_AT = 128
"""How many files a worker that joins or ends looks at, so that this does not take longer the more workers there are."""
_damaged: set[tuple[str, int]] = set()
"""The path and mtime of each segment of a dead worker that is damaged, so that reading it is tried only once."""
MAX_UNSEEN = 20_000
"""The maximum number of counts that are kept although no live worker shows them: a worker may show them later. Without
a limit the file could grow for ever, since names may contain a pid."""


def read_retired(directory: str, before: SegmentReading | None) -> SegmentReading | None:
    """Read the retired file; `before` is an earlier reading of it. Returns None if there is no such file yet.

    Raises what `read` raises, except FileNotFoundError.
    """
    try:
        return read(os.path.join(directory, RETIRED), before)
    except FileNotFoundError:
        return None


def fold(directory: str, own: Callable[[], SegmentLayout], beyond: int = 0) -> bool:
    """Move the counts in the segments of dead workers to the retired file, and remove these segments.

    `own` returns the layout of the segment of this process. `beyond` is for a worker that joins or ends: then this does
    nothing if dead workers left no more than `beyond` files, and of many files it looks at some only.

    Returns whether a segment was folded. That fails if another process is folding, there is no room, the segments are
    damaged, or the retired file is a file of another program. Then the segments stay, and readers add them up. Raises
    nothing, and does not wait for a lock.
    """
    try:
        if beyond and len(_of_workers(os.listdir(directory))) <= beyond:
            return False
        with exclusive(directory):
            return _fold(directory, own, beyond)
    except Exception:  # the dead workers may have written anything
        return False


def _of_workers(names: Sequence[str]) -> list[str]:
    return [*peers_in(names), *_unfinished(names)]


def _left(directory: str, names: Sequence[str], beyond: int) -> list[str]:
    """The names of files that dead workers left; with `beyond`, among at most _MAX_LOOKED_AT, chosen by the own pid."""
    found = _of_workers(names)
    if beyond and len(found) > _MAX_LOOKED_AT:
        begin = os.getpid() % len(found)
        found = [*found[begin:], *found[:begin]][:_MAX_LOOKED_AT]
    return [name for name in found if is_left(directory, name)]


def _fold(directory: str, own: Callable[[], SegmentLayout], beyond: int) -> bool:
    names = os.listdir(directory)
    left = _left(directory, names, beyond)
    if len(left) <= beyond or (RETIRED in names and not is_ours(directory, RETIRED)):
        return False
    retired = None
    with suppress(ValueError):  # damaged: begin with an empty one rather than never fold again
        retired = read_retired(directory, None)
    # Segments that are folded already stay named as long as they exist, also if they cannot be removed or read now.
    folded = [name for name in peers_in(names) if retired and name in retired.layout.folded]
    readings = (_read_dead(os.path.join(directory, name)) for name in peers_in(left) if name not in folded)
    dead = [reading for reading in readings if reading is not None]
    if dead:
        _write(directory, dead, retired, [*folded, *(each.name for each in dead)], own)
    gone = {*folded, *(each.name for each in dead)}.intersection(left)
    for name in gone:
        remove(directory, name)
        remove(directory, socket_of(name))
    # The other files are from processes that were killed while they joined, folded, or removed files of a dead worker.
    # Only one process folds at a time, so an unpublished retired file (with pid 0) is not in use, either.
    owners = {name: owner for name in _unfinished(left) if (owner := owner_of(name)) is not None}
    for name in [name for name, owner in owners.items() if not is_running(owner)]:
        remove(directory, name)
    return bool(gone)


def _read_dead(path: str) -> SegmentReading | None:
    """The segment of a dead worker; None if it is missing or damaged, so that the others are folded without it."""
    with suppress(OSError):
        version = path, os.stat(path).st_mtime_ns
        if version not in _damaged:
            try:
                return read(path, None)
            except ValueError:
                _damaged.add(version)
    return None


def _unfinished(names: Sequence[str]) -> list[str]:
    """The names of segments that are not published, and of sockets without a segment."""
    sockets = {socket_of(name) for name in names if name.startswith("w-")}
    found = (name for name in names if name.startswith((".w-", "s-")) and name not in sockets)
    return [name for name in found if owner_of(name) is not None]


def _write(
    directory: str,
    dead: Sequence[SegmentReading],
    retired: SegmentReading | None,
    folded: Sequence[str],
    own: Callable[[], SegmentLayout],
) -> None:
    """Write a new retired file: the old one and the `dead` segments, added up, and the names of the `folded` ones."""
    sums: Sums = {}
    for peer in (*([retired] if retired else []), *dead):
        add(sums, peer)
    if len(sums) > MAX_UNSEEN:
        _drop_unseen(sums, [own(), *_live_layouts(directory)])

    layouts = [peer.layout for peer in (*([retired] if retired else []), *dead)]
    kinds = {path: MAP for layout in layouts for path in layout.maps}
    kinds |= {path: HISTOGRAM for layout in layouts for path in layout.histograms}
    segment = Segment(directory, 0, 0)
    try:
        composites: dict[Path, int] = {(): 0}
        for path, addends in sums.items():
            kind = INT if isinstance(addends, int) else FLOAT
            index = segment.allocate()
            words, local = segment.word(index, kind)
            words[local] = number(addends)
            segment.link(_composite(segment, composites, kinds, path[:-1]), path[-1], kind, index)
            rest = 0.0 if isinstance(addends, int) else remainder(addends)
            if rest:
                index = segment.allocate()
                words, local = segment.word(index, FLOAT)
                words[local] = rest
                segment.link(_composite(segment, composites, kinds, remainder_path(path)[:-1]), path[-1], FLOAT, index)
        for name in folded:
            segment.link(0, name, FOLDED, 0)
        segment.header[H_RETIRED] = min(MAX_RETIRED, (retired.retired_count if retired else 0) + len(dead))
        rows = [peer.figures for peer in (*([retired] if retired else []), *dead)]
        with suppress(TypeError, ValueError):  # the dead workers may have written anything
            segment.write_figures(to_json(kept(rows)))
        segment.publish(RETIRED)
        segment.close()
    except BaseException:
        segment.discard()
        raise


def _live_layouts(directory: str) -> Iterator[SegmentLayout]:
    for name in peers_in(os.listdir(directory)):
        with suppress(OSError, ValueError):
            peer = read(os.path.join(directory, name), None)
            if peer.alive:
                yield peer.layout


def _drop_unseen(sums: Sums, live: Sequence[SegmentLayout]) -> None:
    """Drop counts that no live worker shows, until MAX_UNSEEN of these are left."""
    paths = {path for layout in live for numbers in layout[:2] for path in numbers.paths}
    maps = {path for layout in live for path in layout.maps}
    unseen = [path for path in sums if not is_shown(path, paths, maps)]
    for path in unseen[: max(0, len(unseen) - MAX_UNSEEN)]:  # those that were folded first
        del sums[path]


def _composite(segment: Segment, composites: dict[Path, int], kinds: Mapping[Path, int], path: Path) -> int:
    if path not in composites:
        parent = _composite(segment, composites, kinds, path[:-1])
        composites[path] = segment.allocate()
        segment.link(parent, path[-1], kinds.get(path, COMPOSITE), composites[path])
    return composites[path]
