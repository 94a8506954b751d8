"""The state of each worker: it runs, is blocked, is stopped, or does not answer.

A worker notes in its segment when it is blocked, which costs nothing to read. /proc is read to see whether it is
stopped, but only if it did not answer when it was last asked for its runtime figures. So states slow down no page.
"""

from typing import Final, Literal, TypeAlias

from pyvars.core.clock import monotonic
from pyvars.runtime.event_loop import is_past
from pyvars.runtime.proc import is_stopped
from pyvars.workers.membership.member import MEMBER
from pyvars.workers.numbers.reading import SegmentReading

__all__ = ("State", "state_of")

State: TypeAlias = Literal["ok", "blocked", "stopped", "silent"]
"""`blocked`: its loop has not run for over a second; without a loop, a request takes over 30 s. `stopped`: by SIGSTOP,
or by a debugger. `silent`: it does not answer."""

SILENT_SECONDS: Final = 1.0
"""A worker is silent on a page if it owes an answer for so long; a busy worker may answer a little late."""


def state_of(peer: SegmentReading, patience: float = SILENT_SECONDS) -> State:
    """The state of a live peer, which is silent if it owes an answer for `patience` seconds."""
    if peer.name not in MEMBER.answers:
        if is_stopped(peer.pid):
            return "stopped"
        asked = MEMBER.client.asked(peer.name)
        if asked and monotonic() - asked >= patience:
            return "silent"
    return "blocked" if is_past(peer.blocked_from) else "ok"
