"""The page layout: the place of each variable of a registry on the page, and how it is read.

A page layout is kept until a variable is published or deleted.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

from pyvars.collect.pieces import in_pieces
from pyvars.core.buckets import BoundsError, summary_of
from pyvars.core.cells import Cell, NumberCell
from pyvars.core.variables import String, Var, is_pyvars_code
from pyvars.formats.json import Lines, distinct, splice, valid_text
from pyvars.runtime import Builtin
from pyvars.workers import Peers
from pyvars.workers.membership.peers import Distribution, NestedSums, summed
from pyvars.workers.numbers.plan import Plan
from pyvars.workers.numbers.sums import number

__all__ = (
    "Failed",
    "PageLayout",
    "is_free",
    "lay_out",
    "ordered",
    "part_of",
    "peer_value",
    "peers_only",
    "spans_of",
    "with_peers",
)

T = TypeVar("T")


class PageLayout(NamedTuple):
    """The page layout of a registry. The place of a variable is its index in the order of the page."""

    version: object
    """The version of the registry that it was made for; None for a part of the page."""
    published: list[str]
    """The names under which the variables are published, sorted. Prefixes select among these."""
    names: list[str]
    """The names on the page, in the same order: valid Unicode, and no two are equal."""
    lines: Lines
    """The encoded names."""
    cells: list[object]
    """By place: the variable, if it is a cell of pyvars; None for each of `not_cells`."""
    strings: list[tuple[int, str, String]]
    """The Strings among the cells, whose text may be cut: place, name, String."""
    not_cells: list[tuple[int, str, Var]]
    """The variables that are not cells: place, name, variable."""
    builtins: list[tuple[int, str, Builtin]]
    """The built-ins among `not_cells`."""
    user_code: list[tuple[int, str, Var]]
    """The rest of `not_cells`: reading these may run code of the program."""
    kept: dict[str, tuple[object, bytes]]
    """By name of a built-in: its figures and their encoding, used again while `shared()` returns the same object."""
    sum_places: "list[SumPlaces]"
    """The latest SumPlaces; empty if there is none."""
    peers_only: "list[PeersOnly]"
    """The latest PeersOnly; empty if there is none."""
    latest_part: "list[tuple[tuple[str, ...], PageLayout]]"
    """The latest prefixes, and the part of the page that they select; empty if there is none."""


def lay_out(variables: Iterable[tuple[str, Var]], version: object) -> PageLayout:
    """Make the page layout of the variables. They must be sorted by name."""
    published: list[str] = []
    places: dict[str, int] = {}
    cells: list[object] = []
    not_cells: list[tuple[int, str, Var]] = []
    strings: list[tuple[int, str, String]] = []
    for raw, var in in_pieces(variables):
        published.append(raw)
        name = distinct(valid_text(raw), places)
        places[name] = len(cells)
        # The class decides: if a subclass overrides a method, reading the variable runs code of the program.
        if issubclass(type(var), Cell) and is_pyvars_code(type(var)):
            cells.append(var)
            if isinstance(var, String):
                strings.append((len(cells) - 1, name, var))
        else:
            not_cells.append((len(cells), name, var))
            cells.append(None)
    names = list(places)
    return PageLayout(
        version, published, names, Lines(names), cells, strings, not_cells, *_by_kind(not_cells), {}, [], [], []
    )


def _by_kind(
    not_cells: list[tuple[int, str, Var]],
) -> tuple[list[tuple[int, str, Builtin]], list[tuple[int, str, Var]]]:
    builtins = [(place, name, cast("Any", var)) for place, name, var in not_cells if type(var) is Builtin]
    return builtins, [each for each in not_cells if type(each[2]) is not Builtin]


def part_of(layout: PageLayout, prefixes: Iterable[str]) -> PageLayout:
    """The part of a page layout with the names that begin with one of `prefixes`.

    Its cost depends on the size of that part, not on the size of the page.
    """
    spans = spans_of(layout.published, prefixes)
    not_cells = _moved(layout.not_cells, spans)
    return PageLayout(
        None,
        _cut(layout.published, spans),
        _cut(layout.names, spans),
        layout.lines.part(spans),
        _cut(layout.cells, spans),
        _moved(layout.strings, spans),
        not_cells,
        *_by_kind(not_cells),
        layout.kept,
        [],
        [],
        [],
    )


def _moved(items: list[tuple[int, str, T]], spans: Iterable[slice]) -> list[tuple[int, str, T]]:
    """The items whose places are in the spans, with their places in the part that consists of the spans."""
    moved: list[tuple[int, str, T]] = []
    before = 0
    for span in spans:
        first = bisect_left(items, span.start, key=_PLACE)
        last = bisect_left(items, span.stop, first, key=_PLACE)
        shift = before - span.start
        moved += [(place + shift, name, var) for place, name, var in items[first:last]]
        before += span.stop - span.start
    return moved


_PLACE = itemgetter(0)


def spans_of(names: Sequence[str], prefixes: Iterable[str]) -> list[slice]:
    """The slices of the sorted `names` that begin with one of `prefixes`: ascending, disjoint, and none is empty."""
    spans: list[slice] = []
    end = 0
    for prefix in sorted(prefixes):
        start = bisect_left(names, prefix, end)  # from `end`: an earlier prefix may have selected the same names
        end = bisect_right(names, prefix, start, key=lambda name: name[: len(prefix)])
        if end > start:
            spans.append(slice(start, end))
    return spans


def _cut(items: list[T], spans: Iterable[slice]) -> list[T]:
    return list(chain.from_iterable(items[span] for span in spans))


Failed: TypeAlias = Callable[[str, Exception], None]
"""A function that is called with the label of a variable that has no value, and with the reason."""


class SumPlaces(NamedTuple):
    """The places in a page layout for the sums of a plan (`pyvars.workers.numbers.plan`)."""

    plan: object
    places: list[int]
    """The places of the numbers that have a sum in the plan."""
    pick: "itemgetter[Any]"
    """Picks these sums, in the order of `places`, from all sums of the plan."""
    mixed: list[int]
    """The places of numbers that are of another kind in another worker, such as float instead of int."""


class PeersOnly(NamedTuple):
    """The names of a plan that are not in a page layout, because only peers have variables of these names."""

    plan: object
    names: list[str]
    """Sorted."""


def _sum_places(plan: Plan, layout: PageLayout) -> SumPlaces:
    found = [(place, plan.scalars[name]) for place, name in _numbers(layout) if name in plan.scalars]
    mixed = [place for place, name in _numbers(layout) if name in plan.irregular]
    # Two indices are appended: itemgetter returns no tuple for one index, and takes no fewer. `zip` ignores the two.
    return SumPlaces(plan, [place for place, _ in found], itemgetter(*(index for _, index in found), -1, -1), mixed)


def _numbers(layout: PageLayout) -> Iterator[tuple[int, str]]:
    """The places and names of the cells that are numbers, to which peers add theirs."""
    for place, (name, cell) in enumerate(zip(layout.names, layout.cells, strict=True)):
        if issubclass(type(cell), NumberCell):
            yield place, name


def with_peers(values: list[object], layout: PageLayout, peers: Peers) -> None:
    """Replace the numbers in `values` by the sums over all workers."""
    if not layout.sum_places or layout.sum_places[0].plan is not peers.plan:
        layout.sum_places[:] = [_sum_places(peers.plan, layout)]
    sums = layout.sum_places[0]
    if sums.places:
        for place, total in zip(sums.places, sums.pick(peers.sums), strict=False):
            values[place] = total
    for place in sums.mixed:
        values[place] = summed(cast("Cell", values[place]).snapshot(), peers.numbers(layout.names[place]))


def peers_only(layout: PageLayout, peers: Peers, prefixes: tuple[str, ...], failed: Failed) -> dict[str, object]:
    """The values of variables that only peers have, by name. If there are prefixes, only those that they select.

    `layout` is that of the whole page.
    """
    if not layout.peers_only or layout.peers_only[0].plan is not peers.plan:
        known = {*layout.names}
        names = sorted(name for name in peers.names if name not in known and is_free(name))
        layout.peers_only[:] = [PeersOnly(peers.plan, names)]
    names = layout.peers_only[0].names
    chosen = _cut(names, spans_of(names, prefixes)) if prefixes else names
    return {name: peer_value(name, peers.numbers(name), failed) for name in chosen}


def is_free(name: str) -> bool:
    """Whether the page may show a variable that only peers have under this name.

    The segment of a peer may be damaged, so its numbers must not appear under names with a meaning of their own.
    """
    folded = name.casefold()
    return bool(name) and folded not in ("memstats", "cmdline") and not folded.startswith("pyvars")


def peer_value(label: str, data: Any, failed: Failed) -> object:
    """The value of a variable that only peers have: of a number, of a Histogram, or of a Map or Registry of these."""
    if isinstance(data, Distribution):
        try:
            return splice(summary_of({key: number(addends) for key, addends in data.items()}))
        except BoundsError as error:
            failed(label, error)
            return None
    if not isinstance(data, dict):
        return number(data)
    tree = cast("NestedSums", data)
    members: dict[str, object] = {}
    for key in sorted(tree):
        members[distinct(valid_text(key), members)] = peer_value(f"{label}.{key}", tree[key], failed)
    return splice(members)


def ordered(members: dict[str, object]) -> dict[str, object]:
    """The members in the order of the page: sorted by name."""
    return {name: members[name] for name in sorted(members)}
