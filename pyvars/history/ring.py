"""The file of a history: the last 600 samples, the last 720 spans of 10 s, and the last 256 marks.

    header      words of 8 bytes: the fields of Header; from byte 2048, a word that readers write, and the number of
                marks that were written
    columns     checksum, length, and the columns as JSON
    marks       256 of 128 bytes: time, kind, text
    samples     600 rows of words: the time, and a number for each column
    spans       720 rows of words: the time of the last sample in the span; for each counter its number in that sample;
                for each gauge its minimum and maximum in the span, as two float32

A new row overwrites the oldest one. One call of pwrite writes the row, and then another one writes the header that
counts it. So a reader that reads the header, then rows, then the header again knows which rows are whole. Disk space is
reserved when the file is made, so that a full disk is an error then and not later. The file is not mapped into memory:
on a file system that copies on write, a write to a mapped page can find no room, and SIGBUS ends the process.

One process writes samples and spans, and holds the lock of the file (`writer`). Any process of the group adds marks.
"""

import os
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import count
from typing import Any, Final, NamedTuple, cast
from zlib import crc32

from pyvars.core.own_file import OwnFile
from pyvars.formats.json import from_json
from pyvars.workers.together.files import HISTORY_MAGIC
from pyvars.workers.together.locks import briefly

__all__ = (
    "COUNT",
    "GAUGE",
    "HEADER",
    "HEADER_BYTES",
    "MARKS",
    "MARK_BYTES",
    "MAX_COLUMNS",
    "MISSING",
    "REAL_COUNT",
    "SAMPLES",
    "SPANS",
    "SPAN_SECONDS",
    "TABLE_HEAD",
    "Column",
    "Content",
    "Header",
    "Mark",
    "RingError",
    "RingReader",
    "Row",
    "row_format",
)

SAMPLES = 600
"""The number of samples that are kept."""
SPANS = 720
"""The number of spans that are kept."""
SPAN_SECONDS = 10.0
"""The length of a span, in seconds."""
MARKS = 256
"""The number of marks that are kept."""
MAX_COLUMNS = 500
"""The maximum number of columns of a file."""
COUNT, REAL_COUNT, GAUGE = "q", "d", "g"
"""The kinds of columns: a counter of integers, a counter of floats, a gauge."""
MISSING = -(2**63)
"""The value of a COUNT column in a row without a number for it; the other columns have NaN there."""

HEADER_BYTES = 4096
TABLE_HEAD: Final = struct.Struct("<II")
_WORD = struct.Struct("<q")
_WATCHED_AT = 2048
"""The offset in the header of the moment at which a reader last read."""
_MARKS_AT = _WATCHED_AT + _WORD.size
"""The offset in the header of the number of marks. A process locks the file for a moment to write it."""
_MAX_TABLE_BYTES = 4096 * MAX_COLUMNS
_MARK = struct.Struct("<d16s104s")
MARK_BYTES: int = _MARK.size

Row = tuple[Any, ...]
"""The time in seconds since 1970, then the numbers. In a span a gauge has two: its minimum and its maximum."""


class RingError(Exception):
    """The file is not a history of this version, or is damaged."""


class Column(NamedTuple):
    """A series: one number of the page."""

    name: str
    kind: str
    unit: str = ""
    help: str = ""


class Mark(NamedTuple):
    """An event: its time in seconds since 1970, a kind such as `worker`, and a text."""

    time: float
    kind: str
    text: str


class Header(NamedTuple):
    """The part of the header that the writer of the file writes."""

    magic: int = int.from_bytes(HISTORY_MAGIC, "little")
    epoch: int = 1
    """The number of the file: a file that replaces another one has the next number."""
    life: int = 1
    """Rises by one when another life of the program goes on with the history."""
    table_bytes: int = 0
    """The bytes of the columns, including their checksum and length."""
    row_bytes: int = 0
    samples: int = 0
    """Samples written since the history began."""
    spans: int = 0
    beat: int = 0
    """When the writer last noted that it is alive, in ns since the machine started."""
    pid: int = 0
    """The process that writes the file."""
    group: int = 0
    """The number of the group that writes the file (see `place.Place`)."""
    offset: int = 0
    """Added to a moment in ns since the machine started, it gives the ns since 1970."""
    period: int = 1_000_000_000
    """The ns between two samples: more than 1 s if samples are costly."""
    left_out: int = 0
    """The number of series for which there was no room."""


HEADER: Final = struct.Struct(f"<{len(Header._fields)}q")


class Content(NamedTuple):
    """What a file holds. Rows and marks come with the oldest first."""

    header: Header
    columns: Sequence[Column]
    samples: Sequence[Row]
    spans: Sequence[Row]
    marks: Sequence[Mark]


