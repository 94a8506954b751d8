"""Reads a registry into a page (/debug/vars), or one variable into its value.

The fast path encodes all values at once. If a value breaks it, or the page also has errors or variables that only peers
have, each value is encoded alone.
"""

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
    from_json,
    member,
    splice,
    text,
    to_json,
    valid_text,
    value,
)
from pyvars.runtime import Builtin
from pyvars.workers import Peers
from pyvars.workers.membership.peers import NestedSums, summed

__all__ = ("ERRORS", "Pages", "render_one", "runs_code")

ERRORS = "pyvars.errors"
"""The member of the page that says why values are null."""


class Pages:
    """Renders the pages of registries. Page layouts are kept until a publish or delete. Thread-safe."""

    def __init__(self) -> None:
        self._layouts: WeakKeyDictionary[Registry, PageLayout] = WeakKeyDictionary()

    def may_block(self, registry: Registry, prefixes: tuple[str, ...]) -> bool:
        """Whether the page runs code of the program, which may block."""
        return any(runs_code(var) for _, _, var in self._layout(registry, prefixes).user_code)

    def render(
        self, registry: Registry, prefixes: tuple[str, ...], deadline: float, peers: Peers | None = None
    ) -> bytes:
        """The page of the variables whose names begin with one of `prefixes`, or of all if there are none.

        It shows the numbers of this process alone, or with `peers` those of all workers.
        """
        layout, values, more, errors = self._read(registry, prefixes, deadline, peers)
        if not more and not errors:
            try:
                return layout.lines.document(values)
            except Exception:  # JSON cannot hold a value; or a subclass did not call super().__init__()
                pass
        members = dict(zip(layout.names, values, strict=True))
        reader = Reader(None, errors)
        contained = {name: reader.encode_alone(name, data) for name, data in {**members, **more}.items()}
        if errors:
            contained[ERRORS] = splice(ordered(errors))
        return document(ordered(contained) if more or errors else contained)

    def render_errors(self, registry: Registry, deadline: float, peers: Peers | None = None) -> bytes:
        """`pyvars.errors` of the page, as JSON; an empty object if there are no errors."""
        return value(ordered(self._read(registry, (), deadline, peers)[3]))

    def values(self, registry: Registry, labels: Collection[str], deadline: float) -> bytes:
        """The values of the functions with these labels, as JSON: a value in a list, or null if there is none."""
        reader = Reader(None, {})
        for _, name, var in self._layout(registry, ()).not_cells:
            if any(label == name or label.startswith(f"{name}.") for label in labels):
                reader.read(name, var)
        jobs = [job for job in reader.jobs if job.label in labels]
        FUNCTIONS.run(jobs, deadline)
        return value({job.label: None if job.value is None else [job.value] for job in jobs})

    def _read(
        self, registry: Registry, prefixes: tuple[str, ...], deadline: float, peers: Peers | None
    ) -> tuple[PageLayout, list[object], dict[str, object], dict[str, object]]:
        """The page layout, its values, the values that only peers have by name, and the errors by label."""
        layout = self._layout(registry, prefixes)
        values = layout.cells.copy()
        reader = Reader(peers, {})
        if peers is None:
            more, rest = {}, layout.user_code
            _put_builtins(values, layout)
        else:
            more, rest = with_peers(values, layout, peers, prefixes), layout.not_cells
        for place, name, var in rest:
            values[place] = reader.read(name, var)
        FUNCTIONS.run(reader.jobs, deadline)
        if reader.unsettled:
            reader.combine(deadline)
            for place, _, _ in rest:
                values[place] = reader.settled(values[place])
        return layout, values, more, reader.errors

    def _layout(self, registry: Registry, prefixes: tuple[str, ...]) -> PageLayout:
        layout = self._layouts.get(registry)
        if layout is None or layout.version is not registry._version:
            version = registry._version  # read first: a publish meanwhile then makes this layout outdated, not wrong
            layout = self._layouts[registry] = lay_out(registry.items(), version)
        if prefixes:
            return lay_out(((name, var) for name, var in registry.items() if name.startswith(prefixes)), None)
        return layout


def render_one(label: str, var: Var | None, deadline: float, peers: Peers | None = None) -> bytes:
    """The value of one variable as JSON; with `var` None, of a variable that only peers have."""
    reader = Reader(peers, {})
    data = reader.read(label, var) if var is not None else peer_value(peers.numbers(label) if peers else None)
    FUNCTIONS.run(reader.jobs, deadline)
    reader.combine(deadline)
    return value(reader.settled(data))


