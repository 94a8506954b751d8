"""The file of a history: the last 600 samples, the last 720 spans of 10 s, and the last marks.

    header      words: MAGIC, the epoch, how many rows were written, when its writer last was alive, ...; further on, a
                word that readers write, and the number of marks
    columns     checksum, length, and the columns as JSON
    marks       256 of 128 bytes: time, kind, text
    samples     600 rows of words: the time, and a number for each column
    spans       720 rows of words: the time of the end; for each count the number then; for each gauge the minimum and
                the maximum in the span, as two float32

The rows of a ring are used again, the oldest first. A row is written before the header counts it, each with one call of
pwrite. So a reader that reads the header, then rows, then the header again knows which rows are whole. Disk space is
reserved when the file is made, so that a full disk is an error then and not later. No part is mapped into memory: on a
disk that copies on write, a write to a mapped page can find no room, and ends the process by SIGBUS.

One process writes samples and spans, and holds the lock of the file (`writer`). Any process adds marks.
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
"""Samples that are kept."""
SPANS = 720
"""Spans that are kept."""
SPAN_SECONDS = 10.0
"""The length of a span."""
MARKS = 256
"""Marks that are kept."""
MAX_COLUMNS = 500
"""Columns that a file has at most."""
COUNT, REAL_COUNT, GAUGE = "q", "d", "g"
"""The kinds of columns: an integer that rises, a float that rises, a level."""
MISSING = -(2**63)
"""Stands in a column of COUNT where there is no number; in the others NaN does."""

HEADER_BYTES = 4096
TABLE_HEAD: Final = struct.Struct("<II")
_WORD = struct.Struct("<q")
_WATCHED_AT = 2048
"""Where in the header a reader notes when it read."""
_MARKS_AT = _WATCHED_AT + _WORD.size
"""Where in the header the number of marks is. Who writes it has locked the file for a moment."""
_MAX_TABLE_BYTES = 4096 * MAX_COLUMNS
_MARK = struct.Struct("<d16s104s")
MARK_BYTES: int = _MARK.size

Row = tuple[Any, ...]
"""The time, and then the numbers; in spans a gauge has two, its minimum and its maximum."""


class RingError(Exception):
    """The file is no history of this version, or is damaged."""


class Column(NamedTuple):
    """A series: one number of the page."""

    name: str
    kind: str
    unit: str = ""
    help: str = ""


class Mark(NamedTuple):
    """Something that happened."""

    time: float
    kind: str
    text: str


class Header(NamedTuple):
    """What its writer writes into the header of a file."""

    magic: int = int.from_bytes(HISTORY_MAGIC, "little")
    epoch: int = 1
    """Rises with each file that takes the place of another one."""
    life: int = 1
    """Rises when another life of the program goes on in the history."""
    table_bytes: int = 0
    """Bytes of the columns, with their head."""
    row_bytes: int = 0
    samples: int = 0
    """Samples written since the history began."""
    spans: int = 0
    beat: int = 0
    """When its writer was last alive, in ns since the machine started."""
    pid: int = 0
    """The process that writes it."""
    group: int = 0
    """Tells the groups of two programs apart."""
    offset: int = 0
    """What to add to the ns since the machine started to get the time since 1970."""
    period: int = 1_000_000_000
    """The ns between two samples: more than a second if samples are costly."""
    left_out: int = 0
    """How many series there was no room for."""


HEADER: Final = struct.Struct(f"<{len(Header._fields)}q")


class Content(NamedTuple):
    """What a file holds, the oldest first."""

    header: Header
    columns: Sequence[Column]
    samples: Sequence[Row]
    spans: Sequence[Row]
    marks: Sequence[Mark]


class RingReader:
    """Reads the history in an open file, and adds marks to it. Thread-safe.

    Raises:
        RingError: the file is no history of this version, or is damaged.
        OSError: it cannot be read.
    """

    def __init__(self, file: OwnFile) -> None:
        self.file: OwnFile = file
        header = self.header()
        self._marks_at = HEADER_BYTES + header.table_bytes
        self._samples_at = self._marks_at + MARKS * _MARK.size
        self._spans_at = self._samples_at + SAMPLES * header.row_bytes
        if os.fstat(file.number).st_size < self._spans_at + SPANS * header.row_bytes:
            raise RingError("the file of the history is cut")
        self.columns: Sequence[Column] = self._columns(header)

    def header(self) -> Header:
        """The header as it is now."""
        data = os.pread(self.file.number, HEADER.size, 0)
        if len(data) < HEADER.size:
            raise RingError("the file is no history")
        header = Header(*HEADER.unpack(data))
        sizes_fit = 0 < header.table_bytes <= _MAX_TABLE_BYTES and 0 < header.row_bytes <= 8 * (MAX_COLUMNS + 1)
        if header.magic != Header().magic or not sizes_fit:
            raise RingError("the file is no history of this version")
        return header

    def watch(self, moment: int) -> None:
        """Note that somebody looks at the history at this moment."""
        os.pwrite(self.file.number, _WORD.pack(moment), _WATCHED_AT)

    def watched(self) -> int:
        """When somebody last looked at it."""
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
        """The newest samples, the oldest first."""
        form = row_format(self.columns, in_spans=False)
        return self._rows(form, self._samples_at, SAMPLES, newest, lambda each: each.samples, header)

    def spans(self, header: Header, newest: int = SPANS) -> list[Row]:
        """The newest spans, the oldest first."""
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
        """Write the marks. Texts that are too long are cut. Raises OSError if another process is doing this."""
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
        # One more than was counted may be half written; those were written again while they were read.
        lost = max(0, written(self.header()) + 1 - kept - (count - wanted))
        rows = [form.unpack_from(part, place * form.size) for place in range(lost, wanted)]
        return [row for row in rows if row[0] > 0]  # rows that were lost when the file was made have no time


@lru_cache(maxsize=4)  # they stay the same for hours, and each reader opens the file anew
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
