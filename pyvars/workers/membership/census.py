"""How many workers the group has and had, for `pyvars.workers`."""

from typing import NamedTuple

from pyvars.core.clock import monotonic
from pyvars.runtime.reading import REUSE_SECONDS
from pyvars.workers.membership.member import MEMBER
from pyvars.workers.numbers.group_reading import NO_PEERS

__all__ = ("Census", "census", "hear")


class Census(NamedTuple):
    """The workers beside this one, and why numbers are missing, by the name of a file."""

    live: int
    dead: int
    missing: dict[str, str]


_heard: list[tuple[float, object, Census]] = []  # the latest, with its time and the last reading before it; or empty


def hear(group: object) -> None:
    """Take over what the peer that asks for a page has counted: the live and the dead, itself aside.

    If each worker of a large group read the segments of all others for its page in `?worker=all`, most pages would be
    late.
    """
    match group:
        case [int(live), int(dead)]:
            latest = MEMBER._latest
            _heard[:] = [(monotonic(), latest, Census(live, dead, latest[1].missing if latest is not None else {}))]
        case _:
            pass


def census() -> Census:
    """The census of the last reading, or of a peer that counted after it, if it is under 100 ms old; else a new one."""
    for when, before, heard in _heard:
        if before is MEMBER._latest and monotonic() - when < REUSE_SECONDS:
            return heard
    reading = MEMBER.latest() or NO_PEERS
    return Census(len(reading.live), reading.dead_count, reading.missing)
