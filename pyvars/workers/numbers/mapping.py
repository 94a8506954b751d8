"""Maps a part of a file into memory, without a file descriptor of its own, and takes it out again while it is in use.

An mmap object of a file keeps a descriptor of it, and closes the number of that with the memory, whatever file has the
number by then (until Python 3.13, where `trackfd=False` keeps none). So the objects here are of anonymous memory, and
the system puts the file into its place.
"""

import errno
import mmap
import os
from collections.abc import Callable
from functools import cache

from pyvars.core.own_file import OwnFile

__all__ = ("mapped", "unmap")

_FIXED = 0x10
"""MAP_FIXED of Linux, macOS and the BSDs: the mapping takes the place of the one at its address."""


def mapped(file: OwnFile, offset: int, size: int) -> mmap.mmap:
    """Memory of this size that is the part of the file from the offset on. Raises OSError."""
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    try:
        _replace(memory, mmap.MAP_SHARED, file.number, offset)
    except ImportError:  # a Python without ctypes
        return mmap.mmap(file.number, size, offset=offset)
    return memory


def unmap(memory: mmap.mmap) -> None:
    """Take the file out of the memory, which reads as zeros from now on; what is written there, nobody sees."""
    try:
        _replace(memory, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    except (ImportError, OSError):  # it goes with the last object that uses the memory
        return


@cache
def _of_c() -> Callable[..., int | None]:
    import ctypes

    function = ctypes.CDLL(None, use_errno=True).mmap
    function.restype = ctypes.c_void_p
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    return function


def _replace(memory: mmap.mmap, flags: int, number: int, offset: int) -> None:
    import ctypes

    map_at, access = _of_c(), mmap.PROT_READ | mmap.PROT_WRITE
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    if map_at(address, len(memory), access, flags | _FIXED, number, offset) != address:
        reason = ctypes.get_errno() or errno.EIO
        raise OSError(reason, os.strerror(reason))
