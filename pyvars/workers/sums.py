"""Sums of the numbers of several segments, by path."""

from collections.abc import Sequence

from pyvars.cells import INT64_MAX, INT64_MIN
from pyvars.workers.layout import Layout, Path
from pyvars.workers.peers import Peer

__all__ = ("Sums", "add", "clamped", "total")

Sums = dict[Path, float]


def total(peers: Sequence[Peer], retired: Peer | None, own: Layout) -> Sums:
    """The sums over live and dead siblings, without this process; of the retired what a live one still shows."""
    sums: Sums = {}
    alike: dict[int, list[Peer]] = {}
    for peer in peers:
        if peer.alive:
            alike.setdefault(id(peer.layout), []).append(peer)
    for group in alike.values():
        layout = group[0].layout
        _merge(sums, layout.ints.paths, [layout.ints.pick(peer.ints) for peer in group])
        _merge(sums, layout.floats.paths, [layout.floats.pick(peer.floats) for peer in group])
    past: Sums = {}
    for peer in (*(peer for peer in peers if not peer.alive), *([retired] if retired else [])):
        add(past, peer, counts_only=True)
    shown = {*sums, *own.ints.paths, *own.floats.paths} if past else ()
    for path, number in past.items():
        if path in shown:
            sums[path] = sums.get(path, 0) + number
    return sums


def add(sums: Sums, peer: Peer, *, counts_only: bool) -> None:
    """Add the numbers of one segment, or those that are no levels."""
    ints, floats = peer.layout.counts if counts_only else peer.layout[:2]
    _merge(sums, ints.paths, [ints.pick(peer.ints)])
    _merge(sums, floats.paths, [floats.pick(peer.floats)])


def _merge(sums: Sums, paths: Sequence[Path], columns: Sequence[tuple[float, ...]]) -> None:
    numbers = columns[0] if len(columns) == 1 else [sum(row) for row in zip(*columns, strict=True)]
    if not sums:
        sums.update(zip(paths, numbers, strict=True))
        return
    for path, number in zip(paths, numbers, strict=True):
        sums[path] = sums.get(path, 0) + number


def clamped(number: float) -> float:
    """A sum of integers as one of 64 bits; floats as they are."""
    return min(max(number, INT64_MIN), INT64_MAX) if isinstance(number, int) else number
