"""Writes the file of a history.

One process of a group writes it. When the columns change, or another process takes over, a new file with the same rows
and a higher epoch replaces the old one. The writer of the old file then finds another file at the path, and stops. The
rows that it writes until then are in a file that nobody reads.
"""

import errno
import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import nan
from operator import itemgetter
from zlib import crc32

from pyvars.core.own_file import OwnFile
from pyvars.formats.json import to_json
from pyvars.history.ring import (
    COUNT,
    GAUGE,
    HEADER,
    HEADER_BYTES,
    MARK_BYTES,
    MARKS,
    MISSING,
    REAL_COUNT,
    SAMPLES,
    SPANS,
    TABLE_HEAD,
    Column,
    Content,
    Header,
    RingReader,
    Row,
    row_format,
)
from pyvars.workers.together.locks import take

__all__ = ("Ring",)

_MAX_FLOAT = 3.4028234663852886e38
"""The largest float32."""


class Ring(RingReader):
    """The history that this process writes. Only one thread writes it.

    The file is made under a hidden name, with the rows of `before`; `publish` moves it to its path. With an empty path
    the file is in memory, has no name, and ends with the process.

    Raises:
        OSError: there is no room for the file, or the file cannot be made.
    """

    def __init__(self, path: str, columns: Sequence[Column], header: Header, before: Content | None = None) -> None:
        self.path: str = path
        self._hidden = f"{os.path.dirname(path)}/.{os.path.basename(path)}-{secrets.token_hex(4)}" if path else ""
        table = to_json([list(column) for column in columns])
        self.current: Header = header._replace(
            table_bytes=TABLE_HEAD.size + len(table), row_bytes=8 * (len(columns) + 1), samples=0, spans=0
        )
        """The header that was written last."""
        self._sample, self._span = (row_format(columns, in_spans=in_spans) for in_spans in (False, True))
        file = _made(self._hidden)
        try:
            take(file)
            os.pwrite(file.number, HEADER.pack(*self.current), 0)
            self._head = TABLE_HEAD.pack(crc32(table), len(table))
            os.pwrite(file.number, self._head + table, HEADER_BYTES)
            rows = (SAMPLES + SPANS) * self.current.row_bytes
            _reserve(file.number, HEADER_BYTES + self.current.table_bytes + MARKS * MARK_BYTES + rows)
            super().__init__(file)
            if before is not None:
                self._carry(before)
        except BaseException:
            self.file = file
            self.close()
            raise

    def _carry(self, before: Content) -> None:
        """Copy the rows and marks of another file. Its columns are matched by name and kind."""
        for in_spans, rows, form, at, kept, written in (
            (False, before.samples, self._sample, self._samples_at, SAMPLES, before.header.samples),
            (True, before.spans, self._span, self._spans_at, SPANS, before.header.spans),
        ):
            pick = _picker(before.columns, self.columns, in_spans=in_spans)
            packed = [form.pack(*pick((*row, nan, MISSING))) for row in rows]
            first = (written - len(packed)) % kept
            os.pwrite(self.file.number, b"".join(packed[: kept - first]), at + first * form.size)
            os.pwrite(self.file.number, b"".join(packed[kept - first :]), at)
        self.note(samples=before.header.samples, spans=before.header.spans)
        self.add_marks(before.marks)

    def publish(self) -> None:
        """Move the file to its path. It replaces the file that is there. If that fails, the file is closed."""
        if self._hidden:
            try:
                os.rename(self._hidden, self.path)
            except OSError:
                self.close()
                raise
            self._hidden = ""

    def publish_first(self) -> None:
        """Move the file to its path. Raises FileExistsError if there is a file."""
        if not self._hidden:
            return
        try:
            os.link(self._hidden, self.path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links; of two processes that are first there, the later one stays
            self.publish()
        else:
            os.unlink(self._hidden)
            self._hidden = ""

    @property
    def is_published(self) -> bool:
        """Whether the file at the path is this one, and the head of its columns is intact."""
        if not self.file.is_intact or (self.path and not self.file.is_at(self.path)):
            return False
        return os.pread(self.file.number, TABLE_HEAD.size, HEADER_BYTES) == self._head

    def add_sample(self, row: Row, beat: int) -> None:
        """Write a sample: its time, and a number for each column."""
        number = self.current.samples
        os.pwrite(self.file.number, self._sample.pack(*row), self._samples_at + number % SAMPLES * self._sample.size)
        self.note(samples=number + 1, beat=beat)

    def add_span(self, row: Row) -> None:
        """Write a span. A number beyond the range of float32 becomes the largest or smallest float32."""
        number = self.current.spans
        row = tuple(max(-_MAX_FLOAT, min(each, _MAX_FLOAT)) if type(each) is float else each for each in row)
        os.pwrite(self.file.number, self._span.pack(*row), self._spans_at + number % SPANS * self._span.size)
        self.note(spans=number + 1)

    def note(self, **changes: int) -> None:
        """Change these fields, and write the header."""
        self.current = self.current._replace(**changes)
        os.pwrite(self.file.number, HEADER.pack(*self.current), 0)

    def remove(self) -> None:
        """Remove the file from its path."""
        with suppress(OSError):
            os.unlink(self.path)

    def close(self) -> None:
        """Close the file, and remove it if it was never published."""
        super().close()
        if self._hidden:
            with suppress(OSError):
                os.unlink(self._hidden)
            self._hidden = ""


def _picker(old: Sequence[Column], new: Sequence[Column], *, in_spans: bool) -> Callable[[Row], Row]:
    """Returns a function that makes a row of the new columns from a row of the old ones, to which NaN and MISSING are
    appended."""
    places: dict[tuple[str, str], list[int]] = {}
    end = 1
    for column in old:
        width = 2 if in_spans and column.kind == GAUGE else 1
        places[column.name, column.kind] = list(range(end, end + width))
        end += width
    wanted = [0]
    for column in new:
        width = 2 if in_spans and column.kind == GAUGE else 1
        missing = [end + 1 if column.kind == COUNT else end] * width
        # A counter of integers may have become one of floats, which can hold the former numbers, and MISSING.
        former = places.get((column.name, COUNT)) if column.kind == REAL_COUNT else None
        wanted += places.get((column.name, column.kind), former or missing)
    pick = itemgetter(*wanted, 0)  # one index more, since itemgetter returns no tuple for a single index
    return lambda row: pick(row)[:-1]


def _made(hidden: str) -> OwnFile:
    if hidden:
        return OwnFile.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)
    return OwnFile(os.memfd_create("pyvars-history", os.MFD_CLOEXEC))


def _reserve(file: int, size: int) -> None:
    try:
        os.posix_fallocate(file, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        zeros = bytes(1 << 20)  # this file system cannot reserve space: write zeros instead
        for begin in range(os.fstat(file).st_size, size, len(zeros)):
            os.pwrite(file, zeros[: size - begin], begin)
