"""Reads the segments of a group: those of live peers, and of dead ones whose numbers are yet to be kept.

Files are read with pread, never mapped: one that is cut short while it is read is then an error, not a signal.
"""

import os
import sys
from contextlib import suppress
from time import monotonic, sleep
from typing import Any, NamedTuple, cast
from zlib import crc32

from pyvars.core.cells import Words
from pyvars.formats.json import parsed
from pyvars.workers.numbers.layout import CorruptError, SegmentLayout, parse
from pyvars.workers.numbers.segment import (
    CHUNK,
    FIGURES,
    FIGURES_SIZE,
    FIRST_WORD,
    H_CHUNKS,
    H_FIGURES,
    H_GENERATION,
    H_MAGIC,
    H_PID,
    H_REQUESTS,
    H_RETIRED,
    H_START,
    H_USED,
    MAGIC,
    MAX_CHUNKS,
    WORDS,
    record_area,
)
from pyvars.workers.together.locks import is_locked_by_another

__all__ = ("Peer", "Figures", "read")

_TIMEOUT_SECONDS = 0.02
_PAUSE_SECONDS = 0.0001
_ATTEMPTS = 20
"""After that time."""
MAX_RETIRED = 2**53

Figures = dict[str, dict[str, Any]]
"""The runtime figures of a process, by the import string of the built-in."""


class Peer(NamedTuple):
    """What one segment said at one moment."""

    name: str
    inode: int
    alive: bool
    pid: int
    start: int
    requests: int
    retired: int
    generation: int
    layout: SegmentLayout
    words: bytes
    figures_version: int
    figures: Figures

    @property
    def ints(self) -> Words:
        """The words as integers."""
        return memoryview(self.words).cast("q")

    @property
    def floats(self) -> Words:
        """The words as floats."""
        return memoryview(self.words).cast("d")


def read(path: str, before: Peer | None) -> Peer:
    """Read one segment; what has not changed since `before`, an earlier reading of it, is taken from there.

    Raises:
        FileNotFoundError: it has gone.
        CorruptError: it is no segment, or damaged, or of another version of the format.
        OSError: it cannot be read.
    """
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if before is not None and before.inode != os.fstat(file).st_ino:
            before = None
        alive = is_locked_by_another(file)
        until, late = monotonic() + (_TIMEOUT_SECONDS if alive else 0.0), 0
        while late < _ATTEMPTS:
            lenient = monotonic() >= until
            with suppress(_ChangedError):
                return _read(file, os.path.basename(path), alive, before, lenient)
            late += lenient
            sleep(_PAUSE_SECONDS)  # its owner may wait for this CPU in the middle of a change
        if before is not None:  # names come and go faster than they can be read: the numbers of a moment ago
            return before
        raise CorruptError("it changes faster than it can be read")
    finally:
        os.close(file)


class _ChangedError(Exception):
    """Names changed while they were read."""


def _read(file: int, name: str, alive: bool, before: Peer | None, lenient: bool) -> Peer:
    words = _exactly(file, WORDS * 8, 0)
    header = memoryview(words).cast("q")
    used, chunks, generation = header[H_USED], header[H_CHUNKS], header[H_GENERATION]
    if header[H_MAGIC] != MAGIC:
        raise CorruptError("it is no segment of this version of pyvars")
    if not 0 < chunks <= MAX_CHUNKS or not FIRST_WORD <= used <= chunks * WORDS or header[H_PID] < 0:
        raise CorruptError("its header is damaged")
    # The file of the retired is a new one after each fold, perhaps with the inode of an old one.
    if before is not None and before.retired != _retired(header):
        before = None
    # An odd generation that stays is of an owner that was stopped or killed in the middle of a change.
    settled = generation % 2 == 0
    if not settled and not lenient and (before is None or before.generation != generation):
        raise _ChangedError
    words += b"".join(_exactly(file, WORDS * 8, chunk * CHUNK) for chunk in range(1, -(-used // WORDS)))
    areas: list[bytes] = []
    known = before is not None and settled and before.generation == generation and len(before.words) == len(words)
    if not known:
        areas = [_exactly(file, end - begin, begin) for begin, end in map(record_area, range(chunks))]
    # Before the records are read in earnest, which takes far longer.
    if _word(file, H_GENERATION) != generation:
        raise _ChangedError
    layout = before.layout if known and before is not None else parse(areas, used, not settled)
    version = header[H_FIGURES]
    figures = before.figures if before is not None and before.figures_version == version else _figures(file, version)
    if figures is None:  # written twice meanwhile, or damaged
        if _word(file, H_FIGURES) != version:
            raise _ChangedError
        figures = before.figures if before is not None else {}
    return Peer(
        name=name,
        inode=os.fstat(file).st_ino,
        alive=alive,
        pid=header[H_PID],
        start=header[H_START],
        requests=header[H_REQUESTS],
        retired=_retired(header),
        generation=generation,
        layout=layout,
        words=bytes(FIRST_WORD * 8) + words[FIRST_WORD * 8 :],  # with a header of zeros, whatever it says
        figures_version=version,
        figures=figures,
    )


def _word(file: int, word: int) -> int:
    return int.from_bytes(_exactly(file, 8, word * 8), sys.byteorder, signed=True)


def _retired(header: Words) -> int:
    retired: int = header[H_RETIRED]
    return min(max(retired, 0), MAX_RETIRED)


def _figures(file: int, version: int) -> Figures | None:
    """The runtime figures, or None if these are not whole."""
    if not version:
        return {}
    data = _exactly(file, FIGURES_SIZE, FIGURES + version % 2 * FIGURES_SIZE)
    crc, length = int.from_bytes(data[:4], "little"), int.from_bytes(data[4:8], "little")
    text = data[8 : 8 + length]
    if crc32(text) != crc:
        return None
    try:
        figures = parsed(text)
    except ValueError:
        raise CorruptError("its runtime figures are damaged") from None
    if not isinstance(figures, dict):
        raise CorruptError("its runtime figures are damaged")
    return {
        target: cast("dict[str, Any]", figures)
        for target, figures in cast("dict[str, object]", figures).items()
        if isinstance(figures, dict)
    }


def _exactly(file: int, size: int, offset: int) -> bytes:
    data = os.pread(file, size, offset)
    if len(data) != size:
        raise CorruptError("it is cut short")
    return data
