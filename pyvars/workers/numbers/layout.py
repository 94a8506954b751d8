"""What stands where in a segment: read from bytes that may be anything, and kept for all segments that are alike."""

from collections.abc import Container, Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple, TypeAlias
from zlib import crc32

from pyvars.formats.json import valid_text
from pyvars.workers.numbers.segment import COMPOSITE, FLOAT, FOLDED, FREE, HISTOGRAM, INT, MAP, RECORD

__all__ = ("CorruptError", "SegmentLayout", "Path", "parse", "is_shown")

Path: TypeAlias = "tuple[str, ...]"
"""The root, and the name and keys below it."""

_MAX_DEPTH = 32
_MAX_NUMBERS = 4_000_000


class CorruptError(ValueError):
    """A segment that is not one, or is damaged."""


class Numbers(NamedTuple):
    """Numbers of one kind: their paths, and the word of each."""

    paths: list[Path]
    words: list[int]


class SegmentLayout(NamedTuple):
    """Which words are which numbers."""

    ints: Numbers
    floats: Numbers
    counts: tuple[Numbers, Numbers]
    """Of both kinds those that are no levels: what is kept of a worker when it ends."""
    maps: frozenset[Path]
    """The Maps and Histograms: what dead workers counted under a key of theirs is shown as long as there is the Map."""
    histograms: frozenset[Path]
    """The Histograms among them."""
    folded: frozenset[str]
    """In what is left of dead workers: whose numbers are in it already."""


def is_shown(path: Path, paths: Container[Path], maps: Container[Path]) -> bool:
    """Whether a count of dead workers is on the page: a live one has that name, or the Map that it is a key of."""
    return path in paths or path[:-1] in maps


class _Record(NamedTuple):
    kind: int
    gauge: bool
    word: int


_parsed: dict[tuple[bytes, int, bool], SegmentLayout] = {}
_MAX_PARSED = 16


def parse(areas: Sequence[bytes], used: int, lenient: bool) -> SegmentLayout:
    """The layout that the records say. Segments of one program mostly have the same bytes, and so share one layout.

    `lenient` leaves out records that are damaged: those that a killed owner was writing.

    Raises:
        CorruptError: the bytes are no records, or point outside of the `used` words.
    """
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
    for area in areas:
        for parent, key, record in _records(area, lenient):
            if record.kind == FOLDED:
                folded.append(key)
            elif record.word >= used:
                raise CorruptError("a record points outside of the file")
            else:
                children.setdefault(parent, {})[key] = record
    found: dict[int, list[tuple[Path, int, bool]]] = {INT: [], FLOAT: []}
    composites: dict[Path, int] = {}
    _walk(children, (0,), (), found, composites)
    ints, floats = found[INT], found[FLOAT]
    counts = _numbers([each for each in ints if not each[2]]), _numbers([each for each in floats if not each[2]])
    maps = frozenset(path for path, kind in composites.items() if kind != COMPOSITE)
    histograms = frozenset(path for path, kind in composites.items() if kind == HISTOGRAM)
    return SegmentLayout(_numbers(ints), _numbers(floats), counts, maps, histograms, frozenset(folded))


def _records(area: bytes, lenient: bool) -> Iterator[tuple[int, str, _Record]]:
    place = 0
    while place + RECORD.size <= len(area):
        crc, size, kind, gauge, parent, index, length = RECORD.unpack_from(area, place)
        if size == 0:
            return
        if size < RECORD.size or place + size > len(area) or RECORD.size + length > size:
            if lenient:
                return
            raise CorruptError("a record has an impossible size")
        text = area[place + 4 : place + RECORD.size + length]
        place += size
        if crc32(text) != crc:
            if lenient:
                continue
            raise CorruptError("the checksum of a record is wrong")
        if kind == FREE:
            continue
        if kind not in (INT, FLOAT, COMPOSITE, MAP, HISTOGRAM, FOLDED):
            raise CorruptError("a record is of no known kind")
        try:
            key = valid_text(text[RECORD.size - 4 :].decode(errors="surrogatepass"))
        except ValueError:
            raise CorruptError("a name is no text") from None
        yield parent, key, _Record(kind, bool(gauge), index)


def _walk(
    children: dict[int, dict[str, _Record]],
    within: tuple[int, ...],
    path: Path,
    found: dict[int, list[tuple[Path, int, bool]]],
    composites: dict[Path, int],
) -> None:
    if len(path) > _MAX_DEPTH:  # what is deeper is left out, as it is by whoever wrote it
        return
    if len(found[INT]) + len(found[FLOAT]) + len(composites) > _MAX_NUMBERS:
        raise CorruptError("its names have no end")
    for key, record in children.get(within[-1], {}).items():
        if record.kind in (COMPOSITE, MAP, HISTOGRAM):
            if record.word not in within:  # a registry may hold itself; the page says so
                composites[(*path, key)] = record.kind
                _walk(children, (*within, record.word), (*path, key), found, composites)
        elif path:  # below a root
            found[record.kind].append(((*path, key), record.word, record.gauge))


def _numbers(found: list[tuple[Path, int, bool]]) -> Numbers:
    return Numbers([path for path, _, _ in found], [word for _, word, _ in found])
