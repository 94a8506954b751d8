"""The file of one process: its numbers, 8 bytes each, and their names. Only its owner writes it.

    chunk 0    words: a header of 32, then numbers | figures, twice | records
    chunk n    words: numbers                                      | records

Every chunk has 64 KiB and 1,024 words. It is reserved when it is made, so that a full disk is an error there and never
a SIGBUS later, and is mapped once and never moved. A record ties a key of a composite to a word:

    crc32, size, kind (q, d, c, m, h), gauge, parent's word, own word, length of the key, key in UTF-8

A composite (a registry, a Map, a Histogram) has a word, too, which is its identity here and holds 0. Word 0 is the
parent of the roots. Records are written in offset and their room is used again, between two steps of the header's
`generation`, which is odd meanwhile; so a reader that sees an even one twice has read whole records. The file is
locked by its owner (a POSIX record lock, which the kernel drops when the process ends, however it ends).
"""

import mmap
import os
import secrets
import struct
from collections.abc import Generator
from contextlib import contextmanager, suppress
from zlib import crc32

from pyvars.core.cells import Words
from pyvars.workers.together.locks import lock

__all__ = ("Segment",)

MAGIC = int.from_bytes(b"pyvars\x00\x01", "little")
"""The last byte is the version of the format: a file of another version is not read."""
CHUNK = 65536
WORDS = 1024
FIGURES = WORDS * 8
FIGURES_SIZE = 12288
FIRST_RECORD = FIGURES + 2 * FIGURES_SIZE
MAX_CHUNKS = 4096

# Words of the header
H_MAGIC, H_PID, H_START, H_GENERATION, H_USED, H_CHUNKS, H_RETIRED, H_FIGURES, H_REQUESTS = range(9)
ZERO_WORD = 31
"""It is never written, so it reads as what a segment does not have."""
FIRST_WORD = 32

RECORD = struct.Struct("=IHBBIIH2x")
_ALIGN = 16
_INDEXES = tuple(range(WORDS))  # 100,000 variables share these integers
_FIGURES_HEAD = struct.Struct("=II")

FREE, INT, FLOAT, COMPOSITE, MAP, HISTOGRAM, FOLDED = 0, *map(ord, "qdcmhi")
GAUGE = 1


def record_area(chunk: int) -> tuple[int, int]:
    """Where the records of the chunk begin and end in the file."""
    return chunk * CHUNK + (FIGURES if chunk else FIRST_RECORD), (chunk + 1) * CHUNK


