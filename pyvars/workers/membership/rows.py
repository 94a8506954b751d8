"""The rows of /debug/workers: for each live worker, figures from the kernel, from its segment and from its answer."""

import os
from collections.abc import Mapping
from typing import Any

from pyvars.runtime.event_loop import is_blocked
from pyvars.runtime.proc import of_process
from pyvars.workers.membership.load import load_of, own_load
from pyvars.workers.membership.member import MEMBER
from pyvars.workers.membership.states import State, state_of
from pyvars.workers.numbers.reading import SegmentReading

__all__ = ("own_row", "peer_row")


def own_row() -> dict[str, Any]:
    """The row of this process."""
    return _row(os.getpid(), "blocked" if is_blocked() else "ok", own_load(), MEMBER.requests.value, True)


def peer_row(peer: SegmentReading) -> dict[str, Any]:
    """The row of a live peer that has just been asked. The figures of its load are None if it did not answer."""
    answer = MEMBER.answers.get(peer.name)
    return _row(peer.pid, state_of(peer, patience=0), load_of(answer), peer.requests, answer is not None)


def _row(pid: int, state: State, load: Mapping[str, float | None], requests: int, answered: bool) -> dict[str, Any]:
    """`requests`: how many requests the integrations of the worker received."""
    return {"pid": pid, "state": state, **of_process(pid), **load, "requests": requests, "answered": answered}
