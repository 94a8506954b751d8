"""Reads a registry into a page (/debug/vars), or one variable into its value.

The fast path encodes all values at once. If that fails because of a value, or if only peers have many of the variables,
each value is encoded alone.
"""

from collections.abc import Callable, Iterable
from typing import cast
from weakref import WeakKeyDictionary, WeakSet

from pyvars.collect.functions import FUNCTIONS, Job, Times
from pyvars.collect.layout import PageLayout, lay_out, ordered, part_of, peer_value, peers_only, with_peers
from pyvars.collect.pieces import MAX_AT_ONCE, in_pieces
from pyvars.collect.values import ValueReader, survey
from pyvars.core.names import prefixes as prefixes_of
from pyvars.core.registry import Registry
from pyvars.core.variables import Var
from pyvars.formats.json import (
    document,
    from_json,
    splice,
    value,
)
from pyvars.workers import Peers

__all__ = ("ERRORS", "Pages", "render_one")

ERRORS = "pyvars.errors"
"""The member of the page that says why values are null, stale or cut."""
MAX_INSERTED = 100
"""If only peers have more variables than this, the page is not made on the fast path."""
LARGE_BYTES = 256 * 1024
"""If a page is larger (256 KiB), the next pages of that registry are not rendered on an event loop."""


class Pages:
    """Renders the pages of registries. Keeps their page layouts until a publish or delete. Thread-safe."""

    def __init__(self) -> None:
        self._layouts: WeakKeyDictionary[Registry, PageLayout] = WeakKeyDictionary()
        self._large: WeakSet[Registry] = WeakSet()

    def survey(self, registry: Registry, prefixes: tuple[str, ...]) -> tuple[list[Job], bool]:
        """The functions to call for the page; and whether the rest of the page takes too long for an event loop."""
        if len(registry) > MAX_AT_ONCE or registry in self._large:
            return [], True
        return survey((name, var) for _, name, var in self._selected(registry, prefixes)[1].user_code)

    def render(
        self, registry: Registry, prefixes: tuple[str, ...], deadline: float, peers: Peers | None = None
    ) -> bytes:
        """The page of the variables whose names begin with one of `prefixes`; of all variables if there are none.

        It shows the numbers of this process alone, or with `peers` the sums over all workers. The deadline is on the
        clock of time.monotonic.
        """
        body = self._render(*self._read(registry, prefixes, deadline, peers))
        if len(body) > LARGE_BYTES:
            self._large.add(registry)
        elif not prefixes:
            self._large.discard(registry)
        return body

    def sample(
        self, registry: Registry, deadline: float, peers: Peers | None, run: Callable[[list[Job]], None]
    ) -> dict[str, object]:
        """The page as plain data, for a sample. `run` runs the functions; those that it gives no value are None."""
        layout, values, more, _ = self._read(registry, (), deadline, peers, run)
        return cast("dict[str, object]", from_json(self._render(layout, values, more, {})))

    def _render(
        self, layout: PageLayout, values: list[object], more: dict[str, object], errors: dict[str, object]
    ) -> bytes:
        if len(more) <= MAX_INSERTED:
            try:
                return layout.lines.document(values, {**more, ERRORS: splice(ordered(errors))} if errors else more)
            except Exception:  # JSON cannot hold a value; or a subclass did not call super().__init__()
                pass
        members = dict(zip(layout.names, values, strict=True))
        reader = ValueReader(None, errors)
        contained = {name: reader.encode_alone(name, data) for name, data in in_pieces({**members, **more}.items())}
        if errors:
            contained[ERRORS] = splice(ordered(errors))
        return document(ordered(contained) if more or errors else contained)

    def render_errors(self, registry: Registry, deadline: float, peers: Peers | None = None) -> bytes:
        """`pyvars.errors` of the page, as JSON; an empty object if there are no errors."""
        return value(ordered(self._read(registry, (), deadline, peers)[3]))

    def values(self, registry: Registry, labels: Iterable[str] | None, deadline: float) -> bytes:
        """The values of the functions with these labels, as JSON by label: [value], or [value, age] if stale, or null.

        None stands for all functions with `combine`. A function that this process does not publish is left out.
        """
        reader = ValueReader(None, {})
        wanted = {*labels} if labels is not None else None
        heads = {head for label in wanted or () for head in (label, *prefixes_of(label))}
        for _, name, var in self._layout(registry).not_cells:
            if wanted is None or name in heads:
                reader.read(name, var)
        jobs = [job for job in reader.jobs if (job.is_combined if wanted is None else job.label in wanted)]
        FUNCTIONS.run(jobs, Times.of_question(deadline))
        return value({job.label: None if job.value is None else [job.value, *_age(job)] for job in jobs})

    def _read(
        self,
        registry: Registry,
        prefixes: tuple[str, ...],
        deadline: float,
        peers: Peers | None,
        run: Callable[[list[Job]], None] | None = None,
    ) -> tuple[PageLayout, list[object], dict[str, object], dict[str, object]]:
        """The page layout and its values; by name, the values that only peers have; and the errors by label."""
        whole, layout = self._selected(registry, prefixes)
        values = layout.cells.copy()
        reader = ValueReader(peers, {})
        for _, name, string in layout.strings:
            reader.note_cut(name, string)
        if peers is None:
            more, rest = {}, layout.user_code
            for place, name, builtin in layout.builtins:
                values[place] = reader.builtin(name, builtin, layout.kept)
        else:
            with_peers(values, layout, peers)
            more, rest = peers_only(whole, peers, prefixes, reader.failed), layout.not_cells
        for place, name, var in rest:
            values[place] = reader.read(name, var)
        if run is not None:
            run(reader.jobs)
        else:
            FUNCTIONS.run(reader.jobs, Times.of_request(deadline))
        if reader.unsettled:
            reader.combine(deadline)
            for place, _, _ in rest:
                values[place] = reader.settled(values[place])
        return layout, values, more, reader.errors

    def _selected(self, registry: Registry, prefixes: tuple[str, ...]) -> tuple[PageLayout, PageLayout]:
        """The layout of the whole page, and the layout of the part that `prefixes` select."""
        whole = self._layout(registry)
        if not prefixes:
            return whole, whole
        for selected, part in whole.latest_part:
            if selected == prefixes:
                return whole, part
        part = part_of(whole, prefixes)
        whole.latest_part[:] = [(prefixes, part)]  # a client usually asks for the same names each time
        return whole, part

    def _layout(self, registry: Registry) -> PageLayout:
        layout = self._layouts.get(registry)
        if layout is None or layout.version is not registry._version:
            version = registry._version  # read first: after a publish meanwhile, this layout counts as outdated
            layout = self._layouts[registry] = lay_out(registry.items(), version)
        return layout


def _age(job: Job) -> list[object]:
    """The age in seconds of a value that is stale, as a list; empty if it is current."""
    return [job.error["age_seconds"]] if job.error is not None else []


def render_one(label: str, var: Var | None, deadline: float, peers: Peers | None = None) -> bytes:
    """The value of one variable, as JSON; if `var` is None, of a variable that only peers have."""
    reader = ValueReader(peers, {})
    data = (
        reader.read(label, var)
        if var is not None
        else peer_value(label, peers.numbers(label) if peers else None, reader.failed)
    )
    FUNCTIONS.run(reader.jobs, Times.of_request(deadline))
    reader.combine(deadline)
    return value(reader.settled(data))
