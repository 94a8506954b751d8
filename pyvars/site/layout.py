"""How the variables of a registry go on a page: kept from page to page while nothing is published or deleted."""

from collections.abc import Iterable
from operator import itemgetter
from typing import Any, NamedTuple, cast

from pyvars.cells import Cell, NumberCell
from pyvars.formats.json import Fragment, distinct, splice, valid_text
from pyvars.variables import Var
from pyvars.workers import Siblings
from pyvars.workers.plan import Plan
from pyvars.workers.siblings import Tree, summed
from pyvars.workers.sums import number

__all__ = ("Layout", "foreign", "lay_out", "ordered", "with_siblings")


class Layout(NamedTuple):
    """How the variables of a registry are read."""

    version: object
    members: dict[str, object]
    """Every name in order, each with None: a page before it is filled in."""
    names: list[str]
    cells: list[Cell]
    """The variables whose snapshot is what the cell holds, read all at once."""
    others: list[tuple[str, Var]]
    kept: dict[str, tuple[object, Fragment]]
    """What was shared by a variable, and its encoding, to be used again while the variable shares the same."""
    splits: "list[Split]"
    """One at most."""


def lay_out(variables: Iterable[tuple[str, Var]], version: object) -> Layout:
    """The layout of these variables."""
    layout = Layout(version, {}, [], [], [], {}, [])
    for raw, var in variables:
        name = distinct(valid_text(raw), layout.members)
        layout.members[name] = None
        # Asked of the class: what an instance or a subclass does instead is code of the program's.
        if issubclass(type(var), Cell) and type(var).snapshot is Cell.snapshot:
            layout.names.append(name)
            layout.cells.append(cast("Cell", var))
        else:
            layout.others.append((name, var))
    return layout


class Split(NamedTuple):
    """How a plan of sums and a layout of a page go together."""

    plan: object
    names: list[str]
    pick: "itemgetter[Any]"
    mixed: list[str]
    """Names of numbers that are integers in one worker and floats in another."""
    strange: list[str]
    """Names that only siblings have."""


def _split(plan: Plan, layout: Layout) -> Split:
    cells = zip(layout.names, layout.cells, strict=True)
    own = {name for name, cell in cells if issubclass(type(cell), NumberCell)}  # a String is no sibling's to change
    found = [(name, index) for name, index in plan.scalars.items() if name in own]
    strange = [name for name in (*plan.scalars, *plan.maps, *plan.others) if name not in layout.members]
    # Two more, since itemgetter gives no tuple for one and refuses none; zip leaves them out.
    pick = itemgetter(*(index for _, index in found), -1, -1)
    mixed = [name for name in plan.others if name in own]
    return Split(plan, [name for name, _ in found], pick, mixed, [name for name in strange if _is_free(name)])


def with_siblings(
    members: dict[str, object], layout: Layout, siblings: Siblings, prefixes: tuple[str, ...]
) -> dict[str, object]:
    """Put the sums of all workers in; what only siblings have takes its place in the order."""
    if not layout.splits or layout.splits[0].plan is not siblings.plan:
        layout.splits[:] = [_split(siblings.plan, layout)]
    split = layout.splits[0]
    if siblings.partial:
        for name in layout.names:
            members[name] = summed(members[name], siblings.others(name))
    else:
        if split.names:
            members.update(zip(split.names, split.pick(siblings.sums), strict=False))
        for name in split.mixed:
            members[name] = summed(members[name], siblings.others(name))
    more = [name for name in split.strange if name.startswith(prefixes or "")]
    if not more:
        return members
    for name in more:
        members[name] = foreign(siblings.others(name))
    return ordered(members)


def _is_free(name: str) -> bool:
    """A sibling's file may be damaged: its numbers never stand where readers look for something else."""
    folded = name.casefold()
    return bool(name) and folded not in ("memstats", "cmdline") and not folded.startswith("pyvars")


def foreign(data: Any) -> object:
    """What only siblings have: a number, or a Map or registry of them."""
    if not isinstance(data, dict):
        return number(data)
    tree = cast("Tree", data)
    members: dict[str, object] = {}
    for key in sorted(tree):
        members[distinct(valid_text(key), members)] = foreign(tree[key])
    return splice(members)


def ordered(members: dict[str, object]) -> dict[str, object]:
    """The same in the order of the page."""
    return {name: members[name] for name in sorted(members)}
