"""The requests in flight of this process, in whatever registry they are counted; without streams and WebSockets."""

from contextlib import suppress
from time import perf_counter

from pyvars.core import resources

__all__ = ("ARRIVALS", "oldest", "requests_in_flight")

ARRIVALS: dict[float, None] = {}
"""When each request in flight arrived, by time.perf_counter, the oldest first. The dict serves as an ordered set.

No two requests have the same time: the clock has a resolution of nanoseconds, and under the GIL two reads of it are
further apart. The dict has times and not requests, so that it keeps no request alive that a server never ends.
"""

resources.hold(__name__, "requests in flight", in_child=ARRIVALS.clear)  # the parent has the threads that answer them


def requests_in_flight() -> int:
    """Returns how many requests this process is answering. A request that several registries count is counted once."""
    return len(ARRIVALS)


def oldest() -> float | None:
    """Returns the seconds since the oldest request in flight arrived; None if there is none."""
    with suppress(RuntimeError):  # without the GIL another thread may change the dict meanwhile
        for arrival in ARRIVALS:
            return perf_counter() - arrival
    return None
