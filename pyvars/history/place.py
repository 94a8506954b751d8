"""Where the history of a registry is: a file in the group directory, one that PYVARS_HISTORY names, or memory."""

import os
import re
import stat
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from time import time
from typing import NamedTuple

import pyvars
from pyvars.core.own_file import OwnFile
from pyvars.core.registry import Registry
from pyvars.history.ring import RingError, RingReader
from pyvars.workers import MEMBER
from pyvars.workers.together.files import HISTORY, HISTORY_MAGIC
from pyvars.workers.together.group import find, name_of, owner_in

__all__ = ("Place", "PlaceError", "configured", "is_off", "opened", "place_of", "remove_unfinished")

_UNFINISHED_SECONDS = 10.0
"""A file that was made so long ago, and is not published, was left by a process that was killed."""


class PlaceError(RingError):
    """There can be no history at the place; the text says why."""


class Place(NamedTuple):
    """Where the history of a registry is."""

    path: str
    """The path of its file; empty if it is in the memory of this process."""
    group: int
    """Tells the processes that share it from those of another life of the program."""


def is_off() -> bool:
    """Whether the environment says that there is no history."""
    return os.environ.get("PYVARS_HISTORY") == "off"


def configured() -> str:
    """The absolute path that PYVARS_HISTORY names; empty if it names none."""
    path = os.environ.get("PYVARS_HISTORY", "")
    return os.path.abspath(path) if path and not is_off() else ""


def place_of(registry: Registry | None, named: str) -> Place:
    """Where the history of the registry is now; `named` is the path that PYVARS_HISTORY names, or empty."""
    group, key = MEMBER.group, MEMBER.registry_key(registry) if registry is not None else None
    shared = group is not None and key is not None
    path = os.path.join(group.directory, f"{HISTORY}{key}") if group is not None and shared else ""
    number = _number_of(os.path.basename(group.directory) if group is not None and shared else f"{os.getpid()}")
    return Place(named if named and registry is pyvars.default_registry else path, number)


@cache
def _number_of(group: str) -> int:
    """A number for the owner of the group and its start: the directory of PYVARS_SHARE does not tell it."""
    if owner_in(group) is None:
        with suppress(OSError):  # /proc does not tell it
            group = name_of(find()[-1])
    return int.from_bytes(blake2b(group.encode(), digest_size=6).digest(), "little")


def opened(path: str) -> RingReader | None:
    """The history at the path; None if there is none, or one that is damaged, which may be replaced.

    Raises:
        PlaceError: what is there is no history, or is not private to this user.
        OSError: it cannot be opened.
    """
    try:
        file = OwnFile.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        found = os.fstat(file.number)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise PlaceError(f"{path} must be a file of user {os.geteuid()} with mode 0600")
        beginning = os.pread(file.number, len(HISTORY_MAGIC), 0)
        if beginning and beginning != HISTORY_MAGIC:
            raise PlaceError(f"{path} is no history of this version of pyvars; remove it, or name another file")
        with suppress(RingError):
            return RingReader(file)
    except BaseException:
        file.close()
        raise
    file.close()
    return None


def remove_unfinished(path: str) -> None:
    """Remove what processes left beside the path that were killed while they made a file for it."""
    directory, name = os.path.split(path)
    form = re.compile(rf"\.{re.escape(name)}-[0-9a-f]{{8}}")
    with suppress(OSError):
        for each in filter(form.fullmatch, os.listdir(directory)):
            left = os.path.join(directory, each)
            if time() - os.lstat(left).st_mtime > _UNFINISHED_SECONDS:
                os.unlink(left)
