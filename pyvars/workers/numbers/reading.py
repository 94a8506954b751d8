"""Reads one segment: that of a live peer, of a dead one that is not folded yet, or the retired file.

Files are read with pread, never mapped: if a file is truncated while it is read, that is an error, not a SIGBUS.

The cost of a file has a limit, because it has at most MAX_CHUNKS chunks. A file that was found damaged is not read
again while its inode, size, ctime and header are the same. A worker writes through mapped memory, which does not change
the ctime, but it counts each change of records or figures in the header. Only its numbers change without that, and a
number cannot be damaged.
"""

import errno
import os
import re
import stat
import sys
from contextlib import suppress
from time import sleep
from typing import Any, NamedTuple, cast
from zlib import crc32

from pyvars.core.cells import Words
from pyvars.core.clock import monotonic
from pyvars.core.own_file import OwnFile
from pyvars.formats.json import from_json
from pyvars.workers.numbers.layout import MAX_DEPTH, CorruptError, SegmentLayout, parse
from pyvars.workers.numbers.segment import (
    CHUNK,
    FIGURES,
    FIGURES_HEAD,
    FIGURES_SIZE,
    FIRST_WORD,
    H_BLOCKED,
    H_CHUNKS,
    H_FIGURES,
    H_GENERATION,
    H_MAGIC,
    H_PID,
    H_PRIVATE,
    H_REQUESTS,
    H_RETIRED,
    H_START,
    H_USED,
    MAGIC,
    MAX_CHUNKS,
    RECORD,
    WORDS,
    record_area,
)
from pyvars.workers.together.files import WITHOUT_ROOM, has_lost_lock
from pyvars.workers.together.locks import is_locked_by_another

__all__ = ("SegmentReading", "Figures", "read")

_TIMEOUT_SECONDS = 0.01
"""How long a reading waits for a live worker to complete a change of its records."""
_PAUSE_SECONDS = 0.0001
_ATTEMPTS = 10
"""How often reading is tried again after that time."""
MAX_RETIRED = 2**53
"""The maximum count of dead workers in the retired file; a larger one is read and written as this one."""

Figures = dict[str, dict[str, Any]]
"""The runtime figures of a process, by the import string of the built-in variable."""


class SegmentReading(NamedTuple):
    """The content of one segment at one moment."""

    name: str
    """The file name of the segment."""
    inode: int
    alive: bool
    """Whether the worker holds the lock of its segment, or has lost it and lives."""
    pid: int
    start: int
    """When the worker started, in clock ticks since boot."""
    requests: int
    """Requests that its integrations received."""
    blocked_from: int
    """The time from which the worker counts as blocked: see `pyvars.runtime.event_loop.BLOCKED_FROM`."""
    retired_count: int
    """In the retired file, the number of workers that were folded into it; else 0."""
    generation: int
    used: int
    layout: SegmentLayout
    words: bytes
    """The words up to the end of the layout; those of the header read as 0."""
    figures_version: int
    figures: Figures
    missing: str
    """Why some numbers of the worker are not in the segment; empty if all are."""

    @property
    def ints(self) -> Words:
        """The words as integers."""
        return memoryview(self.words).cast("q")

    @property
    def floats(self) -> Words:
        """The words as floats."""
        return memoryview(self.words).cast("d")


def read(path: str, previous: SegmentReading | None) -> SegmentReading:
    """Read one segment. Parts that have not changed since `previous`, an earlier reading of it, are taken from that.

    Waits up to 10 ms while the worker changes records. If records then still change faster than they can be read,
    `previous` is returned as it is.

    Raises:
        FileNotFoundError: the file does not exist.
        CorruptError: the file is not a segment, is damaged, or is of another version of the format; or it changes
            faster than it can be read, and there is no `previous`.
        OSError: the file cannot be read.
    """
    if not stat.S_ISREG(os.lstat(path).st_mode):  # opening a device or a FIFO may have side effects
        raise OSError(errno.EINVAL, "it is no regular file")
    with OwnFile.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK) as opened:
        file = opened.number
        mark = _mark(file)
        if previous is not None and previous.inode != mark[0]:
            previous = None
        known = _damaged.get(path) if previous is None else None
        if known is not None and known[0] == (mark, _checksum(file)):
            raise CorruptError(known[1])
        try:
            reading = _read_settled(opened, path, previous)
        except CorruptError as error:
            _damaged[path] = (mark, _checksum(file)), str(error)
            if len(_damaged) > _MAX_DAMAGED:
                _damaged.pop(next(iter(_damaged)), None)
            raise
        _damaged.pop(path, None)
        return reading


_damaged: dict[str, tuple[object, str]] = {}
"""By path: the mark and checksum of a damaged file when it was read, and what is wrong with it."""
_MAX_DAMAGED = 256


def _mark(file: int) -> tuple[int, int, int, bytes]:
    """Inode, size, ctime and header of the file, without H_REQUESTS and H_BLOCKED. If records or figures change, so
    does one of these."""
    found, header = os.fstat(file), os.pread(file, 8 * FIRST_WORD, 0)
    settled = header[: 8 * H_REQUESTS] + header[8 * H_PRIVATE : 8 * H_BLOCKED]
    return found.st_ino, found.st_size, found.st_ctime_ns, settled


def _checksum(file: int) -> int:
    """The checksum of the first records: two changes of a file within 10 ms may leave the same ctime."""
    begin, end = record_area(0)
    return crc32(os.pread(file, end - begin, begin))


