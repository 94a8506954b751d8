"""The retired file: the numbers of dead workers, added up. The first worker that finds a dead one folds its segment.

The file has the format of a segment. It also names the folded segments that were not removed yet when it was written:
readers ignore these, so every count is added up exactly once even if the folding worker is killed before it removes
them.
"""

import os
from collections.abc import Sequence
from contextlib import suppress

from pyvars.formats.json import to_json
from pyvars.runtime import kept
from pyvars.workers.numbers.layout import Path, SegmentLayout, is_shown
from pyvars.workers.numbers.reading import MAX_RETIRED, SegmentReading, read
from pyvars.workers.numbers.segment import COMPOSITE, FLOAT, FOLDED, H_RETIRED, INT, Segment
from pyvars.workers.numbers.sums import Sums, add, number, remainder, remainder_path
from pyvars.workers.together.directory import RETIRED, SEGMENT, socket_of
from pyvars.workers.together.group import Process, is_running
from pyvars.workers.together.locks import exclusive

__all__ = ("fold", "read_retired")

MAX_UNSEEN = 20_000
"""How many numbers that no live worker shows are kept, for a worker that may show them later. There is a limit since
names may contain a pid, so that there are ever more of them."""


def read_retired(directory: str, before: SegmentReading | None) -> SegmentReading | None:
    """Read the retired file; `before` is an earlier reading of it. None if there is no such file yet.

    Raises CorruptError, OSError.
    """
    try:
        return read(os.path.join(directory, RETIRED), before)
    except FileNotFoundError:
        return None


def fold(directory: str, own: str, live: Sequence[SegmentLayout]) -> bool:
    """Move the counts in the segments of dead workers to the retired file, and remove these segments.

    `own` is the name of this process's segment, `live` are the layouts of live workers. False if nothing was moved:
    another process is folding, there is no room, or the segments are damaged. Then they stay, and readers add them up
    from there.
    """
    try:
        with exclusive(directory):
            return _fold(directory, own, live)
    except OSError:
        return False


def _fold(directory: str, own: str, live: Sequence[SegmentLayout]) -> bool:
    retired = None
    with suppress(ValueError):  # damaged: begin with an empty one rather than never fold again
        retired = read_retired(directory, None)
    folded = retired.layout.folded if retired else frozenset[str]()
    dead: list[SegmentReading] = []
    present: list[str] = []
    names = os.listdir(directory)
    _clean(directory, names)
    for name in names:
        if not name.startswith(SEGMENT) or name == own:
            continue
        with suppress(OSError, ValueError):  # the file is missing or damaged; the others are folded anyway
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
    """Remove files that a process left when it was killed while it joined, folded, or removed a dead worker's files."""
    sockets = {socket_of(name) for name in names if name.startswith(SEGMENT)}
    for name in names:
        _, *parts = name.split("-")
        joining = name.startswith(f".{SEGMENT}") and len(parts) == 3 and all(part.isdecimal() for part in parts[:2])
        # Only one process folds at a time: another hidden retired file, which has pid 0, was left by a killed one.
        if (joining and not is_running(Process(int(parts[0]), int(parts[1])))) or (
            name.startswith("s-") and name not in sockets
        ):
            with suppress(OSError):
                os.unlink(os.path.join(directory, name))


def _write(
    directory: str,
    dead: Sequence[SegmentReading],
    retired: SegmentReading | None,
    present: Sequence[str],
    live: Sequence[SegmentLayout],
) -> None:
    """Write a new retired file: the old one and the dead segments added up, with the names of those `present`."""
    sums: Sums = {}
    for peer in (*([retired] if retired else []), *dead):
        add(sums, peer)
    paths = {path for layout in live for numbers in layout[:2] for path in numbers.paths}
    maps = {path for layout in live for path in layout.maps}
    unseen = [path for path in sums if not is_shown(path, paths, maps)]
    for path in unseen[: max(0, len(unseen) - MAX_UNSEEN)]:  # first those of the workers that died first
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
        segment.header[H_RETIRED] = min(MAX_RETIRED, (retired.retired_count if retired else 0) + len(dead))
        rows = [peer.figures for peer in (*([retired] if retired else []), *dead)]
        with suppress(TypeError, ValueError):  # the dead workers may have written anything
            segment.write_figures(to_json(kept(rows)))
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
