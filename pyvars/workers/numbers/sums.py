"""Sums of the numbers of several segments, by path.

Floats are added at the very end and all at once (math.fsum), since the last digit of a sum of floats depends on the
order: the page is the same whichever worker answers.
"""

from collections.abc import Sequence
from math import fsum, isfinite
from typing import TypeAlias

from pyvars.core.cells import INT64_MAX, INT64_MIN
from pyvars.workers.numbers.layout import Numbers, Path, SegmentLayout, is_shown
from pyvars.workers.numbers.reading import Peer

__all__ = ("Addends", "Sums", "add", "number", "remainder", "remainder_path", "total", "sum_path")

Addends: TypeAlias = "int | tuple[float, ...]"
"""A sum of integers, or the numbers that are to be added if some of them are floats."""
Sums: TypeAlias = dict[Path, Addends]


def total(peers: Sequence[Peer], retired: Peer | None, own: SegmentLayout) -> Sums:
    """The sums over live and dead peers, without this process; of the dead what a live one still shows."""
    sums: Sums = {}
    live = [peer for peer in peers if peer.alive]
    for peer in live:
        _add(sums, peer, peer.layout.ints, peer.layout.floats)
    past: Sums = {}
    for peer in (*(peer for peer in peers if not peer.alive), *([retired] if retired else [])):
        add(past, peer)
    paths = {*sums, *own.ints.paths, *own.floats.paths}
    maps = own.maps.union(*(peer.layout.maps for peer in live))
    for path, addends in past.items():
        if is_shown(path, paths, maps):
            sums[path] = _both(sums[path], addends) if path in sums else addends
    return sums


def add(sums: Sums, peer: Peer) -> None:
    """Add the counts of one segment; levels went with their process."""
    ints, floats = peer.layout.counts
    _add(sums, peer, ints, Numbers([sum_path(path) for path in floats.paths], floats.words))


# What is kept of dead workers is a sum of floats, rounded. Without what was cut off the next sum could be less by its
# last digit, which readers take for a restart. So that stands in the file, too, under a root of its own.
_REMAINDERS = "+"


def remainder_path(path: Path) -> Path:
    """Where the remainder stands of a sum at the path."""
    return (path[0] + _REMAINDERS, *path[1:])


def sum_path(path: Path) -> Path:
    """Where the sum stands of a remainder at the path; the path itself if it is none."""
    return (path[0].removesuffix(_REMAINDERS), *path[1:])


def remainder(addends: Sequence[float]) -> float:
    """What the sum of the floats is more than a float can say."""
    rest = number((*addends, -number(tuple(addends))))
    return rest if isfinite(rest) else 0.0


def _add(sums: Sums, peer: Peer, ints: Numbers, floats: Numbers) -> None:
    words = peer.ints
    for path, word in zip(ints.paths, ints.words, strict=True):
        sums[path] = _both(sums[path], words[word]) if path in sums else words[word]
    words = peer.floats
    for path, word in zip(floats.paths, floats.words, strict=True):
        sums[path] = _both(sums[path], (words[word],)) if path in sums else (words[word],)


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