class RingReader:
    """Reads the history in an open file, and adds marks to it. Thread-safe.

    Raises:
        RingError: the file is not a history of this version, or is damaged.
        OSError: the file cannot be read.
    """

    def __init__(self, file: OwnFile) -> None:
        self.file: OwnFile = file
        header = self.header()
        self._marks_at = HEADER_BYTES + header.table_bytes
        self._samples_at = self._marks_at + MARKS * _MARK.size
        self._spans_at = self._samples_at + SAMPLES * header.row_bytes
        if os.fstat(file.number).st_size < self._spans_at + SPANS * header.row_bytes:
            raise RingError("the file of the history is truncated")
        self.columns: Sequence[Column] = self._columns(header)

    def header(self) -> Header:
        """The header as it is now."""
        data = os.pread(self.file.number, HEADER.size, 0)
        if len(data) < HEADER.size:
            raise RingError("the file is not a history")
        header = Header(*HEADER.unpack(data))
        sizes_fit = 0 < header.table_bytes <= _MAX_TABLE_BYTES and 0 < header.row_bytes <= 8 * (MAX_COLUMNS + 1)
        if header.magic != Header().magic or not sizes_fit:
            raise RingError("the file is not a history of this version")
        return header

    def watch(self, moment: int) -> None:
        """Note that somebody reads the history at this moment, in ns since the machine started."""
        os.pwrite(self.file.number, _WORD.pack(moment), _WATCHED_AT)

    def watched(self) -> int:
        """When somebody last read the history, in ns since the machine started."""
        return self._word(_WATCHED_AT)

    def _word(self, at: int) -> int:
        found: int = _WORD.unpack(os.pread(self.file.number, _WORD.size, at))[0]
        return found

    def _columns(self, header: Header) -> Sequence[Column]:
        columns = _parsed(os.pread(self.file.number, header.table_bytes, HEADER_BYTES))
        if 8 * (len(columns) + 1) != header.row_bytes:
            raise RingError("the columns of the history are damaged")
        return columns

    def content(self) -> Content:
        """All that the file holds."""
        header = self.header()
        return Content(header, self.columns, self.samples(header), self.spans(header), self.marks())

    def samples(self, header: Header, newest: int = SAMPLES) -> list[Row]:
        """The `newest` newest samples, with the oldest first."""
        form = row_format(self.columns, in_spans=False)
        return self._rows(form, self._samples_at, SAMPLES, newest, lambda each: each.samples, header)

    def spans(self, header: Header, newest: int = SPANS) -> list[Row]:
        """The `newest` newest spans, with the oldest first."""
        form = row_format(self.columns, in_spans=True)
        return self._rows(form, self._spans_at, SPANS, newest, lambda each: each.spans, header)

    def marks(self) -> list[Mark]:
        """The marks that are kept, the oldest first."""
        data = os.pread(self.file.number, MARKS * _MARK.size, self._marks_at)
        written = max(0, self._word(_MARKS_AT))
        numbers = range(max(0, written - MARKS), written)
        found = [_MARK.unpack_from(data, number % MARKS * _MARK.size) for number in numbers]
        return [Mark(time, _text(kind), _text(text)) for time, kind, text in found]

    def add_marks(self, marks: Sequence[Mark]) -> None:
        """Write the marks. Texts that are too long are cut. Raises OSError if another process is writing marks."""
        with briefly(self.file):
            for number, mark in zip(count(self._word(_MARKS_AT)), marks, strict=False):
                packed = _MARK.pack(mark.time, mark.kind.encode()[:16], mark.text.encode(errors="replace")[:104])
                os.pwrite(self.file.number, packed, self._marks_at + number % MARKS * _MARK.size)
                os.pwrite(self.file.number, _WORD.pack(number + 1), _MARKS_AT)

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def _rows(
        self, form: struct.Struct, begin: int, kept: int, newest: int, written: Callable[[Header], int], header: Header
    ) -> list[Row]:
        count = written(header)
        wanted = max(0, min(kept, newest, count))
        first = (count - wanted) % kept
        part = os.pread(self.file.number, min(wanted, kept - first) * form.size, begin + first * form.size)
        part += os.pread(self.file.number, wanted * form.size - len(part), begin)
        # The writer may be in the middle of one more row than the header counts; rows that it overwrote are dropped.
        lost = max(0, written(self.header()) + 1 - kept - (count - wanted))
        rows = [form.unpack_from(part, place * form.size) for place in range(lost, wanted)]
        return [row for row in rows if row[0] > 0]  # a row that was lost with a former file has no time


@lru_cache(maxsize=4)  # columns stay the same for hours, and each reader opens the file again
def _parsed(table: bytes) -> tuple[Column, ...]:
    checksum, length = TABLE_HEAD.unpack_from(table)
    text = table[TABLE_HEAD.size : TABLE_HEAD.size + length]
    if crc32(text) != checksum:
        raise RingError("the columns of the history are damaged")
    return tuple(Column(*row) for row in cast("list[list[str]]", from_json(text)))


def row_format(columns: Sequence[Column], *, in_spans: bool) -> struct.Struct:
    """The format of a row with these columns."""
    gauge = "ff" if in_spans else "d"
    return struct.Struct("<d" + "".join(gauge if each.kind == GAUGE else each.kind for each in columns))


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")
