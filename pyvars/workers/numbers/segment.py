"""The segment: the file of one process with its numbers, 8 bytes each, and their names. Only that process writes it.

    chunk 0    words: a header of 32, then numbers | figures, twice | records
    chunk n    words: numbers                                      | records

A chunk has 64 KiB and 1,024 words. Its disk space is reserved when it is added, so that a full disk is an error then,
and never a SIGBUS later. A chunk for which there is no room is private memory of the process until there is room
(worker_segment); the header then says so, and peers read the chunks that are in the file. A file without any chunk is
that of a worker without room. A record names a number or composite: it connects a key of a composite with a word.

    crc32, size, kind (q, d, c, m, h, i), gauge, parent's word, own word, length of the key, key in UTF-8

The kinds are int, float, Registry or other composite, Map, Histogram, and name of a folded segment; 0 is a free record.
A composite also has a word: its index identifies the composite in records, and it holds 0. Word 0 is the parent of the
registries that are shared. Records are changed in place, and the space of free ones is used again. The process adds 1
to the `generation` in the header before and after each change, so the generation is odd during the change. A reader
that sees the same even generation before and after it reads has read complete records. The process locks the file with
a POSIX record lock, which the kernel drops when the process ends, however it ends.
"""

import errno
import mmap
import os
import secrets
import struct
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import TypeAlias, cast
from zlib import crc32

from pyvars.core.cells import Words
from pyvars.core.own_file import OwnFile
from pyvars.workers.numbers.mapping import mapped, unmap
from pyvars.workers.together import files
from pyvars.workers.together.locks import lock

__all__ = ("Segment",)

MAGIC = int.from_bytes(files.MAGIC + b"\x01", sys.byteorder)
"""The first word of the file. Its last byte is the version of the format: a file of another version is not read."""
CHUNK = 65536
"""The size of a chunk in bytes."""
WORDS = 1024
"""The number of words in a chunk."""
FIGURES = WORDS * 8
"""Offset of the runtime figures in the first chunk."""
FIGURES_SIZE = 12288
"""The size in bytes of each of the two copies of the runtime figures, with checksum and length."""
FIRST_RECORD = FIGURES + 2 * FIGURES_SIZE
"""Offset of the first record in the first chunk."""
MAX_CHUNKS = 512
"""The maximum number of chunks: 524,288 words, 32 MiB. So the cost of a file has a limit, even if it is damaged."""

# Indexes of the words of the header
H_MAGIC, H_PID, H_START, H_GENERATION, H_USED, H_CHUNKS, H_RETIRED, H_FIGURES, H_REQUESTS, H_PRIVATE = range(10)
H_BLOCKED = 10
"""The time from which the worker counts as blocked (`pyvars.runtime.event_loop.BLOCKED_FROM`)."""
ZERO_WORD = 31
"""A word of the header that nobody writes, so it is 0. Readers use it for a number that the segment does not have."""
FIRST_WORD = 32
"""The first word after the header."""

RECORD = struct.Struct("=IHBBIIH2x")
_ALIGN = 16
_INDEXES = tuple(range(WORDS))  # 100,000 cells share these int objects
_CRC = struct.Struct("=I")
FIGURES_HEAD = struct.Struct("=II")
"""The head of the runtime figures: their checksum and their length in bytes."""

FREE, INT, FLOAT, COMPOSITE, MAP, HISTOGRAM, FOLDED = 0, *map(ord, "qdcmhi")

Memory: TypeAlias = "mmap.mmap | bytearray"
"""The memory of a chunk: mapped from the file, or private to this process."""


def record_area(chunk: int) -> tuple[int, int]:
    """The offsets in the file at which the records of the chunk begin and end."""
    return chunk * CHUNK + (FIGURES if chunk else FIRST_RECORD), (chunk + 1) * CHUNK


