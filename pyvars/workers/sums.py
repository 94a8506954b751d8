"""Sums of the numbers of several segments, by path.

Floats are added at the very end and all at once (math.fsum), since the last digit of a sum of floats depends on the
order: the page is the same whichever worker answers.
"""

from collections.abc import Sequence
from math import fsum
from typing import Any, TypeAlias

from pyvars.cells import INT64_MAX, INT64_MIN
from pyvars.workers.layout import Layout, Path, shown
from pyvars.workers.peers import Peer

__all__ = ("Addends", "Sums", "add", "number", "total")

Addends: TypeAlias = "int | tuple[float, ...]"
"""A sum of integers, or the numbers that are to be added if some of them are floats."""
Sums: TypeAlias = dict[Path, Addends]


def total(peers: Sequence[Peer], retired: Peer | None, own: Layout) -> Sums:
    """The sums over live and dead siblings, without this process; of the dead what a live one still shows."""
    sums: Sums = {}
    alike: dict[int, list[Peer]] = {}
    for peer in peers:
        if peer.alive:
            alike.setdefault(id(peer.layout), []).append(peer)
    for group in alike.values():
        layout = group[0].layout
        _add_ints(sums, layout.ints.paths, [layout.ints.pick(peer.ints) for peer in group])
        _add_floats(sums, layout.floats.paths, [layout.floats.pick(peer.floats) for peer in group])
    past: Sums = {}
    for peer in (*(peer for peer in peers if not peer.alive), *([retired] if retired else [])):
        add(past, peer)
    if not past:
        return sums
    paths = {*sums, *own.ints.paths, *own.floats.paths}
    maps = own.maps.union(*(group[0].layout.maps for group in alike.values()))
    for path, addends in past.items():
        if shown(path, paths, maps):
            sums[path] = _both(sums.get(path, 0), addends)
    return sums


def add(sums: Sums, peer: Peer) -> None:
    """Add the counts of one segment; levels went with their process."""
    ints, floats = peer.layout.counts
    _add_ints(sums, ints.paths, [ints.pick(peer.ints)])
    _add_floats(sums, floats.paths, [floats.pick(peer.floats)])


def _add_ints(sums: Sums, paths: Sequence[Path], columns: Sequence[Sequence[Any]]) -> None:
    numbers = columns[0] if len(columns) == 1 else [sum(row) for row in zip(*columns, strict=True)]
    if not sums:
        sums.update(zip(paths, numbers, strict=True))
        return
    for path, each in zip(paths, numbers, strict=True):
        sums[path] = _both(sums.get(path, 0), each)


def _add_floats(sums: Sums, paths: Sequence[Path], columns: Sequence[Sequence[float]]) -> None:
    for path, row in zip(paths, zip(*columns, strict=True), strict=True):
        sums[path] = _both(sums[path], row) if path in sums else row


def _both(one: Addends, other: Addends) -> Addends:
    if isinstance(one, int) and isinstance(other, int):
        return one + other
    return (*_tuple(one), *_tuple(other))


def _tuple(addends: Addends) -> tuple[float, ...]:
    return (addends,) if isinstance(addends, int) else addends


def number(*addends: float | tuple[float, ...]) -> float:
    """The sum of all of these: of integers one of 64 bits, else a float that does not depend on their order."""
    if all(isinstance(each, int) for each in addends):
        return min(max(sum(addends), INT64_MIN), INT64_MAX)  # type: ignore[arg-type]
    plain = [each for some in addends for each in (some if isinstance(some, tuple) else (some,))]
    try:
        return fsum(plain)
    except (OverflowError, ValueError):  # beyond a float, or of both infinities
        return sum(plain, 0.0)
