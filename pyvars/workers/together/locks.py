"""Locks of files that the kernel drops when their process ends: POSIX record locks, and flock for a moment.

The only module that knows fcntl, which Windows does not have: there every process counts for itself.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from importlib.util import find_spec

__all__ = ("AVAILABLE", "exclusive", "is_locked", "lock", "is_locked_by_another")

AVAILABLE: bool = find_spec("fcntl") is not None
"""Whether this system has such locks."""


def lock(file: int) -> None:
    """Lock the open file for the life of this process, or until it closes any descriptor of the file.

    Raises OSError if another process has it.
    """
    import fcntl

    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_locked_by_another(file: int) -> bool:
    """Whether another process holds the lock of the open file."""
    import fcntl

    try:
        fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def is_locked(path: str) -> bool:
    """Whether another process holds the lock of the file. Never ask of a file that this process has locked itself."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return is_locked_by_another(file)
    finally:
        os.close(file)


@contextmanager
def exclusive(directory: str) -> Generator[None]:
    """Be the only one in this block, in whatever process. Raises OSError if another one is in it."""
    import fcntl

    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            yield
        finally:
            with suppress(OSError):  # a child that was forked meanwhile has the same lock, and would keep it
                fcntl.flock(file, fcntl.LOCK_UN)
    finally:
        os.close(file)
