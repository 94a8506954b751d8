"""Finds the history of a registry: in the group directory, in the file that PYVARS_HISTORY names, or in memory."""

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
"""An unpublished file that is older than this was left by a process that was killed."""


class PlaceError(RingError):
    """No history can be kept in this file; the text says why."""


class Place(NamedTuple):
    """Where the history of a registry is."""

    path: str
    """The path of the file; empty if the history is in the memory of this process."""
    group: int
    """A number that the processes of one group share; a later life of the program has another one."""


def is_off() -> bool:
    """Whether PYVARS_HISTORY is `off`."""
    return os.environ.get("PYVARS_HISTORY") == "off"


def configured() -> str:
    """The absolute path that PYVARS_HISTORY names; empty if it names none."""
    path = os.environ.get("PYVARS_HISTORY", "")
    return os.path.abspath(path) if path and not is_off() else ""


def place_of(registry: Registry | None, named: str) -> Place:
    """Returns the place of the history of the registry. `named` is the path that PYVARS_HISTORY names, or empty."""
    group, key = MEMBER.group, MEMBER.registry_key(registry) if registry is not None else None
    shared = group is not None and key is not None
    path = os.path.join(group.directory, f"{HISTORY}{key}") if group is not None and shared else ""
    number = _number_of(os.path.basename(group.directory) if group is not None and shared else f"{os.getpid()}")
    return Place(named if named and registry is pyvars.default_registry else path, number)


@cache
def _number_of(group: str) -> int:
    """A number made of the owner of the group and its start time, which the name of a PYVARS_SHARE directory lacks."""
    if owner_in(group) is None:
        with suppress(OSError):  # /proc cannot be read
            group = name_of(find()[-1])
    return int.from_bytes(blake2b(group.encode(), digest_size=6).digest(), "little")


def opened(path: str) -> RingReader | None:
    """Opens the history at the path. Returns None if there is no file, or a damaged history, which may be replaced.

    Raises:
        PlaceError: the file is not a history, or is not private to this user.
        OSError: the file cannot be opened.
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
            raise PlaceError(f"{path} is not a history of this version of pyvars; remove it, or name another file")
        with suppress(RingError):
            return RingReader(file)
    except BaseException:
        file.close()
        raise
    file.close()
    return None


def remove_unfinished(path: str) -> None:
    """Remove the unfinished files beside the path: processes that were killed while they made a file left them."""
    directory, name = os.path.split(path)
    form = re.compile(rf"\.{re.escape(name)}-[0-9a-f]{{8}}")
    with suppress(OSError):
        for each in filter(form.fullmatch, os.listdir(directory)):
            left = os.path.join(directory, each)
            if time() - os.lstat(left).st_mtime > _UNFINISHED_SECONDS:
                os.unlink(left)
