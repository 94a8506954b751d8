"""The numbers and figures of the peers of this process, for a page."""

import os
from collections.abc import Container, Sequence
from functools import cached_property
from typing import Any, TypeAlias, cast

from pyvars.core.clock import monotonic
from pyvars.formats.json import from_json, to_json
from pyvars.runtime import BUILTINS, kept
from pyvars.workers.asking.wire import MAX_QUESTION_BYTES, Question
from pyvars.workers.membership.census import figures_of
from pyvars.workers.membership.member import Member
from pyvars.workers.numbers.group_reading import GroupReading
from pyvars.workers.numbers.layout import Path, SegmentLayout
from pyvars.workers.numbers.plan import Plan, Source, plan_for
from pyvars.workers.numbers.sums import Addends, Sums, number, total

__all__ = ("MARGIN_SECONDS", "Distribution", "Peers", "NestedSums", "seconds_until", "summed")

MARGIN_SECONDS = 0.02
"""The time before its deadline at which a request stops waiting for peers."""
_MAX_PIDS = 100
"""The maximum number of pids in `incomplete`."""

NestedSums: TypeAlias = "dict[str, Any]"
"""Sums by name, and within a composite by key: the Addends of a number, or the NestedSums of a composite."""


class Distribution(dict[str, Any]):
    """The NestedSums of a Histogram."""