def _read_settled(file: OwnFile, path: str, previous: SegmentReading | None) -> SegmentReading:
    alive = is_locked_by_another(file) or has_lost_lock(*os.path.split(path))
    wait = _TIMEOUT_SECONDS if alive and path not in _damaged else 0.0
    until, late = monotonic() + wait, 0
    while late < _ATTEMPTS:
        lenient = monotonic() >= until
        with suppress(_ChangedError):
            return _read(file.number, os.path.basename(path), alive, previous, lenient)
        late += lenient
        sleep(_PAUSE_SECONDS)  # the worker may need this CPU to complete its change
    if previous is not None:  # records change faster than they can be read: the numbers are from the last reading
        return previous
    raise CorruptError("it changes faster than it can be read")


class _ChangedError(Exception):
    """Records or runtime figures changed while they were read."""


def _read(file: int, name: str, alive: bool, previous: SegmentReading | None, lenient: bool) -> SegmentReading:
    found = os.fstat(file)
    if found.st_size > MAX_CHUNKS * CHUNK:
        raise CorruptError("it is larger than a segment can be")
    worker = WITHOUT_ROOM.fullmatch(name)
    words = os.pread(file, WORDS * 8, 0).ljust(WORDS * 8, b"\0") if worker else _exactly(file, WORDS * 8, 0)
    header = memoryview(words).cast("q")
    if worker and not header[H_CHUNKS] and (header[H_MAGIC] == MAGIC or not found.st_size):
        return _without_room(worker, found.st_ino, alive)
    used, chunks, generation = header[H_USED], header[H_CHUNKS], header[H_GENERATION]
    if header[H_MAGIC] != MAGIC:
        raise CorruptError("it is no segment of this version of pyvars")
    if not 0 < chunks <= MAX_CHUNKS or not FIRST_WORD <= used <= chunks * WORDS or header[H_PID] < 0:
        raise CorruptError("its header is damaged")
    if found.st_size < chunks * CHUNK:
        raise CorruptError("it is cut short")
    # Each fold makes a new retired file, which may have the inode of an old one.
    if previous is not None and previous.retired_count != _retired_count(header):
        previous = None
    # If the generation stays odd, the worker was stopped or killed in the middle of a change.
    settled = generation % 2 == 0
    if not settled and not lenient and (previous is None or previous.generation != generation):
        raise _ChangedError
    known = previous is not None and settled and (previous.generation, previous.used) == (generation, used)
    needed = len(previous.words) // 8 if known and previous is not None else used
    words += b"".join(_exactly(file, WORDS * 8, chunk * CHUNK) for chunk in range(1, -(-needed // WORDS)))
    areas = [] if known else [_area(file, chunk) for chunk in range(chunks)]
    # Before the records are parsed, which takes far longer.
    if _word(file, H_GENERATION) != generation:
        raise _ChangedError
    private = header[H_PRIVATE]
    layout = previous.layout if known and previous is not None else parse(areas, used, bool(private) or not settled)
    version = header[H_FIGURES]
    figures = (
        previous.figures if previous is not None and previous.figures_version == version else _figures(file, version)
    )
    if figures is None:  # the worker has written both copies meanwhile, or this copy is damaged
        if _word(file, H_FIGURES) != version:
            raise _ChangedError
        figures = previous.figures if previous is not None else {}
    return SegmentReading(
        name=name,
        inode=found.st_ino,
        alive=alive,
        pid=header[H_PID],
        start=header[H_START],
        requests=header[H_REQUESTS],
        blocked_from=header[H_BLOCKED],
        retired_count=_retired_count(header),
        generation=generation,
        used=used,
        layout=layout,
        # The header is replaced by zeros: ZERO_WORD must read as 0.
        words=bytes(FIRST_WORD * 8) + words[FIRST_WORD * 8 : layout.end * 8],
        figures_version=version,
        figures=figures,
        missing=_missing(private, layout),
    )


TOO_DEEP = f"numbers below {MAX_DEPTH} levels of names are left out"
_PRIVATE = "numbers are private to the process"


def _without_room(worker: re.Match[str], inode: int, alive: bool) -> SegmentReading:
    """The reading of a worker that has found no room for its first chunk: its pid and start are in the file name."""
    pid, start = map(int, worker.groups())
    why, layout, words = f"{_PRIVATE}: there is no room for its file", parse((), 0, False), bytes(FIRST_WORD * 8)
    return SegmentReading(worker.string, inode, alive, pid, start, 0, 0, 0, 0, 0, layout, words, 0, {}, why)


def _missing(private: int, layout: SegmentLayout) -> str:
    """Why numbers are missing; `private` is the error number in the header."""
    if private:
        return f"{_PRIVATE}: {os.strerror(private) if 0 < private < 4096 else private}"
    return TOO_DEEP if layout.left_out else ""


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
    crc, length = FIGURES_HEAD.unpack_from(data)
    text = data[FIGURES_HEAD.size : FIGURES_HEAD.size + length]
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


def _area(file: int, chunk: int) -> bytes:
    """The records of a chunk. If the first one is empty, no more is read: a damaged file may claim many chunks."""
    begin, end = record_area(chunk)
    head = _exactly(file, RECORD.size, begin)
    return _exactly(file, end - begin, begin) if any(head) else b""


def _exactly(file: int, size: int, offset: int) -> bytes:
    data = os.pread(file, size, offset)
    if len(data) != size:
        raise CorruptError("it is cut short")
    return data
