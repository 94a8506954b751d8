"""Combines the values of a function in several workers; for a worker that does not answer its last value is used."""

from collections.abc import Mapping
from typing import NamedTuple

from pyvars.collect.functions import MAX_AGE_SECONDS
from pyvars.core import resources
from pyvars.core.clock import monotonic

__all__ = ("PEER_VALUES", "Parts", "PeerValues")

MAX_KEPT = 10_000
"""How many values of peers are kept, of all functions and peers together."""


class Parts(NamedTuple):
    """The values of one function in the peers."""

    values: list[object]
    ages: dict[int, float]
    """The ages in seconds of the values that are not current, by pid."""
    missing: list[int]
    """The pids of the peers that have no value."""


class PeerValues:
    """The last value of each function in each peer. Thread-safe."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget them: a forked child asks anew."""
        self._kept: dict[tuple[str, str, int], tuple[object, float]] = {}  # the value, and when it was current

    def parts(self, registry_key: str, label: str, found: Mapping[int, tuple[object, float] | None]) -> Parts:
        """The values that peers answered with, and for those that gave none their last values of up to 10 s ago."""
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
"""Those of this process."""

resources.hold(__name__, "values of functions in peers", in_child=PEER_VALUES.reset)
