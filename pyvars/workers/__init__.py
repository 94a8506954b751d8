"""One truth across worker processes: the numbers of all of them on the page of each.

Each process writes its numbers to a file of its own in memory (segment, tree); whoever is asked for the page reads
those of the others (peers, layout, reading, sums, peers), keeps what dead ones counted (retired), and asks live ones
over a socket for what needs their own code (server, asking). Which processes belong together is found in /proc
(group), and the directory where they meet follows from that (place). This process's own part is in `member`.
"""

import os
from collections.abc import Callable, Collection
from typing import Any

import pyvars
from pyvars.core.cells import IntCell
from pyvars.core.registry import Registry
from pyvars.formats.json import valid_text
from pyvars.runtime.proc import of_process
from pyvars.workers.asking.server import Question, threads_run
from pyvars.workers.membership.member import MEMBER
from pyvars.workers.membership.peers import Peers
from pyvars.workers.numbers.group_reading import NO_PEERS, GroupReading

__all__ = (
    "MEMBER",
    "REQUESTS",
    "Peers",
    "Workers",
    "ask",
    "has_peers",
    "join",
    "live_pids",
    "share",
    "peers",
    "workers",
)

REQUESTS: IntCell = MEMBER.requests
"""Requests that came to the integrations of this process, those for the page too; /debug/workers shows it of each."""


def share(registry: Registry, answer: Callable[[Registry, Question], bytes] | None = None) -> None:
    """Make this process a member of its group with the numbers of the registry. Never raises for want of a place.

    `answer` is what tells peers the values of functions.
    """
    MEMBER.answer = answer or MEMBER.answer
    MEMBER.share(registry, default=registry is pyvars.default_registry)


def join(registry: Registry) -> bool:
    """The same as `share`, but only if the group is there already: a program without an integration leaves no file."""
    return MEMBER.join(registry)


def peers(registry: Registry, deadline: float) -> Peers | None:
    """What the peers of this process add to the page of the registry; None if there is and was nobody else."""
    key = MEMBER.registry_key(registry)
    reading = MEMBER.read_group(deadline)
    own = MEMBER.own
    if key is None or own is None or reading is None or not (reading.peers or reading.retired):
        return None
    return Peers(MEMBER, reading, key, own.source())


def has_peers() -> bool:
    """Whether a page may have to wait for somebody."""
    return MEMBER.group is not None and MEMBER.group.has_peers()


def live_pids(deadline: float) -> list[int]:
    """The pids of the live workers, this one among them."""
    reading = MEMBER.read_group(deadline)
    return sorted({os.getpid(), *(peer.pid for peer in reading.live)} if reading is not None else {os.getpid()})


def ask(registry: Registry, question: Question, deadline: float, pids: Collection[int]) -> dict[int, bytes]:
    """What the live workers with these pids answer, this one too if it is among them, by pid."""
    return MEMBER.ask({**question, "registry": MEMBER.registry_key(registry)}, deadline, pids)


def workers(deadline: float) -> dict[str, object]:
    """The live workers, the oldest first, and the scalars of `pyvars.workers`."""
    reading = MEMBER.read_group(deadline, renew=True)
    peers = reading.live if reading is not None else []
    rows = [
        _row(os.getpid(), MEMBER.requests.value, True),
        *(_row(peer.pid, peer.requests, MEMBER.answered(peer.name)) for peer in peers),
    ]
    rows.sort(key=lambda row: (row["start_time_seconds"], row["pid"]))
    return {**Workers().figures(), "workers": rows}


def _row(pid: int, requests: int, answered: bool) -> dict[str, Any]:
    """`requests` that came through the integrations of pyvars; whether it `answered` within 50 ms, or last did."""
    return {"pid": pid, **of_process(pid), "requests": requests, "answered": answered}


class Workers:
    """`pyvars.workers`: the processes whose numbers are summed on the page, as scalars."""

    def __init__(self) -> None:
        self._said: tuple[object, dict[str, object]] = None, {}

    def figures(self) -> dict[str, object]:
        """The figures:

        live: processes of the group that run, this one with them. retired: those that have ended, whose counts are
        kept. shared: whether the numbers of this process are among the sums. reason: why not, or what is left out;
        empty if all is well. threads: whether threads of pyvars run in this process (not under gevent, nor in
        uWSGI without threads or in its master), so that it answers its peers, and deadlines hold.
        """
        reading = MEMBER.latest() or NO_PEERS
        known = MEMBER.reason, MEMBER.error, MEMBER.shared, threads_run(), reading is NO_PEERS
        if self._said[0] != known or reading is not NO_PEERS:
            self._said = known, _figures(reading, *known[:4])
        return self._said[1]


def _figures(reading: GroupReading, reason: str, error: str, shared: bool, threads: bool) -> dict[str, object]:
    reasons = [reason] if reason else []
    if error:
        reasons.append(f"some numbers are private to this process: {error}")
    reasons += sorted(f"{name}: {why}" for name, why in reading.damaged.items())[:4]
    return {
        "live": 1 + len(reading.live),
        "retired": reading.dead,
        "shared": shared,
        "reason": valid_text("; ".join(reasons)),
        "threads": threads,
    }
