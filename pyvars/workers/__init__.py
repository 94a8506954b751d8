"""One truth across worker processes: the numbers of all of them on the page of each.

Each process writes its numbers to a file of its own in memory (segment, tree); whoever is asked for the page reads
those of the others (peers, layout, family, sums, siblings), keeps what dead ones counted (retired), and asks live ones
over a socket for what needs their own code (answerer, asking). Which processes belong together is found in /proc
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
from pyvars.workers.asking.server import Ask, threads_run
from pyvars.workers.membership.member import MEMBER
from pyvars.workers.membership.peers import Siblings
from pyvars.workers.numbers.group_reading import NOBODY, Family

__all__ = (
    "MEMBER",
    "REQUESTS",
    "Siblings",
    "Workers",
    "ask",
    "has_siblings",
    "join",
    "live_pids",
    "share",
    "siblings",
    "workers",
)

REQUESTS: IntCell = MEMBER.requests
"""Requests that came to the carriers of this process, those for the page too; /debug/workers shows it of each."""


def share(registry: Registry, answer: Callable[[Registry, Ask], bytes] | None = None) -> None:
    """Make this process a member of its group with the numbers of the registry. Never raises for want of a place.

    `answer` is what tells siblings the values of functions.
    """
    MEMBER.answer = answer or MEMBER.answer
    MEMBER.share(registry, default=registry is pyvars.default_registry)


def join(registry: Registry) -> bool:
    """The same as `share`, but only if the group is there already: a program without a carrier leaves no file."""
    return MEMBER.join(registry)


def siblings(registry: Registry, deadline: float) -> Siblings | None:
    """What the siblings of this process add to the page of the registry; None if there is and was nobody else."""
    root = MEMBER.root(registry)
    family = MEMBER.family(deadline)
    own = MEMBER.own
    if root is None or own is None or family is None or not (family.peers or family.retired):
        return None
    return Siblings(MEMBER, family, root, own.source())


def has_siblings() -> bool:
    """Whether a page may have to wait for somebody."""
    return MEMBER.group is not None and MEMBER.group.has_siblings()


def live_pids(deadline: float) -> list[int]:
    """The pids of the live workers, this one among them."""
    family = MEMBER.family(deadline)
    return sorted({os.getpid(), *(peer.pid for peer in family.live)} if family is not None else {os.getpid()})


def ask(registry: Registry, question: Ask, deadline: float, pids: Collection[int]) -> dict[int, bytes]:
    """What the live workers with these pids answer, this one too if it is among them, by pid."""
    return MEMBER.ask({**question, "root": MEMBER.root(registry)}, deadline, pids)


def workers(deadline: float) -> dict[str, object]:
    """The live workers, the oldest first, and the scalars of `pyvars.workers`."""
    family = MEMBER.family(deadline, renew=True)
    siblings = family.live if family is not None else []
    rows = [
        _row(os.getpid(), MEMBER.requests.value, True),
        *(_row(peer.pid, peer.requests, MEMBER.answered(peer.name)) for peer in siblings),
    ]
    rows.sort(key=lambda row: (row["start_time_seconds"], row["pid"]))
    return {**Workers().figures(), "workers": rows}


def _row(pid: int, requests: int, answered: bool) -> dict[str, Any]:
    """`requests` that came through the carriers of pyvars; whether it `answered` within 50 ms, or last did."""
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
        uWSGI without threads or in its master), so that it answers its siblings, and deadlines hold.
        """
        family = MEMBER.latest() or NOBODY
        known = MEMBER.reason, MEMBER.error, MEMBER.shared, threads_run(), family is NOBODY
        if self._said[0] != known or family is not NOBODY:
            self._said = known, _figures(family, *known[:4])
        return self._said[1]


def _figures(family: Family, reason: str, error: str, shared: bool, threads: bool) -> dict[str, object]:
    reasons = [reason] if reason else []
    if error:
        reasons.append(f"some numbers are private to this process: {error}")
    reasons += sorted(f"{name}: {why}" for name, why in family.damaged.items())[:4]
    return {
        "live": 1 + len(family.live),
        "retired": family.dead,
        "shared": shared,
        "reason": valid_text("; ".join(reasons)),
        "threads": threads,
    }
