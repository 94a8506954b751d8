"""Maps a part of a file into memory without keeping a file descriptor, and unmaps it while the memory is in use.

An mmap object that Python makes of a file keeps a duplicate of its descriptor, and closes that number at the end, even
if it refers to another file by then. (From Python 3.13 on `trackfd=False` prevents that.) So the mmap objects here are
made of anonymous memory, and a call of the C function mmap then replaces that memory by the file.
"""

import errno
import mmap
import os
from collections.abc import Callable
from functools import cache

from pyvars.core.own_file import OwnFile

__all__ = ("mapped", "unmap")

_FIXED = 0x10
"""MAP_FIXED of Linux, macOS and the BSDs: the new mapping replaces the one at its address."""


def mapped(file: OwnFile, offset: int, size: int) -> mmap.mmap:
    """Map `size` bytes of the file, from the offset on, into memory. Raises OSError."""
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    try:
        _replace(memory, mmap.MAP_SHARED, file.number, offset)
    except ImportError:  # a Python without ctypes
        return mmap.mmap(file.number, size, offset=offset)
    return memory


def unmap(memory: mmap.mmap) -> None:
    """Replace the file by private memory of zeros, at the same address: objects that use the memory stay valid."""
    try:
        _replace(memory, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    except (ImportError, OSError):  # then the file stays mapped until the last object that uses the memory is gone
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
