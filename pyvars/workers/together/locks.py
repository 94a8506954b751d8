"""Locks of files, which the kernel drops when the process that holds them ends: POSIX record locks, and flock.

This is the only module that uses fcntl. Windows does not have it, so there processes do not share their numbers.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from importlib.util import find_spec

from pyvars.core.own_file import OwnFile

__all__ = ("AVAILABLE", "briefly", "exclusive", "is_locked", "is_locked_by_another", "lock", "take")

AVAILABLE: bool = find_spec("fcntl") is not None
"""Whether this system has the module fcntl, and so these locks."""


def lock(file: OwnFile) -> None:
    """Take the exclusive record lock of the open file, without waiting. Does nothing if this process holds it already.

    This process holds the lock until it ends, or closes any file descriptor of that file. A forked child does not hold
    it. Raises OSError if another process holds it, or is just testing it.
    """
    import fcntl

    fcntl.lockf(file.number, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_locked_by_another(file: OwnFile) -> bool:
    """Whether another process holds the exclusive lock of the open file.

    If none does, this process holds a shared lock until it closes the file. Never call this for a file that this
    process has locked.
    """
    import fcntl

    try:
        fcntl.lockf(file.number, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def is_locked(path: str) -> bool:
    """Whether another process holds the exclusive lock of the file.

    True if the file cannot be opened, False if it does not exist. Never call this for a file that this process has
    locked: closing the file drops that lock.
    """
    try:
        file = OwnFile.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    except OSError:  # no file descriptor is left, for example: the worker may live
        return True
    with file:
        return is_locked_by_another(file)


@contextmanager
def exclusive(directory: str) -> Generator[None]:
    """Hold the flock of the directory in this block. Only one thread of one process can hold it.

    Raises OSError if another one holds it, without waiting.
    """
    import fcntl

    with OwnFile.open(directory, os.O_RDONLY | os.O_DIRECTORY) as file:
        fcntl.flock(file.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            yield
        finally:
            with suppress(OSError):  # closing is not enough: a child that was forked meanwhile would keep the lock
                fcntl.flock(file.number, fcntl.LOCK_UN)


def take(file: OwnFile) -> bool:
    """Take the flock of the open file, without waiting, until it is closed. Returns whether this process has it now.

    A child that was forked meanwhile keeps it until it has closed the file, too.
    """
    import fcntl

    try:
        fcntl.flock(file.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def briefly(file: OwnFile) -> Generator[None]:
    """Hold the record lock of the open file in this block: only one process can. Does not wait: raises OSError."""
    import fcntl

    lock(file)
    try:
        yield
    finally:
        fcntl.lockf(file.number, fcntl.LOCK_UN)