class Segment:
    """A segment that this process writes. Not thread-safe: the caller must let one thread at a time change records.

    Its file has a hidden name and is locked at first; `publish` shows it to peers. The constructor raises OSError if
    there is no room. Cells that are bound to a word write it themselves.
    """

    def __init__(self, directory: str, pid: int, start: int) -> None:
        self.directory = directory
        self.name: str = f"w-{pid}-{start}-{secrets.token_hex(4)}"
        self._hidden = f"{directory}/.{self.name}"
        self._file: OwnFile | None = None
        self.used: int = FIRST_WORD
        """The number of words in use, in the chunks of the file and in private ones."""
        self._maps: list[Memory] = []
        self._ints: list[Words] = []
        self._floats: list[Words] = []
        self._chunks: dict[int, int] = {}
        self._free_words: list[int] = []
        self._free_records: dict[int, list[int]] = {}
        self._ends: list[int] = []
        try:
            self._grow()
        except BaseException:
            self.discard()
            raise
        header = self._ints[0]
        header[H_MAGIC], header[H_PID], header[H_START], header[H_USED] = MAGIC, pid, start, FIRST_WORD

    def _open(self) -> None:
        """Make the file with its hidden name, and lock it."""
        self._file = OwnFile.open(self._hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)
        files.own.add(self.name)
        lock(self._file)

    def publish(self, name: str | None = None) -> None:
        """Rename the hidden file to `name`, by default to the name of the segment, so that peers read it.

        Raises:
            OSError: the file or its directory is missing, because another process took it for left over and removed
                it. Then make another segment.
        """
        path = f"{self.directory}/{name or self.name}"
        os.rename(self._hidden, path)
        os.stat(path)  # raises if the directory was removed meanwhile

    def is_published(self) -> bool:
        """Whether peers find the file under its name in the directory. Costs one system call."""
        return self._is_at(f"{self.directory}/{self.name}")

    def _is_at(self, path: str) -> bool:
        return self._file is not None and self._file.is_at(path)

    def discard(self) -> None:
        """Remove the file and close it, so that no peer reads it any more. First unbind the cells bound to it."""
        for path in (self._hidden, f"{self.directory}/{self.name}"):
            if self._is_at(path):
                with suppress(OSError):
                    os.unlink(path)
        self.close()

    def close(self) -> None:
        """Close the file, which drops its lock, and unmap it: peers take it for the segment of a dead worker now.

        First unbind the cells that are bound to it. The memory is freed with the last object that uses it.
        """
        for memory in self._maps:
            if isinstance(memory, mmap.mmap):
                unmap(memory)
        if self._file is not None:
            self._file.close()
        files.own.discard(self.name)

    def clear(self) -> None:
        """Set every number to 0."""
        for chunk, words in enumerate(self._ints):
            for local in range(0 if chunk else FIRST_WORD, WORDS):
                words[local] = 0

    @property
    def chunks(self) -> int:
        """The number of chunks, in the file and private."""
        return len(self._maps)

    def numbers(self) -> bytes:
        """A copy of the words of all chunks that have a word in use."""
        return b"".join(memory[: WORDS * 8] for memory in self._maps[: -(-self.used // WORDS)])

    def read(self, begin: int, end: int) -> bytes:
        """The bytes from `begin` to `end`, which must be in one chunk."""
        chunk, local = divmod(begin, CHUNK)
        return bytes(self._maps[chunk][local : local + end - begin])

    def _grow(self) -> None:
        self._add(self._mapped(len(self._maps)))
        self.header[H_CHUNKS] = len(self._maps)

    def _mapped(self, chunk: int) -> mmap.mmap:
        """Make the file long enough for the chunk, and map the chunk. Raises OSError if there is no room."""
        if chunk >= MAX_CHUNKS:
            raise OSError(errno.EFBIG, f"a process shares at most {MAX_CHUNKS * WORDS} numbers")
        if self._file is None:
            self._open()
        file = cast("OwnFile", self._file)
        if not chunk:
            os.pwrite(file.number, MAGIC.to_bytes(8, sys.byteorder), 0)  # first: it shows that this is a file of pyvars
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.number, chunk * CHUNK, CHUNK)
        elif os.pwrite(file.number, bytes(CHUNK), chunk * CHUNK) != CHUNK:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return mapped(file, chunk * CHUNK, CHUNK)

    def _add(self, memory: Memory) -> None:
        """Add a chunk."""
        ints, floats = self._views(len(self._maps), memory)
        self._ends.append(record_area(len(self._maps))[0])
        self._ints.append(ints)
        self._floats.append(floats)
        self._maps.append(memory)

    def _views(self, chunk: int, memory: Memory) -> tuple[Words, Words]:
        """The words of a chunk that is in this memory, as ints and as floats. `chunk_of` finds the chunk of either."""
        words = memoryview(memory)[: WORDS * 8]
        ints, floats = words.cast("q"), words.cast("d")
        self._chunks[id(ints)] = self._chunks[id(floats)] = chunk
        return ints, floats

    def word(self, index: int, kind: int = INT) -> tuple[Words, int]:
        """The words of the chunk that has the word, as floats if `kind` is FLOAT, else as ints; and its index there."""
        chunk, local = divmod(index, WORDS)
        return (self._floats if kind == FLOAT else self._ints)[chunk], _INDEXES[local]

    def chunk_of(self, words: Words) -> int:
        """The number of the chunk whose words these are; -1 if they are not of this segment."""
        return self._chunks.get(id(words), -1)

    def record_at(self, offset: int) -> tuple[int, str]:
        """The parent's word and the key of the record at an offset."""
        chunk, local = divmod(offset, CHUNK)
        _, _, _, _, parent, _, length = RECORD.unpack_from(self._maps[chunk], local)
        key = self._maps[chunk][local + RECORD.size : local + RECORD.size + length]
        return parent, bytes(key).decode(errors="surrogatepass")

    @property
    def header(self) -> Words:
        """The words of the first chunk as ints: the first 32 are the header."""
        return self._ints[0]

    def allocate(self) -> int:
        """Returns the index of a free word, which is 0 and now in use. Raises OSError if there is no room."""
        if self._free_words:
            return self._free_words.pop()
        index = self.used
        if index >= len(self._maps) * WORDS:
            self._grow()
        self.used += 1
        self._show_used()
        return index

    def _show_used(self) -> None:
        self.header[H_USED] = min(self.used, self.header[H_CHUNKS] * WORDS)

    def free(self, index: int) -> None:
        """Set the word to 0, so that a later `allocate` may return it."""
        words, local = self.word(index)
        words[local] = 0
        self._free_words.append(index)

    @contextmanager
    def changing(self) -> Generator[None]:
        """Make the generation odd in this block, so that no reader takes a half-written record for a complete one."""
        self.header[H_GENERATION] += 1
        try:
            yield
        finally:
            self.header[H_GENERATION] += 1

    def link(self, parent: int, key: str, kind: int, index: int, *, gauge: bool = False, offset: int = 0) -> int:
        """Write a record. Returns its offset.

        If `offset` is not 0, it is that of an earlier record of the same parent and key, which is overwritten. Raises
        OSError if there is no room.
        """
        data = key.encode(errors="surrogatepass")
        size = -(-(RECORD.size + len(data)) // _ALIGN) * _ALIGN
        if not offset:
            offset = self._place_record(size)
        text = RECORD.pack(0, size, kind, gauge, parent, index, len(data))[4:] + data
        chunk, local = divmod(offset, CHUNK)
        self._maps[chunk][local : local + 4 + len(text)] = _CRC.pack(crc32(text)) + text
        return offset

    def unlink(self, offset: int) -> None:
        """Free the record at the offset, so that a later `link` may use its space."""
        chunk, local = divmod(offset, CHUNK)
        size = RECORD.unpack_from(self._maps[chunk], local)[1]
        text = RECORD.pack(0, size, FREE, 0, 0, 0, 0)[4:]
        self._maps[chunk][local : local + RECORD.size] = _CRC.pack(crc32(text)) + text
        self._free_records.setdefault(size, []).append(offset)

    def _place_record(self, size: int) -> int:
        if self._free_records.get(size):
            return self._free_records[size].pop()
        for chunk in range(len(self._maps) - 1, -1, -1):
            offset = self._ends[chunk]
            if offset + size <= record_area(chunk)[1]:
                self._ends[chunk] = offset + size
                return offset
        self._grow()
        return self._place_record(size)

    def write_figures(self, data: bytes) -> None:
        """Write the runtime figures to the copy that peers do not read now, then tell peers to read that copy.

        Figures that are too long (over 12 KiB with their head) are not written.
        """
        if len(data) > FIGURES_SIZE - FIGURES_HEAD.size:
            return
        version = self.header[H_FIGURES] + 1
        begin = FIGURES + version % 2 * FIGURES_SIZE
        text = FIGURES_HEAD.pack(crc32(data), len(data)) + data
        self._maps[0][begin : begin + len(text)] = text
        self.header[H_FIGURES] = version
