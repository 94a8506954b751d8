"""The layout of a segment: which words are which numbers.

It is parsed from the records, which may be damaged, and cached: segments with the same records share one layout.
"""

import sys
from collections.abc import Container, Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple, TypeAlias
from zlib import crc32

from pyvars.formats.json import valid_text
from pyvars.workers.numbers.segment import COMPOSITE, FIRST_WORD, FLOAT, FOLDED, FREE, HISTOGRAM, INT, MAP, RECORD

__all__ = ("CorruptError", "SegmentLayout", "Path", "parse", "is_shown")

Path: TypeAlias = "tuple[str, ...]"
"""The registry key, the name of the variable, and the keys below it."""

MAX_DEPTH = 100
"""The maximum number of levels of names, with the registry key. Numbers below it are left out; `left_out` says so."""
_SPARE_RECORDS, _RECORDS = 4096, 2
"""The maximum number of records is the first of these, plus the second for each word. A word may have several records,
since a variable may have several names."""
_SPARE_NAMES, _NAMES = 16384, 16
"""The maximum number of names in all paths together is the first of these, plus the second for each word. A composite
may have several names, and then each number below it has several paths; but a damaged file could describe 2**30 paths
with 60 records."""


class CorruptError(ValueError):
    """The file is not a segment, or is damaged."""


class Numbers(NamedTuple):
    """The numbers of one kind (int or float): their paths, and in the same order the indexes of their words."""

    paths: list[Path]
    words: list[int]


class SegmentLayout(NamedTuple):
    """Which words of a segment are which numbers."""

    ints: Numbers
    floats: Numbers
    counts: tuple[Numbers, Numbers]
    """The ints and the floats that are counts, not gauges: these are kept when a worker ends."""
    maps: frozenset[Path]
    """The paths of Maps and Histograms: counts of dead workers within one are shown while a live worker has it."""
    histograms: frozenset[Path]
    """The paths of Histograms, which are also in `maps`."""
    folded: frozenset[str]
    """In the retired file, the names of the segments that are folded into it; empty in a worker's segment."""
    left_out: bool
    """Whether numbers below MAX_DEPTH levels of names are left out."""
    end: int
    """The index after the last word that is a number."""


def is_shown(path: Path, paths: Container[Path], maps: Container[Path]) -> bool:
    """Whether the page shows a count of dead workers: a live worker must have its path, or a Map above it at any level.

    So a Map keeps the keys that only a dead worker had, also if there is a Histogram or another Map under such a key.
    `paths` and `maps` are those of live workers.
    """
    return path in paths or any(path[:depth] in maps for depth in range(len(path) - 1, 1, -1))


class _Record(NamedTuple):
    kind: int
    gauge: bool
    word: int


_parsed: dict[tuple[bytes, int, bool], SegmentLayout] = {}
_MAX_PARSED = 16


def parse(areas: Sequence[bytes], used: int, lenient: bool) -> SegmentLayout:
    """The layout that the records in the areas describe.

    The workers of one program mostly have the same records, and so share one layout from the cache. `used` is the
    number of words in use. With `lenient`, damaged records are left out, since a worker may have been writing them when
    it was killed or stopped; and so are records of words that are not in use.

    Raises:
        CorruptError: the bytes are no records, or describe more paths than a program has; or without `lenient`, a
            record is damaged, or its word is not in use.
    """
    areas = [_in_use(area) for area in areas]
    digest = blake2b()
    for area in areas:
        digest.update(area)
    key = digest.digest(), used, lenient
    layout = _parsed.get(key)
    if layout is None:
        layout = _parsed[key] = _parse(areas, used, lenient)
        if len(_parsed) > _MAX_PARSED:
            _parsed.pop(next(iter(_parsed)), None)
    return layout


