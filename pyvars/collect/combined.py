"""The values of a function in several workers. If a worker does not answer, its last value counts, up to 10 s old."""

from collections.abc import Mapping
from typing import NamedTuple

from pyvars.collect.functions import MAX_AGE_SECONDS
from pyvars.core import resources
from pyvars.core.clock import monotonic

__all__ = ("PEER_VALUES", "Parts", "PeerValues")

MAX_KEPT = 10_000
"""The maximum number of values that are kept, of all functions and peers together."""


class Parts(NamedTuple):
    """The values of one function in the peers."""

    values: list[object]
    ages: dict[int, float]
    """The ages in seconds of the values that are not current, by pid."""
    missing: list[int]
    """The pids of the peers that have no value, or only an older one."""


class PeerValues:
    """Keeps the last value of each function in each peer. Thread-safe; a forked child begins without any."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the values, in a forked child."""
        self._kept: dict[tuple[str, str, int], tuple[object, float]] = {}  # the value, and when it was current

    def parts(self, registry_key: str, label: str, found: Mapping[int, tuple[object, float] | None]) -> Parts:
        """The value of each peer: the one that it has answered now, or else its last one, if that is up to 10 s old.

        `found` has the answers of the peers by pid: a value and its age in seconds, or None.
        """
        parts, moment = Parts([], {}, []), monotonic()
        for pid, answered in found.items():
            key = registry_key, label, pid
            if answered is not None:
                self._kept.pop(key, None)
                self._kept[key] = answered[0], moment - answered[1]
            value, at = self._kept.get(key, (None, 0.0))
            if moment - at > MAX_AGE_SECONDS:
                parts.missing.append(pid)
                continue
            parts.values.append(value)
            if moment > at:
                parts.ages[pid] = moment - at
        for key in list(self._kept)[: max(0, len(self._kept) - MAX_KEPT)]:
            self._kept.pop(key, None)
        return parts


PEER_VALUES: PeerValues = PeerValues()
"""The PeerValues of this process."""

resources.hold(__name__, "values of functions in peers", in_child=PEER_VALUES.reset)
