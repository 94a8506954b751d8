"""Splits work on many variables into pieces, so that an event loop in another thread waits for one piece at most."""

from collections.abc import Iterable, Iterator
from time import sleep
from typing import TypeVar

__all__ = ("MAX_AT_ONCE", "in_pieces")

T = TypeVar("T")

MAX_AT_ONCE = 2000
"""The maximum number of variables that are read on an event loop for one page; each takes one or two microseconds. If
there are more, they are read in a thread."""
_PAUSE_SECONDS = 0.00005
"""Long enough for a thread that waits for the GIL to wake up and take it; a sleep of 0 would be too short."""


def in_pieces(items: Iterable[T]) -> Iterator[T]:
    """Yields the items, with a pause after every MAX_AT_ONCE of them.

    Without the pause, an event loop in another thread waits for the GIL after each of its system calls, for up to 5 ms
    (the switch interval): that is three or four times for one request.
    """
    for number, item in enumerate(items, 1):
        yield item
        if number % MAX_AT_ONCE == 0:
            sleep(_PAUSE_SECONDS)
