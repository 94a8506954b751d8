"""Reads the variables of one page into values, one by one. If one cannot be read, only its own value is null."""

import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, cast

from pyvars.collect.combined import PEER_VALUES
from pyvars.collect.functions import FUNCTIONS, INCOMPLETE, STALE, TIMEOUT, Job, failure
from pyvars.collect.layout import peer_value
from pyvars.collect.pieces import MAX_AT_ONCE, in_pieces
from pyvars.core.buckets import BoundsError
from pyvars.core.cells import NumberCell
from pyvars.core.clock import monotonic
from pyvars.core.functions import Func
from pyvars.core.variables import Composite, Float, Int, Var, Variable, is_pyvars_code
from pyvars.formats.json import Fragment, distinct, from_json, member, splice, text, to_json, valid_text
from pyvars.formats.user_values import encode, encode_user_value
from pyvars.runtime import Builtin
from pyvars.workers import Peers
from pyvars.workers.membership.peers import NestedSums, summed

__all__ = ("Branch", "ValueReader", "survey")

ASK_SECONDS = 0.1
"""The minimum time that peers have to answer with values of functions, even if the own functions took all the time."""
WORKERS = "pyvars.workers"
"""The label in `pyvars.errors` for sums in which numbers of workers are missing."""
_NOTHING: tuple[object, bytes] = None, b""


class Branch(NamedTuple):
    """A composite that may hold functions. Its members are values, Jobs and Branches: see `ValueReader.settled`."""

    members: Mapping[str, object]


