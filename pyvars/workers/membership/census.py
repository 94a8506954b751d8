"""`pyvars.workers`: the numbers of live and dead workers of the group, and of live workers in each state."""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from pyvars.core.clock import monotonic
from pyvars.core.threads import why_no_threads
from pyvars.formats.json import valid_text
from pyvars.runtime.event_loop import is_blocked
from pyvars.runtime.reading import REUSE_SECONDS
from pyvars.workers.membership.member import MEMBER
from pyvars.workers.membership.states import state_of
from pyvars.workers.numbers.group_reading import NO_PEERS, GroupReading

__all__ = ("ADVICE", "Census", "Workers", "census", "figures_of", "hear")


class Census(NamedTuple):
    """The numbers of live and dead workers of the group."""

    live: int
    """The number of live workers without this one."""
    dead: int
    """The number of workers that have died."""
    blocked: int
    """The number of live workers that are blocked, including this one."""
    stopped: int
    silent: int
    missing: dict[str, str]
    """Reasons why numbers are missing in the sums, by the name of the file that should hold the numbers."""


_Known: TypeAlias = tuple[Census, str, str, bool, str, tuple[str, ...]]
"""The arguments of `_figures`."""

ADVICE: list[Callable[[], str]] = []
"""Functions that return advice on workers that cannot be on the page, or an empty text. The texts are in `reason`."""

_heard: list[tuple[float, object, Census]] = []
"""The census that a peer sent last, if any: its time of arrival, the last reading of the group before, the census."""


def hear(group: object) -> None:
    """Use the census of the peer that asks for a page, instead of reading the group.

    For `?worker=all` every worker renders its page at the same time. If each of them read all segments of a large
    group for `pyvars.workers`, most pages would be late.
    """
    match group:
        case [int(live), int(dead), int(blocked), int(stopped), int(silent)]:
            latest = MEMBER._latest
            missing = latest[1].missing if latest is not None else {}
            _heard[:] = [(monotonic(), latest, Census(live, dead, blocked, stopped, silent, missing))]
        case _:
            pass


def census() -> Census:
    """The census of the group, from a reading that is under 100 ms old.

    The census that a peer sent is used if it is under 100 ms old, and this process has not read the group since.
    """
    for when, before, heard in _heard:
        if before is MEMBER._latest and monotonic() - when < REUSE_SECONDS:
            return heard
    return _census_of(MEMBER.latest() or NO_PEERS)


def _census_of(reading: GroupReading) -> Census:
    states = Counter(map(state_of, reading.live))
    blocked = states["blocked"] + is_blocked()
    return Census(len(reading.live), reading.dead_count, blocked, states["stopped"], states["silent"], reading.missing)


def figures_of(reading: GroupReading, error: str) -> dict[str, object]:
    """The figures of `pyvars.workers` for a page whose sums come from this reading of the group.

    `error` says why numbers of this process are private; empty if none are.
    """
    return _figures(*_known(_census_of(reading), error))


def _known(group: Census, error: str) -> "_Known":
    advice = [text for give in ADVICE if (text := give())]
    return group, MEMBER.reason, error, MEMBER.shared, why_no_threads(), tuple(advice)


class Workers:
    """The built-in variable `pyvars.workers`: figures about the workers whose numbers the page sums."""

    def __init__(self) -> None:
        self._cached: tuple[object, dict[str, object]] = None, {}

    def figures(self) -> dict[str, object]:
        """Returns the figures.

        live: the live workers of the group, with this one. retired: the workers that have died, whose counts are kept.
        blocked, stopped, silent: the live workers in these states (see membership.states). shared: whether the sums
        contain all numbers of all workers. threads: whether pyvars runs threads in this process; these answer peers and
        keep deadlines. reason: why `shared` or `threads` is false, and advice on workers that cannot be on the page;
        empty if there is neither.
        """
        known = _known(census(), MEMBER.error)
        if self._cached[0] != known:
            self._cached = known, _figures(*known)
        return self._cached[1]


def _figures(
    group: Census, reason: str, error: str, shared: bool, no_threads: str, advice: tuple[str, ...]
) -> dict[str, object]:
    reasons = [reason] if reason else []
    if error:
        reasons.append(f"some numbers are private to this process: {error}")
    reasons += sorted(f"{name}: {why}" for name, why in group.missing.items())[:4]
    about = [f"{no_threads}: functions have no deadline, every= does nothing"] if no_threads else []
    about += advice
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
