"""Reads one segment: that of a live peer, of a dead one that is not folded yet, or the retired file.

Files are read with pread, never mapped: a file that is truncated while it is read is then an error, not a SIGBUS.
"""

import os
import sys
from contextlib import suppress
from time import sleep
from typing import Any, NamedTuple, cast
from zlib import crc32

from pyvars.core.cells import Words
from pyvars.core.clock import monotonic
from pyvars.formats.json import from_json
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

__all__ = ("SegmentReading", "Figures", "read")

_TIMEOUT_SECONDS = 0.02
_PAUSE_SECONDS = 0.0001
_ATTEMPTS = 20
"""How often reading is tried again after that timeout."""
MAX_RETIRED = 2**53
"""The highest count of dead workers that the retired file holds; more are read and written as this."""

Figures = dict[str, dict[str, Any]]
"""The runtime figures of a process, by the import string of the built-in variable."""


class SegmentReading(NamedTuple):
    """The content of one segment at one moment."""

    name: str
    """The file name of the segment."""
    inode: int
    alive: bool
    """Whether the worker holds the lock of its segment."""
    pid: int
    start: int
    """When the worker started, in clock ticks since boot."""
    requests: int
    """Requests that its integrations received."""
    retired_count: int
    """In the retired file, the number of workers that were folded into it; else 0."""
    generation: int
    layout: SegmentLayout
    words: bytes
    """The words in use; those of the header are 0."""
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


def read(path: str, previous: SegmentReading | None) -> SegmentReading:
    """Read one segment. Parts that have not changed since `previous`, an earlier reading of it, are taken from there.

    If its records change faster than they can be read, `previous` is returned as it is.

    Raises:
        FileNotFoundError: the file does not exist.
        CorruptError: the file is no segment, is damaged, is of another version of the format, or changes faster than it
            can be read and there is no `previous`.
        OSError: the file cannot be read.
    """
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if previous is not None and previous.inode != os.fstat(file).st_ino:
            previous = None
        alive = is_locked_by_another(file)
        until, late = monotonic() + (_TIMEOUT_SECONDS if alive else 0.0), 0
        while late < _ATTEMPTS:
            lenient = monotonic() >= until
            with suppress(_ChangedError):
                return _read(file, os.path.basename(path), alive, previous, lenient)
            late += lenient
            sleep(_PAUSE_SECONDS)  # the owner may wait for this CPU, in the middle of a change
        if previous is not None:  # records change faster than they can be read: return the numbers of a moment ago
            return previous
        raise CorruptError("it changes faster than it can be read")
    finally:
        os.close(file)


class _ChangedError(Exception):
    """Records or runtime figures changed while they were read."""


def _read(file: int, name: str, alive: bool, previous: SegmentReading | None, lenient: bool) -> SegmentReading:
    words = _exactly(file, WORDS * 8, 0)
    header = memoryview(words).cast("q")
    used, chunks, generation = header[H_USED], header[H_CHUNKS], header[H_GENERATION]
    if header[H_MAGIC] != MAGIC:
        raise CorruptError("it is no segment of this version of pyvars")
    if not 0 < chunks <= MAX_CHUNKS or not FIRST_WORD <= used <= chunks * WORDS or header[H_PID] < 0:
        raise CorruptError("its header is damaged")
    # Each fold makes a new retired file, which may have the inode of an old one.
    if previous is not None and previous.retired_count != _retired_count(header):
        previous = None
    # If the generation stays odd, the owner was stopped or killed in the middle of a change.
    settled = generation % 2 == 0
    if not settled and not lenient and (previous is None or previous.generation != generation):
        raise _ChangedError
    words += b"".join(_exactly(file, WORDS * 8, chunk * CHUNK) for chunk in range(1, -(-used // WORDS)))
    areas: list[bytes] = []
    known = previous is not None and settled and previous.generation == generation and len(previous.words) == len(words)
    if not known:
        areas = [_exactly(file, end - begin, begin) for begin, end in map(record_area, range(chunks))]
    # Checked before the records are parsed, which takes far longer.
    if _word(file, H_GENERATION) != generation:
        raise _ChangedError
    layout = previous.layout if known and previous is not None else parse(areas, used, not settled)
    version = header[H_FIGURES]
    figures = (
        previous.figures if previous is not None and previous.figures_version == version else _figures(file, version)
    )
    if figures is None:  # the owner wrote both copies meanwhile, or this one is damaged
        if _word(file, H_FIGURES) != version:
            raise _ChangedError
        figures = previous.figures if previous is not None else {}
    return SegmentReading(
        name=name,
        inode=os.fstat(file).st_ino,
        alive=alive,
        pid=header[H_PID],
        start=header[H_START],
        requests=header[H_REQUESTS],
        retired_count=_retired_count(header),
        generation=generation,
        layout=layout,
        words=bytes(FIRST_WORD * 8) + words[FIRST_WORD * 8 :],  # zeros for the header: ZERO_WORD must read as 0
        figures_version=version,
        figures=figures,
    )


def _word(file: int, word: int) -> int:
    return int.from_bytes(_exactly(file, 8, word * 8), sys.byteorder, signed=True)


def _retired_count(header: Words) -> int:
    count: int = header[H_RETIRED]
    return min(max(count, 0), MAX_RETIRED)


def _figures(file: int, version: int) -> Figures | None:
    """The runtime figures of this version; None if their checksum is wrong."""
    if not version:
        return {}
    data = _exactly(file, FIGURES_SIZE, FIGURES + version % 2 * FIGURES_SIZE)
    crc, length = int.from_bytes(data[:4], "little"), int.from_bytes(data[4:8], "little")
    text = data[8 : 8 + length]
    if crc32(text) != crc:
        return None
    try:
        figures = from_json(text)
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
