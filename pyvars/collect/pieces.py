"""Splits work on many variables into pieces, so that an event loop in another thread waits only for one piece."""

from collections.abc import Iterable, Iterator
from time import sleep
from typing import TypeVar

__all__ = ("MAX_AT_ONCE", "in_pieces")

T = TypeVar("T")

MAX_AT_ONCE = 2000
"""How many variables an event loop may read for one page: a microsecond or two for each. More are read in a thread."""
_PAUSE_SECONDS = 0.00005
"""Long enough for a thread that waits for the GIL to wake up and take it; a sleep of 0 would be too short."""


def in_pieces(items: Iterable[T]) -> Iterator[T]:
    """The items, with a pause after each MAX_AT_ONCE.

    Without the pause an event loop waits for the GIL up to 5 ms, the switch interval, after each of its system calls:
    three or four times for one request.
    """
    for number, item in enumerate(items, 1):
        yield item
        if number % MAX_AT_ONCE == 0:
            sleep(_PAUSE_SECONDS)