class Peers:
    """The numbers and figures of the group for one page of the registry with this key, all from one reading."""

    def __init__(self, member: Member, reading: GroupReading, registry_key: str, own: Source) -> None:
        self._member = member
        self._reading = reading
        self.registry_key: str = registry_key
        """The key of the registry in the group (see `Member.registry_key`)."""
        self._own = own.layout
        self._error = member.error
        live = [Source(peer.layout, peer.ints, peer.floats, True) for peer in reading.live]
        dead = [peer for peer in reading.peers if not peer.alive] + ([reading.retired] if reading.retired else [])
        sources = [own, *live, *(Source(peer.layout, peer.ints, peer.floats, False) for peer in dead)]
        self.plan: Plan = plan_for(registry_key, sources)
        self.sums: list[float] = self.plan.sums(sources)
        """The sums over all workers, including this one, at the indexes in the plan."""

    @property
    def incomplete(self) -> str:
        """The pids of up to 100 workers whose numbers are missing in sums, as a text; empty if none are missing.

        This process is among them if some of its numbers are private: the sums of its peers lack those numbers.
        """
        own = {os.getpid()} if self._error else set[int]()
        return ", ".join(map(str, sorted(self._reading.incomplete_pids | own)[:_MAX_PIDS]))

    @property
    def starts(self) -> dict[int, int]:
        """When the live peers started, in clock ticks since boot, by pid."""
        return {peer.pid: peer.start for peer in self._reading.live}

    @property
    def whole(self) -> bool:
        """Whether the sums that each worker computes contain the numbers of all workers."""
        return not self._reading.missing and not self._error

    def decided(self, target: str) -> object:
        """The figures of `pyvars.workers`, made from this reading; None for any other built-in variable.

        `target` is the import string of the variable. The variable itself might use a later reading than the sums.
        """
        return figures_of(self._reading, self._error) if target == BUILTINS["pyvars.workers"] else None

    @cached_property
    def _nested(self) -> NestedSums:
        histograms = {path for layout in (self._own, *self._of_others) for path in layout.histograms}
        return _nested(total(self._reading.peers, self._reading.retired, self._own), self.registry_key, histograms)

    @cached_property
    def _of_others(self) -> list[SegmentLayout]:
        """The layouts of the peers, live and dead, and of the retired file."""
        retired = [self._reading.retired] if self._reading.retired else []
        return [each.layout for each in (*self._reading.peers, *retired)]

    def numbers(self, name: str) -> object:
        """The sums of the peers under a name, without this process: Addends or NestedSums; None if no peer has any."""
        return self._nested.get(name) if self.has(name) else None

    def has(self, name: str) -> bool:
        """Whether any worker, this one included, has numbers under the name."""
        return name in self.plan.scalars or name in self.plan.maps or name in self.plan.irregular

    @cached_property
    def _gauges(self) -> set[Path]:
        found: set[Path] = set()
        for peer in self._reading.live:
            numbers = zip((peer.layout.ints, peer.layout.floats), peer.layout.counts, strict=True)
            found.update(*({*each.paths}.difference(counts.paths) for each, counts in numbers))
        return found

    def is_gauge(self, path: Path) -> bool:
        """Whether a live peer has a gauge at the path, which is a name and the keys below it."""
        return (self.registry_key, *path) in self._gauges

    def is_map(self, path: Path) -> bool:
        """Whether a peer, live or dead, has a Map or Histogram at the path, which is a name and the keys below it."""
        return any((self.registry_key, *path) in layout.maps for layout in self._of_others)

    @property
    def names(self) -> set[str]:
        """The names under which any worker, this one included, has numbers."""
        return {*self.plan.scalars, *self.plan.maps, *self.plan.irregular}

    def figures(self, target: str) -> list[object]:
        """The figures of a built-in variable, given by its import string, in each worker; empty if this one has none.

        The figures of this process come first, then those of each live peer, then those that are kept of dead workers.
        """
        own = self._member.own.figures(target) if self._member.own is not None else None
        others = [peer.figures[target] for peer in self._reading.live if target in peer.figures]
        dead = [self._figures_of_dead[target]] if target in self._figures_of_dead else []
        return [own, *others, *dead] if own is not None else []

    @cached_property
    def _figures_of_dead(self) -> dict[str, object]:
        """The figures that are kept of dead workers, by the import string of the built-in variable."""
        dead = [peer.figures for peer in self._reading.peers if not peer.alive]
        retired = [self._reading.retired.figures] if self._reading.retired else []
        try:
            return kept([*retired, *dead]) if dead else {**retired[0]} if retired else {}
        except Exception:  # the dead workers may have written anything
            return {}

    def values(self, names: Sequence[str], deadline: float) -> dict[str, dict[int, tuple[object, float] | None]]:
        """The values of functions in live peers by name and pid, each with its age in seconds, 0 if it is current.

        A value is None if the peer did not answer by the deadline (on the clock of time.monotonic), or if its function
        returned no value in time. A peer that does not publish the name is left out.
        """
        question: Question = {
            "ask": "values",
            "registry": self.registry_key,
            "names": names,
            "seconds": seconds_until(deadline),
        }
        if len(to_json(question)) > MAX_QUESTION_BYTES:
            del question["names"]  # then peers send the values of all functions with `combine`
        answers = self._member.ask(question, deadline, [peer.pid for peer in self._reading.live], False)
        values: dict[str, dict[int, tuple[object, float] | None]] = {name: {} for name in names}
        for pid, answer in answers.items():
            reply = _parsed(answer)
            found = cast("dict[str, object]", reply) if isinstance(reply, dict) else dict.fromkeys(names)
            for name in names:
                value = found.get(name, [])  # [value] or [value, age]; null if there is no value; [] if not published
                if not isinstance(value, list):
                    values[name][pid] = None
                elif value:
                    of_peer = cast("list[object]", value)
                    age = of_peer[1] if len(of_peer) > 1 else 0.0
                    values[name][pid] = of_peer[0], age if isinstance(age, int | float) else 0.0
        return values


def seconds_until(deadline: float) -> float:
    """The seconds that a peer may take for an answer that is to arrive 20 ms before the deadline; at least 0."""
    return max(0.0, deadline - monotonic() - MARGIN_SECONDS)


def _parsed(text: bytes) -> object:
    try:
        return from_json(text)
    except ValueError:
        return None


def _nested(sums: Sums, registry_key: str, histograms: Container[Path]) -> NestedSums:
    tree: NestedSums = {}
    for path, addends in sums.items():
        if path[0] != registry_key:
            continue
        if len(path) == 2:
            tree[path[1]] = addends
            continue
        branch: NestedSums = tree
        for depth, key in enumerate(path[1:-1], 2):
            below = branch.get(key)
            if not isinstance(below, dict):  # another worker has a number here, but a composite takes precedence
                new: NestedSums = Distribution() if path[:depth] in histograms else {}
                below = branch[key] = new
            branch = cast("NestedSums", below)
        branch[path[-1]] = addends
    return tree


def summed(own: object, others: object) -> object:
    """The sum of a number of this process and of those of its peers; `own` as it is if one of the two is no number."""
    if isinstance(own, int | float) and isinstance(others, int | tuple):
        return number(own, cast("Addends", others))
    return own
