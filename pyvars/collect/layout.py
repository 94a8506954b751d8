"""The page layout: where each variable of a registry stands. It is kept until a variable is published or deleted."""

from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any, NamedTuple, cast

from pyvars.core.buckets import summary_of
from pyvars.core.cells import Cell, NumberCell
from pyvars.core.variables import Var, is_pyvars_code
from pyvars.formats.json import Lines, distinct, splice, valid_text
from pyvars.runtime import Builtin
from pyvars.workers import Peers
from pyvars.workers.membership.peers import Distribution, NestedSums, summed
from pyvars.workers.numbers.plan import Plan
from pyvars.workers.numbers.sums import number

__all__ = ("PageLayout", "peer_value", "is_free", "lay_out", "ordered", "with_peers")


class PageLayout(NamedTuple):
    """The page layout of a registry, and how each of its variables is read."""

    version: object
    """The version of the registry that it was made for; None for a part of the page."""
    names: list[str]
    """In the order of the page."""
    lines: Lines
    """The encoded names."""
    cells: list[object]
    """By place: the variable, if its snapshot is what its cell holds; None for each of `not_cells`."""
    not_cells: list[tuple[int, str, Var]]
    """The variables that take more than a look into a cell: place, name, variable."""
    builtins: list[tuple[int, str, Builtin]]
    """The built-ins among them."""
    user_code: list[tuple[int, str, Var]]
    """The rest of `not_cells`, which may run code of the program."""
    kept: dict[str, tuple[object, bytes]]
    """By name of a built-in: its figures and their encoding, used again while `shared()` returns the same object."""
    sum_places: "list[SumPlaces]"
    """The latest SumPlaces, or empty."""


def lay_out(variables: Iterable[tuple[str, Var]], version: object) -> PageLayout:
    """Make the page layout of these variables."""
    places: dict[str, int] = {}
    cells: list[object] = []
    not_cells: list[tuple[int, str, Var]] = []
    for raw, var in variables:
        name = distinct(valid_text(raw), places)
        places[name] = len(cells)
        # Decided by the class: what an instance or a subclass overrides is code of the program.
        if issubclass(type(var), Cell) and is_pyvars_code(type(var)):
            cells.append(var)
        else:
            not_cells.append((len(cells), name, var))
            cells.append(None)
    names = list(places)
    builtins = [(place, name, cast("Any", var)) for place, name, var in not_cells if type(var) is Builtin]
    user_code = [each for each in not_cells if type(each[2]) is not Builtin]
    return PageLayout(version, names, Lines(names), cells, not_cells, builtins, user_code, {}, [])


class SumPlaces(NamedTuple):
    """Where the sums of a plan (`pyvars.workers.numbers.plan`) go in a page layout."""

    plan: object
    places: list[int]
    """The places of the numbers that have a sum."""
    pick: "itemgetter[Any]"
    """Picks these sums, in the order of `places`, from all sums of the plan."""
    mixed: list[int]
    """Places of numbers that are integers in one worker and floats in another."""
    peer_only: list[str]
    """Names that only peers have."""


def _sum_places(plan: Plan, layout: PageLayout) -> SumPlaces:
    known = {*layout.names}
    places = {name: place for place, name in _numbers(layout)}
    found = [(places[name], index) for name, index in plan.scalars.items() if name in places]
    peer_only = [name for name in (*plan.scalars, *plan.maps, *plan.irregular) if name not in known]
    # Two more indices: itemgetter returns no tuple for one index and refuses none. zip ignores the two.
    pick = itemgetter(*(index for _, index in found), -1, -1)
    mixed = [places[name] for name in plan.irregular if name in places]
    return SumPlaces(plan, [place for place, _ in found], pick, mixed, [name for name in peer_only if is_free(name)])


def _numbers(layout: PageLayout) -> Iterator[tuple[int, str]]:
    """Places and names of the numbers: peers change nothing else on the page."""
    for place, (name, cell) in enumerate(zip(layout.names, layout.cells, strict=True)):
        if issubclass(type(cell), NumberCell):
            yield place, name


def with_peers(values: list[object], layout: PageLayout, peers: Peers, prefixes: tuple[str, ...]) -> dict[str, object]:
    """Put the sums of all workers into `values`. Returns the values that only peers have, by name."""
    if not layout.sum_places or layout.sum_places[0].plan is not peers.plan:
        layout.sum_places[:] = [_sum_places(peers.plan, layout)]
    sums = layout.sum_places[0]
    if sums.places:
        for place, total in zip(sums.places, sums.pick(peers.sums), strict=False):
            values[place] = total
    for place in sums.mixed:
        values[place] = summed(cast("Cell", values[place]).snapshot(), peers.numbers(layout.names[place]))
    return {name: peer_value(peers.numbers(name)) for name in sums.peer_only if name.startswith(prefixes or "")}


def is_free(name: str) -> bool:
    """Whether a variable that only peers have may stand under the name.

    The file of a peer may be damaged: its numbers never stand where readers expect something else.
    """
    folded = name.casefold()
    return bool(name) and folded not in ("memstats", "cmdline") and not folded.startswith("pyvars")


def peer_value(data: Any) -> object:
    """The value of a variable that only peers have: a number, a Histogram, or a Map or Registry of them."""
    if isinstance(data, Distribution):
        return splice(summary_of({key: number(addends) for key, addends in data.items()}))
    if not isinstance(data, dict):
        return number(data)
    tree = cast("NestedSums", data)
    members: dict[str, object] = {}
    for key in sorted(tree):
        members[distinct(valid_text(key), members)] = peer_value(tree[key])
    return splice(members)


def ordered(members: dict[str, object]) -> dict[str, object]:
    """The members in the order of the page: sorted by name."""
    return {name: members[name] for name in sorted(members)}
