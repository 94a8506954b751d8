"""The slots: a request renders a page only while it holds one, and other requests wait for a free slot."""

import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

from pyvars.access.request import Request
from pyvars.core import resources
from pyvars.core.clock import monotonic
from pyvars.core.threads import threads_run
from pyvars.site.http import Response, text

__all__ = ("all_taken", "in_a_slot")

MAX_RENDERS = 2
"""The number of slots: how many pages are rendered at once."""

_slots: SimpleQueue[int] = SimpleQueue()  # a tenth of the cost of a threading.Semaphore


def _renew_slots() -> None:
    """Make new slots: in a forked child, threads of the parent that held a slot are gone."""
    global _slots
    _slots = SimpleQueue()
    for slot in range(MAX_RENDERS):
        _slots.put(slot)


_renew_slots()
resources.hold(__name__, "slots to render", in_child=_renew_slots)


def in_a_slot(request: Request, render: Callable[[], Response]) -> Response:
    """Call `render` once there is a free slot, and return its response; 503 if there is none before the deadline."""
    slots = _slots
    try:
        slot = _free(slots, request.deadline)
    except Empty:
        return text(503, "busy: other pages are being rendered", more_headers=(("Retry-After", "1"),))
    try:
        return render()
    finally:
        slots.put(slot)


def _free(slots: SimpleQueue[int], deadline: float) -> int:
    """Wait for a free slot. Raises Empty if there is none before the deadline."""
    while not threads_run() and monotonic() < deadline:  # SimpleQueue.get would block all greenlets, not only this one
        if not slots.empty():
            return slots.get_nowait()
        time.sleep(0.005)
    return slots.get(timeout=max(0.0, deadline - monotonic()))


def all_taken() -> bool:
    """Whether a request has to wait for a slot."""
    return _slots.empty()