_NOTHING: tuple[object, bytes] = None, b""


def _put_builtins(values: list[object], layout: PageLayout) -> None:
    """Put the encoded figures of the built-ins into `values`."""
    kept = layout.kept
    for place, name, var in layout.builtins:
        shared = var.shared()
        known = kept.get(name, _NOTHING)
        if shared is not known[0]:
            known = kept[name] = shared, text(encode(shared))
        values[place] = known[1]


class Branch(NamedTuple):
    """A composite that may hold functions: its members are settled once these have run."""

    members: Mapping[str, object]


class Reader:
    """Reads the variables of one page that are more than a cell, and collects the jobs and the errors."""

    def __init__(self, peers: Peers | None, errors: dict[str, object]) -> None:
        self._peers = peers
        self._name = ""
        self.jobs: list[Job] = []
        """The functions to run before `settled`."""
        self.unsettled: bool = False
        """Whether `read` returned a Job or Branch."""
        self.errors: dict[str, object] = errors
        """The entries of `pyvars.errors`, by label."""

    def read(self, name: str, var: Var) -> object:
        """The value of a variable: one that JSON can hold, or a Job or Branch for `settled`."""
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
            with suppress(AttributeError):  # a subclass did not call super().__init__()
                if var._inline:
                    return encode(var._merged({key: peers.sums[index] for key, index in keys.items()}))
        return self._read(name, var, (), peers.numbers(name))

    def _read(self, label: str, var: Var, within: tuple[Var, ...], from_peers: Any) -> object:
        kind = type(var)  # isinstance would ask the object for __class__, which may be code of the program
        if is_pyvars_code(kind):
            own = cast("Variable", var)
            try:
                if own._inline and not from_peers:
                    return self._encoded(label, own)
                if isinstance(own, NumberCell):
                    return encode(summed(own.snapshot(), from_peers))
                children = own._children()
            except Exception as exception:  # a subclass did not call super().__init__()
                self._failed(label, exception)
                return None
            if children is not None:
                if any(var is outer for outer in within):
                    self._failed(label, RecursionError("a registry that holds itself"))
                    return None
                self.unsettled = True
                return self._branch(label, own, children, (*within, var), from_peers)
        self.unsettled = True
        job = Job(self._name, label, var)
        self.jobs.append(job)
        return job

    def _branch(
        self, label: str, own: Variable, children: Mapping[str, Var], within: tuple[Var, ...], from_peers: Any
    ) -> Branch:
        below = cast("NestedSums", from_peers if isinstance(from_peers, dict) else {})
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
        """Combine the values of the functions with `combine` with those of the peers, which are asked for them."""
        peers = self._peers
        jobs = [job for job in self.jobs if getattr(job.var, "combine", None) is not None and job.value is not None]
        if peers is None or not jobs:
            return
        values, missing = peers.values([job.label for job in jobs], deadline)
        for job in jobs:
            own = cast("Func", job.var)
            try:
                job.value = encode_user_value(own._combined([from_json(to_json(job.value)), *values[job.label]]))
            except Exception as exception:  # for example, JSON cannot hold the sum
                job.value = None
                self._failed(job.label, exception)
                continue
            if missing:
                pids = ", ".join(map(str, sorted(missing)))
                self.errors[valid_text(job.label)] = {**failure(TIMEOUT), "workers": pids}

    def settled(self, data: object) -> object:
        """The value for `data`, which `read` returned, once the jobs have run."""
        if isinstance(data, Job):
            if data.error is not None:
                self.errors[valid_text(data.label)] = data.error
            return data.value
        if isinstance(data, Branch):
            return splice({key: self.settled(member) for key, member in data.members.items()})
        return data

    def encode_alone(self, name: str, data: object) -> object:
        """One value encoded alone, since it may be the one that broke the fast path; None, and an error, if it is."""
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
            except Exception as exception:  # the figures of a peer may be anything
                self._failed(label, exception)
        return encode(var.snapshot())

    def _failed(self, label: str, exception: Exception) -> None:
        self.errors[valid_text(label)] = FUNCTIONS.caught(self._name, label, exception)


def runs_code(var: Var, depth: int = 0) -> bool:
    """Whether reading the variable runs code of the program."""
    if not is_pyvars_code(type(var)):
        return True
    own = cast("Variable", var)
    try:
        if own._inline:
            return False
        children = own._children()
    except Exception:  # a subclass did not call super().__init__()
        return False
    return children is None or depth > 32 or any(runs_code(child, depth + 1) for child in children.values())