def _parse(areas: Sequence[bytes], used: int, lenient: bool) -> SegmentLayout:
    children: dict[int, dict[str, _Record]] = {}
    folded: list[str] = []
    words: set[int] = set()
    spare = _SPARE_RECORDS
    for area in areas:
        for parent, key, record in _records(area, lenient):
            if record.kind == FOLDED:
                folded.append(key)
            elif record.word < used:
                children.setdefault(parent, {})[key] = record
                words.add(record.word)
                spare -= 1
                if spare + _RECORDS * len(words) < 0:
                    raise CorruptError("it has too many names")
            elif not lenient:
                raise CorruptError("a record points outside of the file")
    found: dict[int, list[tuple[Path, int, bool]]] = {INT: [], FLOAT: []}
    composites: dict[Path, int] = {}
    left_out = _walk(children, _SPARE_NAMES + _NAMES * len(words), found, composites)
    ints, floats = found[INT], found[FLOAT]
    end = max((word + 1 for numbers in found.values() for _, word, _ in numbers), default=FIRST_WORD)
    counts = _numbers([each for each in ints if not each[2]]), _numbers([each for each in floats if not each[2]])
    maps = frozenset(path for path, kind in composites.items() if kind != COMPOSITE)
    histograms = frozenset(path for path, kind in composites.items() if kind == HISTOGRAM)
    return SegmentLayout(_numbers(ints), _numbers(floats), counts, maps, histograms, frozenset(folded), left_out, end)


def _in_use(area: bytes) -> bytes:
    """The bytes of the area up to the end of its last record."""
    offset = 0
    while offset + RECORD.size <= len(area):
        size = int.from_bytes(area[offset + 4 : offset + 6], sys.byteorder)
        if size < RECORD.size:  # 0: no record follows; else the record is damaged, and its head is kept to show that
            return area[: offset + RECORD.size if size else offset]
        offset += size
    return area[:offset]


def _records(area: bytes, lenient: bool) -> Iterator[tuple[int, str, _Record]]:
    offset = 0
    while offset + RECORD.size <= len(area):
        crc, size, kind, gauge, parent, index, length = RECORD.unpack_from(area, offset)
        if size < RECORD.size or offset + size > len(area) or RECORD.size + length > size:
            if lenient:
                return
            raise CorruptError("a record has an impossible size")
        text = area[offset + 4 : offset + RECORD.size + length]
        offset += size
        if crc32(text) != crc:
            if lenient:
                continue
            raise CorruptError("the checksum of a record is wrong")
        if kind == FREE:
            continue
        if kind not in (INT, FLOAT, COMPOSITE, MAP, HISTOGRAM, FOLDED):
            raise CorruptError("a record is of an unknown kind")
        try:
            key = valid_text(text[RECORD.size - 4 :].decode(errors="surrogatepass"))
        except ValueError:
            raise CorruptError("a name is not valid UTF-8") from None
        yield parent, key, _Record(kind, bool(gauge), index)


def _walk(
    children: dict[int, dict[str, _Record]],
    names_left: int,
    found: dict[int, list[tuple[Path, int, bool]]],
    composites: dict[Path, int],
) -> bool:
    """Fill `found` and `composites` with the paths of numbers and composites. Returns whether some are too deep."""
    too_deep = False
    levels: list[tuple[Iterator[tuple[str, _Record]], tuple[int, ...], Path]] = [(_below(children, 0), (0,), ())]
    while levels:
        level, within, path = levels[-1]
        for key, record in level:
            names_left -= len(within)
            if names_left < 0:
                raise CorruptError("it has too many names")
            if record.kind not in (COMPOSITE, MAP, HISTOGRAM):
                if path:  # else it is damaged: directly below word 0 there are only registries
                    found[record.kind].append(((*path, key), record.word, record.gauge))
            elif record.word not in within:  # a registry may hold itself; the page shows that as an error
                composites[(*path, key)] = record.kind
                if record.word not in children:
                    continue
                if len(within) <= MAX_DEPTH:
                    levels.append((_below(children, record.word), (*within, record.word), (*path, key)))
                    break
                too_deep = True
        else:
            levels.pop()
    return too_deep


def _below(children: dict[int, dict[str, _Record]], word: int) -> Iterator[tuple[str, _Record]]:
    return iter(children.get(word, {}).items())


def _numbers(found: list[tuple[Path, int, bool]]) -> Numbers:
    return Numbers([path for path, _, _ in found], [word for _, word, _ in found])
