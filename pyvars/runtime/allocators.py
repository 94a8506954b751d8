"""Figures of the two allocators under CPython: pymalloc for small blocks, glibc's malloc for the rest."""

import ctypes
import re
from collections.abc import Callable
from typing import NamedTuple

__all__ = ("Heap", "malloc", "pymalloc")


class Heap(NamedTuple):
    """The memory of one allocator, in bytes."""

    used: int
    """In use by the program."""
    free: int
    """Not returned to the system, and free for the next allocation."""


class _Mallinfo2(ctypes.Structure):
    """struct mallinfo2 of glibc 2.33, https://man7.org/linux/man-pages/man3/mallinfo.3.html"""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]
    arena: int
    hblkhd: int
    uordblks: int
    fordblks: int


def _function(library: ctypes.CDLL, name: str, result: type | None, *arguments: type) -> Callable[..., int] | None:
    try:
        function = getattr(library, name)
    except AttributeError:  # another C library or interpreter, or a release that removed it
        return None
    function.restype, function.argtypes = result, arguments
    found: Callable[..., int] = function
    return found


_c = ctypes.CDLL(None)
_mallinfo2 = _function(_c, "mallinfo2", _Mallinfo2)
_open_memstream = _function(_c, "open_memstream", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
_fclose = _function(_c, "fclose", ctypes.c_int, ctypes.c_void_p)
_free = _function(_c, "free", None, ctypes.c_void_p)
# CPython exports this function for guppy3. sys._debugmallocstats calls it, too, but can only write to stderr.
_debug_stats = _function(ctypes.pythonapi, "_PyObject_DebugMallocStats", ctypes.c_int, ctypes.c_void_p)

_SUMMARY = re.compile(
    rb"# bytes in allocated blocks +=\s+(?P<used>[\d,]+)\s+"
    rb"# bytes in available blocks +=\s+(?P<available>[\d,]+)\s+"
    rb"(?P<pools>\d+) unused pools \* (?P<size>\d+) bytes"
)


def pymalloc() -> Heap | None:
    """Returns the figures of pymalloc, which holds blocks of up to 512 bytes in pools (_PyObject_DebugMallocStats).

    None if pymalloc is not in use (PYTHONMALLOC=malloc), if tracemalloc wraps it, or if its figures cannot be read. The
    call walks the arenas of pymalloc with the GIL held, which takes about 0.7 us per MiB.
    """
    if _debug_stats is None or _open_memstream is None or _fclose is None or _free is None:
        return None
    buffer, size = ctypes.c_void_p(), ctypes.c_size_t()
    stream = _open_memstream(ctypes.byref(buffer), ctypes.byref(size))
    enabled = _debug_stats(stream)
    _fclose(stream)
    text = ctypes.string_at(buffer, size.value)
    _free(buffer)
    summary = _SUMMARY.search(text, max(0, text.find(b"# bytes in allocated")))
    if not enabled or summary is None:
        return None
    used, available = (int(summary[name].replace(b",", b"")) for name in ("used", "available"))
    return Heap(used, available + int(summary["pools"]) * int(summary["size"]))


def malloc() -> Heap | None:
    """Returns the figures of glibc's malloc: all its arenas, and the large blocks that it gets by mmap (mallinfo2).

    None without mallinfo2 (glibc 2.33), and if another allocator replaces malloc (jemalloc, tcmalloc). Then glibc holds
    almost no memory. The cost grows with the number of free chunks: 36 ms were measured with 200,000 of them.
    """
    if _mallinfo2 is None:
        return None
    info: _Mallinfo2 = _mallinfo2()  # type: ignore[assignment]
    if info.arena + info.hblkhd < 64 * 1024:  # an interpreter that has started holds several hundred KiB
        return None
    return Heap(info.uordblks + info.hblkhd, info.fordblks)
