"""The state of each worker: it runs, is blocked, is stopped, or does not answer.

A worker writes to its segment the time from which it counts as blocked: peers read that at no cost. Whether a worker is
stopped is read from /proc, but only if it did not answer when it was last asked for its runtime figures. So states do
not slow down pages.
"""

from typing import Final, Literal, TypeAlias

from pyvars.core.clock import monotonic
from pyvars.runtime.event_loop import is_past
from pyvars.runtime.proc import is_stopped
from pyvars.workers.membership.member import MEMBER
from pyvars.workers.numbers.reading import SegmentReading

__all__ = ("State", "state_of")

State: TypeAlias = Literal["ok", "blocked", "stopped", "silent"]
"""`blocked`: its event loop has not run for over a second, or it has no loop and a request takes over 30 s. `stopped`:
by SIGSTOP or a debugger. `silent`: it does not answer. `ok`: none of these."""

SILENT_SECONDS: Final = 1.0
"""A page shows a worker as silent if it owes an answer for so long: a busy worker may answer a little late."""


def state_of(peer: SegmentReading, patience: float = SILENT_SECONDS) -> State:
    """The state of a live peer. It is silent if it owes an answer for `patience` seconds or longer."""
    if peer.name not in MEMBER.answers:
        if is_stopped(peer.pid):
            return "stopped"
        asked = MEMBER.client.asked(peer.name)
        if asked and monotonic() - asked >= patience:
            return "silent"
    return "blocked" if is_past(peer.blocked_from) else "ok"
