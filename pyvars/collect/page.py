"""Reads a registry into a page. The fast path writes all plain numbers at once; the contained path goes one by one."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, cast
from weakref import WeakKeyDictionary

from pyvars.collect.functions import FUNCTIONS, TIMEOUT, Job, failure
from pyvars.collect.layout import PageLayout, lay_out, ordered, peer_value, with_peers
from pyvars.core.cells import NumberCell
from pyvars.core.functions import Func
from pyvars.core.registry import Registry
from pyvars.core.variables import Composite, Float, Int, Var, Variable, is_pyvars_code
from pyvars.formats.json import (
    Fragment,
    distinct,
    document,
    encode,
    encode_user_value,
    member,
    parsed,
    plain,
    splice,
    text,
    valid_text,
    value,
)
from pyvars.runtime import Builtin
from pyvars.workers import Peers
from pyvars.workers.membership.peers import NestedSums, summed

__all__ = ("ERRORS", "Pages", "render_one", "runs_code")

ERRORS = "pyvars.errors"


class Pages:
    """Renders a registry. What can be known before a request is kept until a publish or delete. Thread-safe."""

    def __init__(self) -> None:
        self._layouts: WeakKeyDictionary[Registry, PageLayout] = WeakKeyDictionary()

    def may_block(self, registry: Registry, prefixes: tuple[str, ...]) -> bool:
        """Whether the page runs functions of the program."""
        return any(runs_code(var) for _, _, var in self._layout(registry, prefixes).user_code)

    def render(
        self, registry: Registry, prefixes: tuple[str, ...], deadline: float, peers: Peers | None = None
    ) -> bytes:
        """The page of the variables whose names begin with one of `prefixes`, or of all if there are none.

        It is of this process alone, or with what its peers add.
        """
        layout, values, more, errors = self._read(registry, prefixes, deadline, peers)
        if not more and not errors:
            try:
                return layout.lines.document(values)
            except Exception:  # a value is more than JSON can hold, or of a subclass that forgot to initialise it
                pass
        members = dict(zip(layout.names, values, strict=True))
        reader = Reader(None, errors)
        contained = {name: reader.contained(name, data) for name, data in {**members, **more}.items()}
        if errors:
            contained[ERRORS] = splice(ordered(errors))
        return document(ordered(contained) if more or errors else contained)

    def render_errors(self, registry: Registry, deadline: float, peers: Peers | None = None) -> bytes:
        """What `pyvars.errors` on the page holds, empty if it is not there."""
        return value(ordered(self._read(registry, (), deadline, peers)[3]))

    def values(self, registry: Registry, labels: Collection[str], deadline: float) -> bytes:
        """The values of the functions with these labels that there are, and that return in time."""
        reader = Reader(None, {})
        for _, name, var in self._layout(registry, ()).others:
            if any(label == name or label.startswith(f"{name}.") for label in labels):
                reader.read(name, var)
        jobs = [job for job in reader.jobs if job.label in labels]
        FUNCTIONS.run(jobs, deadline)
        return value({job.label: None if job.value is None else [job.value] for job in jobs})

    def _read(
        self, registry: Registry, prefixes: tuple[str, ...], deadline: float, peers: Peers | None
    ) -> tuple[PageLayout, list[object], dict[str, object], dict[str, object]]:
        """The layout and its values, what only peers have by name, and what went wrong."""
        layout = self._layout(registry, prefixes)
        values = layout.cells.copy()
        reader = Reader(peers, {})
        if peers is None:
            more, others = {}, layout.user_code
            _put_builtins(values, layout)
        else:
            more, others = with_peers(values, layout, peers, prefixes), layout.others
        for place, name, var in others:
            values[place] = reader.read(name, var)
        FUNCTIONS.run(reader.jobs, deadline)
        if reader.unsettled:
            reader.combine(deadline)
            for place, _, _ in others:
                values[place] = reader.settled(values[place])
        return layout, values, more, reader.errors

    def _layout(self, registry: Registry, prefixes: tuple[str, ...]) -> PageLayout:
        layout = self._layouts.get(registry)
        if layout is None or layout.version is not registry._version:
            version = registry._version  # read first: a publish in between then makes this layout outdated, not wrong
            layout = self._layouts[registry] = lay_out(registry.items(), version)
        if prefixes:
            return lay_out(((name, var) for name, var in registry.items() if name.startswith(prefixes)), None)
        return layout


def render_one(label: str, var: Var | None, deadline: float, peers: Peers | None = None) -> bytes:
    """The bare value of one variable, which may be one that only peers have."""
    reader = Reader(peers, {})
    data = reader.read(label, var) if var is not None else peer_value(peers.numbers(label) if peers else None)
    FUNCTIONS.run(reader.jobs, deadline)
    reader.combine(deadline)
    return value(reader.settled(data))


_NOTHING: tuple[object, bytes] = None, b""


def _put_builtins(values: list[object], layout: PageLayout) -> None:
    """Put the figures of the built-ins in, as text."""
    kept = layout.kept
    for place, name, var in layout.builtins:
        shared = var.shared()
        known = kept.get(name, _NOTHING)
        if shared is not known[0]:
            known = kept[name] = shared, text(encode(shared))
        values[place] = known[1]


class Branch(NamedTuple):
    """A Map or registry that holds functions: its members are settled once these have run."""

    members: Mapping[str, object]


class Reader:
    """Reads the variables of one page that are more than a cell, and gathers what went wrong."""

    def __init__(self, peers: Peers | None, errors: dict[str, object]) -> None:
        self._peers = peers
        self._name = ""
        self.jobs: list[Job] = []
        self.unsettled: bool = False
        """Whether a Job or Branch was handed out."""
        self.errors: dict[str, object] = errors

    def read(self, name: str, var: Var) -> object:
        """What JSON can hold at once, or a Job or Branch that is to be settled."""
        self._name = name
        peers = self._peers
        if peers is None or not issubclass(type(var), Composite | NumberCell) or not peers.has(name):
            return self._read(name, var, (), None)
        keys = peers.plan.maps.get(name)
        if (
            keys is not None
            and is_pyvars_code(type(var))
            and isinstance(var, Composite)
            and not peers.has_private_numbers
        ):
            with suppress(AttributeError):  # of a subclass that forgot to initialise it
                if var._inline:
                    return encode(var._merged({key: peers.sums[index] for key, index in keys.items()}))
        return self._read(name, var, (), peers.numbers(name))

    def _read(self, label: str, var: Var, within: tuple[Var, ...], others: Any) -> object:
        kind = type(var)  # isinstance would ask the object itself, which is the program's
        if is_pyvars_code(kind):
            own = cast("Variable", var)
            try:
                if own._inline and not others:
                    return self._encoded(label, own)
                if isinstance(own, NumberCell):
                    return encode(summed(own.snapshot(), others))
                children = own._children()
            except Exception as exception:  # of a subclass that forgot to initialise it
                self._failed(label, exception)
                return None
            if children is not None:
                if any(var is outer for outer in within):
                    self._failed(label, RecursionError("a registry that holds itself"))
                    return None
                self.unsettled = True
                return self._branch(label, own, children, (*within, var), others)
        self.unsettled = True
        job = Job(self._name, label, var)
        self.jobs.append(job)
        return job

    def _branch(
        self, label: str, own: Variable, children: Mapping[str, Var], within: tuple[Var, ...], others: Any
    ) -> Branch:
        below = cast("NestedSums", others if isinstance(others, dict) else {})
        members: dict[str, object] = {}
        for key in sorted({*children, *below}):
            var, name = children.get(key), distinct(valid_text(key), members)
            if var is None:
                members[name] = peer_value(below[key])
            elif type(var) in (Int, Float):
                members[name] = summed(var.snapshot(), below.get(key))
            else:
                members[name] = self._read(f"{label}.{key}", var, within, below.get(key))
        return Branch(cast("Composite", own)._merged(members) if below else members)

    def combine(self, deadline: float) -> None:
        """Question the peers for the values of functions that say how these combine."""
        peers = self._peers
        jobs = [job for job in self.jobs if getattr(job.var, "combine", None) is not None and job.value is not None]
        if peers is None or not jobs:
            return
        values, missing = peers.values([job.label for job in jobs], deadline)
        for job in jobs:
            own = cast("Func", job.var)
            try:
                job.value = encode_user_value(own._combined([parsed(plain(job.value)), *values[job.label]]))
            except Exception as exception:  # together they are more than JSON can hold, say
                job.value = None
                self._failed(job.label, exception)
                continue
            if missing:
                pids = ", ".join(map(str, sorted(missing)))
                self.errors[valid_text(job.label)] = {**failure(TIMEOUT), "workers": pids}

    def settled(self, data: object) -> object:
        """`data` once the jobs have run."""
        if isinstance(data, Job):
            if data.error is not None:
                self.errors[valid_text(data.label)] = data.error
            return data.value
        if isinstance(data, Branch):
            return splice({key: self.settled(member) for key, member in data.members.items()})
        return data

    def contained(self, name: str, data: object) -> object:
        """A value that may be the one which broke the page, alone."""
        self._name = name
        try:
            return encode(member(data))
        except Exception as exception:
            self._failed(name, exception)
            return None

    def _encoded(self, label: str, var: Variable) -> Fragment | None:
        rows = self._peers.figures(var.target) if self._peers is not None and isinstance(var, Builtin) else []
        if len(rows) > 1:
            try:
                return encode(var._combined(rows))
            except Exception as exception:  # a peer's figures may be anything
                self._failed(label, exception)
        return encode(var.snapshot())

    def _failed(self, label: str, exception: Exception) -> None:
        self.errors[valid_text(label)] = FUNCTIONS.caught(self._name, label, exception)


def runs_code(var: Var, depth: int = 0) -> bool:
    """Whether reading the variable runs functions of the program."""
    if not is_pyvars_code(type(var)):
        return True
    own = cast("Variable", var)
    try:
        if own._inline:
            return False
        children = own._children()
    except Exception:  # of a subclass that forgot to initialise it
        return False
    return children is None or depth > 32 or any(runs_code(child, depth + 1) for child in children.values())