class Segment:
    """A segment that this process writes. Not thread-safe: one thread at a time changes names; numbers are cells'."""

    def __init__(self, directory: str, pid: int, start: int) -> None:
        self.directory = directory
        self.name: str = f"w-{pid}-{start}-{secrets.token_hex(4)}"
        self._hidden = f"{directory}/.{self.name}"
        self.file: int = os.open(self._hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._maps: list[mmap.mmap] = []
        self._ints: list[Words] = []
        self._floats: list[Words] = []
        self._chunks: dict[int, int] = {}
        self._free_words: list[int] = []
        self._free_records: dict[int, list[int]] = {}
        self._ends: list[int] = []
        try:
            lock(self.file)
            self._grow()
        except BaseException:
            self.discard()
            raise
        header = self._ints[0]
        header[H_MAGIC], header[H_PID], header[H_START], header[H_USED] = MAGIC, pid, start, FIRST_WORD

    def publish(self, name: str | None = None) -> None:
        """Let the others see it, under a name that others know or the one of its own.

        Raises:
            OSError: it was taken for dirt by a sweeper, or its directory was, before it could be seen: make another.
        """
        path = f"{self.directory}/{name or self.name}"
        os.rename(self._hidden, path)
        os.stat(path)  # still there?

    def discard(self) -> None:
        """Close a segment that nobody has seen or shall see again. Cells that are bound to it must be unbound."""
        for path in (self._hidden, f"{self.directory}/{self.name}"):
            with suppress(OSError):
                os.unlink(path)
        self.close()

    def close(self) -> None:
        """Give the file up: to the others the process is dead. The memory goes with the last cell bound to it."""
        os.close(self.file)

    def clear(self) -> None:
        """Make every number 0."""
        for chunk, words in enumerate(self._ints):
            for local in range(0 if chunk else FIRST_WORD, WORDS):
                words[local] = 0

    def numbers(self) -> bytes:
        """All words that are used, at this moment."""
        chunks = -(-self.header[H_USED] // WORDS)
        return b"".join(memory[: WORDS * 8] for memory in self._maps[:chunks])

    def read(self, begin: int, end: int) -> bytes:
        """Bytes of the file, all of one chunk."""
        chunk, local = divmod(begin, CHUNK)
        return self._maps[chunk][local : local + end - begin]

    def _grow(self) -> None:
        chunk = len(self._maps)
        if chunk >= MAX_CHUNKS:
            raise OSError(f"a process shares at most {MAX_CHUNKS * WORDS} numbers")
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self.file, chunk * CHUNK, CHUNK)
        else:
            os.pwrite(self.file, bytes(CHUNK), chunk * CHUNK)
        memory = mmap.mmap(self.file, CHUNK, offset=chunk * CHUNK)
        words = memoryview(memory)[: WORDS * 8]
        self._maps.append(memory)
        self._ints.append(words.cast("q"))
        self._floats.append(words.cast("d"))
        self._ends.append(record_area(chunk)[0])
        self._chunks[id(self._ints[-1])] = self._chunks[id(self._floats[-1])] = chunk
        self._ints[0][H_CHUNKS] = chunk + 1

    def word(self, index: int, kind: int = INT) -> tuple[Words, int]:
        """The memory of a word, and the index in it."""
        chunk, local = divmod(index, WORDS)
        return (self._floats if kind == FLOAT else self._ints)[chunk], _INDEXES[local]

    def chunk_of(self, words: Words) -> int:
        """The chunk that the words are of; -1 if they are not of this segment."""
        return self._chunks.get(id(words), -1)

    def record_at(self, offset: int) -> tuple[int, str]:
        """Parent and key of the record at a offset."""
        chunk, local = divmod(offset, CHUNK)
        _, _, _, _, parent, _, length = RECORD.unpack_from(self._maps[chunk], local)
        key = self._maps[chunk][local + RECORD.size : local + RECORD.size + length]
        return parent, key.decode(errors="surrogatepass")

    @property
    def header(self) -> Words:
        """The words of the header."""
        return self._ints[0]

    def allocate(self) -> int:
        """A word for one more number, which is 0. Raises OSError if there is no room."""
        if self._free_words:
            return self._free_words.pop()
        used: int = self.header[H_USED]
        if used >= len(self._maps) * WORDS:
            self._grow()
        self.header[H_USED] = used + 1
        return used

    def free(self, index: int) -> None:
        """The word is nobody's again."""
        words, local = self.word(index)
        words[local] = 0
        self._free_words.append(index)

    @contextmanager
    def changing(self) -> Generator[None]:
        """Around each change of records, so that readers do not take half of one."""
        self.header[H_GENERATION] += 1
        try:
            yield
        finally:
            self.header[H_GENERATION] += 1

    def link(self, parent: int, key: str, kind: int, index: int, *, gauge: bool = False, offset: int = 0) -> int:
        """Write a record, in offset of the one of the same parent and key if `offset` is given; its offset comes back.

        Raises OSError if there is no room.
        """
        data = key.encode(errors="surrogatepass")
        size = -(-(RECORD.size + len(data)) // _ALIGN) * _ALIGN
        if not offset:
            offset = self._room(size)
        text = RECORD.pack(0, size, kind, gauge, parent, index, len(data))[4:] + data
        chunk, local = divmod(offset, CHUNK)
        self._maps[chunk][local : local + 4 + len(text)] = crc32(text).to_bytes(4, "little") + text
        return offset

    def unlink(self, offset: int) -> None:
        """Take a record away."""
        chunk, local = divmod(offset, CHUNK)
        size = RECORD.unpack_from(self._maps[chunk], local)[1]
        text = RECORD.pack(0, size, FREE, 0, 0, 0, 0)[4:]
        self._maps[chunk][local : local + RECORD.size] = crc32(text).to_bytes(4, "little") + text
        self._free_records.setdefault(size, []).append(offset)

    def _room(self, size: int) -> int:
        if self._free_records.get(size):
            return self._free_records[size].pop()
        for chunk in range(len(self._maps) - 1, -1, -1):
            offset = self._ends[chunk]
            if offset + size <= record_area(chunk)[1]:
                self._ends[chunk] = offset + size
                return offset
        self._grow()
        return self._room(size)

    def write_figures(self, data: bytes) -> None:
        """Replace the runtime figures: in the half that is not shown, then show that. What is too long is left out."""
        if len(data) > FIGURES_SIZE - _FIGURES_HEAD.size:
            return
        version = self.header[H_FIGURES] + 1
        begin = FIGURES + version % 2 * FIGURES_SIZE
        text = _FIGURES_HEAD.pack(crc32(data), len(data)) + data
        self._maps[0][begin : begin + len(text)] = text
        self.header[H_FIGURES] = version
