"""The requests in flight of this process, whatever registry counts them. Streams and WebSockets are not among them."""

from contextlib import suppress
from time import perf_counter

from pyvars.core import resources

__all__ = ("ARRIVALS", "oldest", "requests_in_flight")

ARRIVALS: dict[float, None] = {}
"""When each request in flight arrived, by time.perf_counter, the oldest first. A dict is an ordered set.

No two requests share a time: the clock ticks in nanoseconds, and under the GIL two reads of it are further apart. It
holds times and not requests, so that it keeps no request alive that a server forgot to end.
"""

resources.hold(__name__, "requests in flight", in_child=ARRIVALS.clear)  # their threads and tasks are the parent's


def requests_in_flight() -> int:
    """Returns how many requests this process is answering. A request that several registries count is one."""
    return len(ARRIVALS)


def oldest() -> float | None:
    """Returns the seconds since the oldest request in flight arrived; None if there is none."""
    with suppress(RuntimeError):  # without the GIL another thread may change the dict meanwhile
        for arrival in ARRIVALS:
            return perf_counter() - arrival
    return None
