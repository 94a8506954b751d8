"""How the variables of a registry go on a page: kept from page to page while nothing is published or deleted."""

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
    """How the variables of a registry are read."""

    version: object
    names: list[str]
    """In the order of the page."""
    lines: Lines
    cells: list[object]
    """A page before the others are read: the variables whose snapshot is what the cell holds, None for others."""
    others: list[tuple[int, str, Var]]
    """What takes more than that: its place, its name, itself."""
    builtins: list[tuple[int, str, Builtin]]
    """The built-ins among them."""
    user_code: list[tuple[int, str, Var]]
    """The rest of them, which may run code of the program's."""
    kept: dict[str, tuple[object, bytes]]
    """What was shared by a variable, and its encoding, to be used again while the variable shares the same."""
    sum_places: "list[SumPlaces]"
    """One at most."""


def lay_out(variables: Iterable[tuple[str, Var]], version: object) -> PageLayout:
    """The layout of these variables."""
    places: dict[str, int] = {}
    cells: list[object] = []
    others: list[tuple[int, str, Var]] = []
    for raw, var in variables:
        name = distinct(valid_text(raw), places)
        places[name] = len(cells)
        # Asked of the class: what an instance or a subclass does instead is code of the program's.
        if issubclass(type(var), Cell) and is_pyvars_code(type(var)):
            cells.append(var)
        else:
            others.append((len(cells), name, var))
            cells.append(None)
    names = list(places)
    builtins = [(place, name, cast("Any", var)) for place, name, var in others if type(var) is Builtin]
    peer_only = [other for other in others if type(other[2]) is not Builtin]
    return PageLayout(version, names, Lines(names), cells, others, builtins, peer_only, {}, [])


class SumPlaces(NamedTuple):
    """How a plan of sums and a layout of a page go together."""

    plan: object
    places: list[int]
    pick: "itemgetter[Any]"
    mixed: list[int]
    """Places of numbers that are integers in one worker and floats in another."""
    peer_only: list[str]
    """Names that only peers have."""


def _sum_places(plan: Plan, layout: PageLayout) -> SumPlaces:
    known = {*layout.names}
    places = {name: place for place, name in _numbers(layout)}
    found = [(places[name], index) for name, index in plan.scalars.items() if name in places]
    peer_only = [name for name in (*plan.scalars, *plan.maps, *plan.others) if name not in known]
    # Two more, since itemgetter gives no tuple for one and refuses none; zip leaves them out.
    pick = itemgetter(*(index for _, index in found), -1, -1)
    mixed = [places[name] for name in plan.others if name in places]
    return SumPlaces(plan, [place for place, _ in found], pick, mixed, [name for name in peer_only if is_free(name)])


def _numbers(layout: PageLayout) -> Iterator[tuple[int, str]]:
    """Places and names of the numbers: nothing else is a peer's to change."""
    for place, (name, cell) in enumerate(zip(layout.names, layout.cells, strict=True)):
        if issubclass(type(cell), NumberCell):
            yield place, name


def with_peers(values: list[object], layout: PageLayout, peers: Peers, prefixes: tuple[str, ...]) -> dict[str, object]:
    """Put the sums of all workers in; what only peers have comes back."""
    if not layout.sum_places or layout.sum_places[0].plan is not peers.plan:
        layout.sum_places[:] = [_sum_places(peers.plan, layout)]
    sums = layout.sum_places[0]
    if peers.has_private_numbers:
        for place, name in _numbers(layout):
            values[place] = summed(cast("Cell", values[place]).snapshot(), peers.numbers(name))
    else:
        if sums.places:
            for place, total in zip(sums.places, sums.pick(peers.sums), strict=False):
                values[place] = total
        for place in sums.mixed:
            values[place] = summed(cast("Cell", values[place]).snapshot(), peers.numbers(layout.names[place]))
    return {name: peer_value(peers.numbers(name)) for name in sums.peer_only if name.startswith(prefixes or "")}


def is_free(name: str) -> bool:
    """Whether what only peers have may stand under the name.

    A peer's file may be damaged: its numbers never stand where readers look for something else.
    """
    folded = name.casefold()
    return bool(name) and folded not in ("memstats", "cmdline") and not folded.startswith("pyvars")


def peer_value(data: Any) -> object:
    """What only peers have: a number, a Histogram, or a Map or registry of them."""
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
    """The same in the order of the page."""
    return {name: members[name] for name in sorted(members)}