class ValueReader:
    """Reads those variables of one page that are not cells, and collects the jobs and the errors. For one thread."""

    def __init__(self, peers: Peers | None, errors: dict[str, object]) -> None:
        self._peers = peers
        self._name = ""
        self.jobs: list[Job] = []
        """The functions that must run before `settled` is called."""
        self.unsettled: bool = False
        """Whether `read` has returned a Job or a Branch."""
        self.errors: dict[str, object] = errors
        """The entries of `pyvars.errors`, by label."""
        if peers is not None and not peers.whole:
            errors[WORKERS] = failure(INCOMPLETE) | ({"workers": peers.incomplete} if peers.incomplete else {})

    def read(self, name: str, var: Var) -> object:
        """Read a variable. Returns a value that JSON can hold, or a Job or Branch to be passed to `settled`."""
        self._name = name
        peers = self._peers
        if peers is None or not issubclass(type(var), Composite | NumberCell) or not peers.has(name):
            return self._read(name, var, (), None)
        keys = peers.plan.maps.get(name)
        if keys is not None and is_pyvars_code(type(var)) and isinstance(var, Composite):
            try:
                if var._inline:
                    return encode(var._merged({key: peers.sums[index] for key, index in keys.items()}))
            except (BoundsError, AttributeError) as error:  # a subclass did not call super().__init__()
                self.failed(name, error)
                return None
        return self._read(name, var, (), peers.numbers(name))

    def builtin(self, name: str, var: Builtin, kept: dict[str, tuple[object, bytes]]) -> bytes | None:
        """The encoded figures of a built-in in this process. If they cannot be read, returns None and notes an error.

        `kept` has by name the figures and their encoding, which is used again while the figures are the same object.
        """
        self._name = name
        try:
            shared = var.shared()
            known = kept.get(name, _NOTHING)
            if shared is not known[0]:
                known = kept[name] = shared, text(encode(shared))
        except Exception as exception:  # the program may have replaced functions from which the figures are read
            self.failed(name, exception)
            return None
        self.note_cut(name, var)
        return known[1]

    def _read(self, label: str, var: Var, within: tuple[Var, ...], from_peers: Any) -> object:
        kind = type(var)  # isinstance would read `__class__` of the object, which may run code of the program
        if is_pyvars_code(kind):
            own = cast("Variable", var)
            try:
                if own._inline and not from_peers:
                    return self._encoded(label, own)
                if isinstance(own, NumberCell):
                    return encode(summed(own.snapshot(), from_peers))
                children = own._children()
            except Exception as exception:  # a subclass did not call super().__init__()
                self.failed(label, exception)
                return None
            if children is not None:
                if any(var is outer for outer in within):
                    self.failed(label, RecursionError("a registry that holds itself"))
                    return None
                self.unsettled = True
                return self._branch(label, own, children, (*within, var), from_peers)
        self.unsettled = True
        job = Job(self._name, label, var)
        self.jobs.append(job)
        return job

    def _branch(
        self, label: str, own: Variable, children: Mapping[str, Var], within: tuple[Var, ...], from_peers: Any
    ) -> Branch | None:
        below = cast("NestedSums", from_peers if isinstance(from_peers, dict) else {})
        members: dict[str, object] = {}
        for key in in_pieces(sorted({*children, *below})):
            var, name = children.get(key), distinct(valid_text(key), members)
            if var is None:
                members[name] = peer_value(f"{label}.{name}", below[key], self.failed)
            elif type(var) in (Int, Float):
                members[name] = summed(var.snapshot(), below.get(key))
            else:
                members[name] = self._read(f"{label}.{name}", var, within, below.get(key))
        try:
            return Branch(cast("Composite", own)._merged(members) if below else members)
        except BoundsError as error:
            self.failed(label, error)
            return None

    def combine(self, deadline: float) -> None:
        """Ask the peers for the values of the functions with `combine`, and combine them with those of this process."""
        peers = self._peers
        jobs = [job for job in self.jobs if job.is_combined and job.value is not None]
        if peers is None or not jobs:
            return
        until = max(deadline, monotonic() + ASK_SECONDS)  # the functions of this process may have taken all the time
        answers = peers.values([job.label for job in jobs], until)
        for job in jobs:
            own = cast("Func", job.var)
            parts = PEER_VALUES.parts(peers.registry_key, job.label, answers[job.label])
            if parts.missing:
                job.value, job.error = None, {**failure(TIMEOUT), "workers": _pids(parts.missing)}
                continue
            ages = {**parts.ages, **({os.getpid(): job.error["age_seconds"]} if job.error is not None else {})}
            if ages:
                age = round(max(cast("dict[int, float]", ages).values()), 3)
                job.error = {**failure(STALE), "age_seconds": age, "workers": _pids(ages)}
            try:
                job.value = encode_user_value(own._combined([from_json(to_json(job.value)), *parts.values]))
            except Exception as exception:  # for example, JSON cannot hold the sum
                job.value, job.error = None, FUNCTIONS.caught(job.name, job.label, exception)

    def settled(self, data: object) -> object:
        """The value for `data`, a result of `read`, once the jobs have run."""
        if isinstance(data, Job):
            if data.error is not None:
                self.errors[valid_text(data.label)] = data.error
            return data.value
        if isinstance(data, Branch):
            return splice({key: self.settled(member) for key, member in data.members.items()})
        return data

    def encode_alone(self, name: str, data: object) -> object:
        """One value, encoded alone. If JSON cannot hold it, returns None and notes an error."""
        self._name = name
        try:
            return encode(member(data))
        except Exception as exception:
            self.failed(name, exception)
            return None

    def _encoded(self, label: str, var: Variable) -> Fragment:
        if not isinstance(var, Builtin):
            self.note_cut(label, var)
            return encode(var.snapshot())
        decided = self._peers.decided(var.target) if self._peers is not None else None
        # If it raises, the variable is null: sums without this process would be too small.
        own = encode(var.shared() if decided is None else decided)
        self.note_cut(label, var)
        rows = self._peers.figures(var.target) if self._peers is not None else []
        if len(rows) > 1:
            try:
                return encode(var._combined(rows))
            except Exception as exception:  # the figures of a peer may be malformed
                self.failed(label, exception)
        return own

    def note_cut(self, label: str, var: Variable) -> None:
        """Note an error if a text of the variable is cut, and one for each figure of a built-in that is missing."""
        if getattr(var, "truncated", False):
            self.errors[valid_text(label)] = FUNCTIONS.cut(label)
        if isinstance(var, Builtin):
            for figure, exception in var.missing.items():
                self.errors[valid_text(f"{label}.{figure}")] = FUNCTIONS.missing(label, exception)

    def failed(self, label: str, exception: Exception) -> None:
        """Note in the errors why the variable with this label is null, and log it."""
        self.errors[valid_text(label)] = FUNCTIONS.caught(self._name or label, label, exception)


def _pids(pids: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(pids)))


def survey(variables: Iterable[tuple[str, Var]]) -> tuple[list[Job], bool]:
    """The functions that reading the variables calls; and whether reading the rest would block an event loop too long.

    That is so if there are more than MAX_AT_ONCE variables, including those in Maps and registries: then no functions
    are returned. It is also so if a function with `every` has not been called yet, for which a page waits.
    """
    jobs: list[Job] = []
    waiting, found = [(name, name, var) for name, var in variables], 0
    while waiting:
        name, label, var = waiting.pop()
        children: Mapping[str, Var] | None = None
        inline = False
        if type(var) is not Func and is_pyvars_code(type(var)):
            own = cast("Variable", var)
            try:
                children, inline = own._children(), own._inline
            except Exception:  # a subclass did not call super().__init__()
                continue
        if children is None and not inline:
            jobs.append(Job(name, label, var))
        found += 1 + (len(children or ()) if inline else 0)
        if found > MAX_AT_ONCE:
            return [], True
        if not inline:
            waiting += [(name, f"{label}.{key}", child) for key, child in (children or {}).items()]
    return jobs, FUNCTIONS.background.may_wait(job.periodic for job in jobs if job.periodic is not None)
