"""Sums of the numbers of several segments, by path.

The last digit of a sum of floats depends on their order. So floats are collected, and added up only at the end and all
at once (math.fsum): the page shows the same sums, whichever worker answers.
"""

from collections.abc import Sequence
from math import fsum, isfinite
from typing import TypeAlias

from pyvars.core.exact import INT64_MAX, INT64_MIN
from pyvars.workers.numbers.layout import Numbers, Path, SegmentLayout, is_shown
from pyvars.workers.numbers.reading import SegmentReading

__all__ = ("Addends", "Sums", "add", "number", "remainder", "remainder_path", "total", "sum_path")

Addends: TypeAlias = "int | tuple[float, ...]"
"""The sum so far, if all numbers are ints; else the numbers themselves, which are still to be added."""
Sums: TypeAlias = dict[Path, Addends]
"""The addends of each path."""


def total(peers: Sequence[SegmentReading], retired: SegmentReading | None, own: SegmentLayout) -> Sums:
    """The sums over peers, without this process. They include the counts of dead workers that `is_shown` selects.

    `peers` are live workers, and dead ones that are not folded yet; `retired` is the retired file; `own` is the layout
    of the segment of this process.
    """
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


def add(sums: Sums, peer: SegmentReading) -> None:
    """Add the counts of a dead worker's segment, or of the retired file, to the sums; gauges are left out."""
    ints, floats = peer.layout.counts
    _add(sums, peer, ints, Numbers([sum_path(path) for path in floats.paths], floats.words))


# A sum of floats in the retired file is rounded. Without the remainder that rounding cuts off, the next sum could be
# less in its last digit, and readers take a counter that falls for a restart. So the file has the remainder, too: at
# the path of the sum, but with this suffix of the registry key.
_REMAINDERS = "+"


def remainder_path(path: Path) -> Path:
    """The path of the remainder of the sum at this path."""
    return (path[0] + _REMAINDERS, *path[1:])


def sum_path(path: Path) -> Path:
    """The path of the sum that has its remainder at this path; the path itself if it is not that of a remainder."""
    return (path[0].removesuffix(_REMAINDERS), *path[1:])


def remainder(addends: Sequence[float]) -> float:
    """The exact sum of the floats less their sum rounded to a float; 0.0 if that is not finite."""
    rest = number((*addends, -number(tuple(addends))))
    return rest if isfinite(rest) else 0.0


def _add(sums: Sums, peer: SegmentReading, ints: Numbers, floats: Numbers) -> None:
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
    """The sum of all addends: if all are ints, an int limited to 64 bits; else a float, the same in any order."""
    if all(isinstance(each, int) for each in addends):
        return min(max(sum(addends), INT64_MIN), INT64_MAX)  # type: ignore[arg-type]
    plain = [each for some in addends for each in (some if isinstance(some, tuple) else (some,))]
    try:
        return fsum(plain)
    except (OverflowError, ValueError):  # the sum overflows, or the addends have both infinities
        return sum(plain, 0.0)
