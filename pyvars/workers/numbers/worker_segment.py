"""The segment of a worker. If there is no room for the file, the worker counts in private memory until there is."""

import errno
import mmap
import os
from collections.abc import Callable
from threading import Lock

from pyvars.core.own_file import OwnFile
from pyvars.workers.numbers.segment import CHUNK, H_CHUNKS, H_PRIVATE, Segment
from pyvars.workers.together.locks import lock

__all__ = ("WorkerSegment",)


class WorkerSegment(Segment):
    """A segment whose chunks are private memory of this process while there is no room for them in the file.

    There is no room if the disk is full, a limit is reached, no file descriptor is left, or the directory cannot be
    written. Words and records of a private chunk have the same places as they will have in the file. So this process
    reads all its numbers, and peers read those that are in the file. If the file could be made, it is published even
    while it is empty, so that peers know of this worker.
    """

    error: str = ""
    """Why some numbers are private; empty if all are in the file."""
    _published = False
    _locked = True

    def __init__(self, directory: str, pid: int, start: int) -> None:
        self._restoring = Lock()
        super().__init__(directory, pid, start)

    def publish(self, name: str | None = None) -> None:
        """Show the file to peers, now or as soon as there is one."""
        self._published = True
        if self._file is not None:
            super().publish(name)

    def is_published(self) -> bool:
        """Whether peers find the file; if there is no file, whether the directory exists."""
        return super().is_published() if self._file is not None else os.path.isdir(self.directory)

    @property
    def is_lost(self) -> bool:
        """Whether the file has lost its lock, because the program has closed the file. Costs one system call."""
        return self._file is not None and not (self._locked and self._file.is_intact)

    def restore(self) -> None:
        """Open the file again if the program has closed it, and lock it. The mapped memory is valid all the time.

        This fails if the file is no longer at its path, or if a peer is just testing the lock: then `is_lost` is still
        true, and the caller calls this again later.
        """
        if self._file is None or not self._restoring.acquire(blocking=False):  # two threads would drop their locks
            return
        try:
            if not self._file.is_intact:
                self._locked = False
                file = OwnFile.open(f"{self.directory}/{self.name}", os.O_RDWR | os.O_NOFOLLOW)
                if not file.is_same(self._file):
                    return file.close()
                self._file = file
            lock(self._file)
            self._locked = True
        except OSError:
            return
        finally:
            self._restoring.release()

    def _open(self) -> None:
        try:
            super()._open()
            if self._published:
                self.publish()
        except OSError:
            self.discard()
            self._file = None
            raise

    def _mapped(self, chunk: int) -> mmap.mmap:
        if self.is_lost:
            self.restore()
        return super()._mapped(chunk)

    def _grow(self) -> None:
        if self.error:
            return self._add(bytearray(CHUNK))
        try:
            super()._grow()
        except FileNotFoundError:  # the directory is gone: the worker joins another one
            raise
        except OSError as reason:
            self._add(bytearray(CHUNK))
            self._note(reason)

    def _note(self, reason: OSError) -> None:
        self.error = reason.strerror or str(reason)
        self.header[H_PRIVATE] = reason.errno or errno.EIO

    def settle(self, bind: Callable[[int], None]) -> None:
        """Move the private chunks to the file, as far as there is room now.

        `bind` binds the cells of a chunk again: `word` then returns the new memory.
        """
        while (chunk := self.header[H_CHUNKS]) < self.chunks:
            try:
                memory = self._mapped(chunk)
            except OSError as reason:
                return self._note(reason)
            with self.changing():
                self._move(chunk, memory, bind)
        self.error = ""

    def _move(self, chunk: int, memory: mmap.mmap, bind: Callable[[int], None]) -> None:
        first = 0 if chunk else 8  # the magic is there already
        memory[first:CHUNK] = self._maps[chunk][first:CHUNK]
        before = self._ints[chunk], self._floats[chunk]
        self._ints[chunk], self._floats[chunk] = self._views(chunk, memory)
        bind(chunk)
        self._maps[chunk] = memory
        for words in before:
            del self._chunks[id(words)]
        header = self.header
        header[H_CHUNKS] = chunk + 1  # from now on peers read the chunk
        self._show_used()
        if chunk + 1 == self.chunks:
            header[H_PRIVATE] = 0
