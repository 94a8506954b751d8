"""One truth across worker processes: the page of each worker shows the numbers of all workers of its group.

The code is in four rooms; of the others, each imports only those before it.

together      finds in /proc which processes are the workers of one group, and the group directory where they meet
numbers       keeps the numbers of each worker in a file of its own in that directory, its segment; a page reads the
              segments of all peers and adds them up. When a worker has died, the first peer that notices folds its
              segment: it adds the counts, not the gauges, to the file `retired` in that directory (numbers/retired.py)
asking        asks a live peer, over a unix socket beside its segment, for what only its own code can tell: values of
              the program's functions, whole pages, fresh runtime figures
membership    makes this process a worker of its group (member), brings the sums to the page (peers), and tells what
              each worker does (rows)

The rest of pyvars uses the functions below; `collect`, `site` and `server` also membership, and `collect` numbers.
"""

import os
from collections.abc import Callable, Collection

import pyvars
from pyvars.core.cells import IntCell
from pyvars.core.registry import Registry
from pyvars.core.threads import why_no_threads
from pyvars.formats.json import valid_text
from pyvars.workers.asking.wire import Question
from pyvars.workers.membership.census import Census, census
from pyvars.workers.membership.member import MEMBER
from pyvars.workers.membership.peers import MARGIN_SECONDS, Peers
from pyvars.workers.membership.rows import own_row, peer_row

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
"""Requests that the integrations of this process received, those for the page too; /debug/workers shows the count of
each worker."""


def share(registry: Registry, answer: Callable[[Registry, Question], bytes] | None = None) -> None:
    """Join the group of this process, if it has not joined yet, and share the numbers of the registry with it.

    `answer` computes the answer to a peer that asks for a page or for values of functions. If there is no group
    directory this does not raise: the numbers stay private, and `pyvars.workers` shows the reason.
    """
    MEMBER.answer = answer or MEMBER.answer
    MEMBER.share(registry, default=registry is pyvars.default_registry)


def join(registry: Registry) -> bool:
    """Share the default registry if the group directory exists already; returns whether it is shared.

    Unlike `share`, this makes no directory, so a program without an integration leaves no file.
    """
    return MEMBER.join(registry)


def peers(registry: Registry, deadline: float) -> Peers | None:
    """What the peers add to a page of the registry.

    None if this process has and had no peers and shares all its numbers, or if the registry is not shared. Waits up to
    50 ms for live peers to write their runtime figures, but not past the deadline (of time.monotonic).
    """
    key = MEMBER.registry_key(registry)
    reading = MEMBER.read_group(deadline)
    own = MEMBER.own
    if key is None or own is None or reading is None or (reading.is_empty and not MEMBER.error):
        return None
    return Peers(MEMBER, reading, key, own.source())


def has_peers() -> bool:
    """Whether this process has or had peers; if so, a page may have to wait for their answers."""
    return MEMBER.group is not None and MEMBER.group.has_peers()


def live_pids() -> list[int]:
    """The pids of the live workers, in order, that of this process included. Asks no peer."""
    reading = MEMBER.read_group()
    return sorted({os.getpid(), *(peer.pid for peer in reading.live)} if reading is not None else {os.getpid()})


def ask(registry: Registry, question: Question, deadline: float, pids: Collection[int]) -> dict[int, bytes]:
    """Ask the live workers with these pids a question about the registry, and return their answers by pid.

    The answer is empty for a worker that did not answer by the deadline; one that was silent before is asked, too. This
    process is asked over its own socket, if its pid is given and it runs threads. A pid that no live worker has is
    missing from the answers.
    """
    return MEMBER.ask({**question, "registry": MEMBER.registry_key(registry)}, deadline, pids, True)


def workers(deadline: float) -> dict[str, object]:
    """The content of /debug/workers: the figures of `pyvars.workers`, and a row for each live worker, oldest first."""
    reading = MEMBER.read_group(deadline - MARGIN_SECONDS, renew=True)
    rows = [own_row(), *map(peer_row, reading.live if reading is not None else [])]
    rows.sort(key=lambda row: (row["start_time_seconds"] or 0, row["pid"]))
    return {**Workers().figures(), "workers": rows}


class Workers:
    """The built-in variable `pyvars.workers`: scalars about the workers whose numbers are summed on the page."""

    def __init__(self) -> None:
        self._cached: tuple[object, dict[str, object]] = None, {}

    def figures(self) -> dict[str, object]:
        """The figures:

        live: live workers of the group, this one included. retired: workers that have ended, whose counts are kept.
        blocked, stopped, silent: the live ones in these states (see membership.states).
        shared: whether all numbers of all workers are in the sums of the group. threads: whether threads of pyvars run
        in this process, so that it answers its peers, and deadlines hold. reason: why either is not so; else empty.
        """
        known = census(), MEMBER.reason, MEMBER.error, MEMBER.shared, why_no_threads()
        if self._cached[0] != known:
            self._cached = known, _figures(*known)
        return self._cached[1]


def _figures(group: Census, reason: str, error: str, shared: bool, no_threads: str) -> dict[str, object]:
    reasons = [reason] if reason else []
    if error:
        reasons.append(f"some numbers are private to this process: {error}")
    reasons += sorted(f"{name}: {why}" for name, why in group.missing.items())[:4]
    about = [f"{no_threads}: functions have no deadline, every= does nothing"] if no_threads else []
    return {
        "live": 1 + group.live,
        "retired": group.dead,
        "blocked": group.blocked,
        "stopped": group.stopped,
        "silent": group.silent,
        "shared": shared and not reasons,
        "reason": valid_text("; ".join(reasons + about)),
        "threads": not no_threads,
    }
