"""Reads a registry for Prometheus: the numbers of all workers as metric families.

A count (an Int, a Float, a number in a Map) becomes a counter, with `gauge=True` a gauge; a Histogram becomes a
histogram. A number that a function returns becomes a gauge, and so do the numbers in a dict that it returns. Values
that are not numbers are ignored.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from pyvars.collect.about import About, Path, of_peers
from pyvars.collect.functions import FUNCTIONS, Job, Times
from pyvars.collect.layout import is_free
from pyvars.collect.values import ValueReader
from pyvars.core.buckets import tally_of
from pyvars.core.cells import NumberCell
from pyvars.core.log import warn
from pyvars.core.registry import Metadata, Registry
from pyvars.core.variables import Composite, Float, Int, Var, Variable, is_pyvars_code
from pyvars.formats.conventions import conventional
from pyvars.formats.families import LEFT_OUT, Collision, Families, Family, Kind, Labels, Point, Sample
from pyvars.formats.json import distinct, from_json, to_json, valid_text
from pyvars.runtime import Builtin
from pyvars.workers import Peers
from pyvars.workers.membership.peers import Distribution, NestedSums, summed
from pyvars.workers.numbers.sums import number

__all__ = ("read",)

KEY = "key"
"""The label for the keys of a Map without a `label`, and of a dict that a function returns."""
_MAX_DEPTH = 32
_MAX_LOGGED = 1000


def read(
    registry: Registry,
    prefixes: tuple[str, ...],
    deadline: float,
    peers: Peers | None,
    *,
    prefix: str = "",
    builtins: bool = True,
) -> list[Family]:
    """The families of the variables whose names begin with one of `prefixes`; of all variables if there are none.

    `prefix` is put before the names of the families. `builtins=False` leaves out the built-ins. If a variable cannot be
    read, or its metric name is taken, only that variable is left out; the family `pyvars_left_out` has its name and the
    reason. The deadline is on the clock of time.monotonic.
    """
    held = registry._children()
    of_others = {*filter(is_free, peers.names)}.difference(held) if peers is not None else set[str]()
    about_others: Mapping[Path, About] = of_peers(registry, of_others, deadline) if of_others else {}
    reading = _Reading(Families(prefix), peers, about_others)
    names = {*held, *of_others}
    for name in sorted(names):
        var = held.get(name)
        if not name.startswith(prefixes or ""):
            continue
        if type(var) is Builtin:
            if builtins:
                reading.builtin(name, var)
            continue
        about = registry._metadata[name] if name in registry._metadata else reading.about((name,))
        from_peers = peers.numbers(name) if peers is not None else None
        reading.variable(_Place((name,), (valid_text(name),), {}, about), var, from_peers)
    return reading.families(deadline, prefix)


class _Place(NamedTuple):
    """The place of a variable in the registry, and the name and labels of its series."""

    keys: tuple[str, ...]
    """The name of the variable in the registry, and the keys below it."""
    path: tuple[str, ...]
    """Those of the keys that become parts of the metric name; the others are values of labels."""
    labels: Labels
    about: Metadata

    def below(self, key: str, text: str, label: str) -> "_Place":
        """The place below a key, which is shown as `text`.

        `text` becomes the value of `label`; or a part of the metric name, if `label` is empty or has a value already.
        """
        keys = (*self.keys, key)
        if label and label not in self.labels:
            return self._replace(keys=keys, labels={**self.labels, label: text})
        return self._replace(keys=keys, path=(*self.path, text), about=self.about._replace(unit=""))


class _Reading:
    """One reading of a registry: the series that were found so far, and the functions to call."""

    def __init__(self, families: Families, peers: Peers | None, about_others: Mapping[Path, About]) -> None:
        self._families = families
        self._peers = peers
        self._about_others = about_others
        self._reader = ValueReader(peers, {})
        self._found: list[tuple[_Place, Kind, float | Mapping[str, float] | Job]] = []

    def about(self, keys: tuple[str, ...]) -> Metadata:
        """The help and unit of a variable that this process does not have, from peers."""
        return self._about_others[keys].metadata if keys in self._about_others else Metadata()

    def builtin(self, name: str, var: Builtin) -> None:
        figures: object = from_json(to_json(self._reader.read(name, var)))
        if isinstance(figures, dict):  # without those that could not be read, which memstats shows as 0
            row = cast("dict[str, object]", figures)
            figures = {key: each for key, each in row.items() if key not in var.missing}
        for family in conventional(var.target, figures):
            self._families.put(name, family)

    def variable(self, place: _Place, var: Var | None, from_peers: Any, within: tuple[Var, ...] = ()) -> None:
        """Find the series of a variable, summed over all workers. If `var` is None, only peers have the variable."""
        if var is not None and not is_pyvars_code(type(var)):
            return self._call(place, var)
        try:
            if var is not None:
                self._own(place, cast("Variable", var), from_peers, within)
            elif isinstance(from_peers, dict):
                self._composite(place, None, {}, cast("NestedSums", from_peers), within)
            else:
                self._add(place, self._kind(place, None), number(from_peers))
        except Exception as exception:  # a subclass did not call super().__init__(), or workers have other bounds
            label = ".".join(place.keys)
            self._reader.errors[label] = FUNCTIONS.caught(place.keys[0], label, exception)

    def _own(self, place: _Place, var: Variable, from_peers: Any, within: tuple[Var, ...]) -> None:
        if isinstance(var, NumberCell):
            return self._add(place, self._kind(place, var), cast("float", summed(var.snapshot(), from_peers)))
        children = var._children()
        if children is not None:
            if len(within) >= _MAX_DEPTH or any(var is outer for outer in within):
                raise RecursionError(f"a registry that holds itself, or over {_MAX_DEPTH} levels")
            below = cast("NestedSums", from_peers if isinstance(from_peers, dict) else {})
            return self._composite(place, cast("Composite", var), children, below, (*within, var))
        if not var._inline:
            self._call(place, var)

    def _composite(
        self,
        place: _Place,
        own: Composite | None,
        children: Mapping[str, Var],
        below: NestedSums,
        within: tuple[Var, ...],
    ) -> None:
        keys = sorted({*children, *below})
        members: Mapping[str, object] = {key: _number(children.get(key), below.get(key)) for key in keys}
        if isinstance(below, Distribution) or (own is not None and own.kind == "histogram"):
            numbers = {key: each for key, each in members.items() if isinstance(each, int | float)}
            tally_of(numbers)  # it raises if their bounds differ
            return self._add(place, "histogram", numbers)
        if own is not None and below:
            members = own._merged(members)
        label = self._label(place, own, children, below)
        taken: dict[str, None] = {}
        for key, each in members.items():
            text = distinct(valid_text(key), taken)
            taken[text] = None
            inner, var = place.below(key, text, label), children.get(key)
            if isinstance(own, Registry):
                inner = inner._replace(about=own._metadata.get(key, Metadata()))
            elif own is None and inner.keys in self._about_others:
                inner = inner._replace(about=self.about(inner.keys))
            if isinstance(each, int | float):
                self._add(inner, self._kind(inner, var), each)
            else:
                self.variable(inner, var, below.get(key), within)

    def _label(self, place: _Place, own: Composite | None, children: Mapping[str, Var], below: NestedSums) -> str:
        """The label for which the keys of a composite are values; empty if the keys become parts of metric names."""
        known = self._peers is not None and self._peers.is_map(place.keys)
        if isinstance(own, Registry) or (own is None and not known):
            return ""
        told = self._about_others.get(place.keys) if own is None else None
        label: str = getattr(own, "label", "") if told is None else told.label
        if label:
            return label
        composites = any(issubclass(type(each), Composite) for each in children.values())
        return "" if composites or any(isinstance(each, dict) for each in below.values()) else KEY

    def _kind(self, place: _Place, var: object) -> Kind:
        level = getattr(var, "gauge", None)
        if level is None:
            level = self._peers is not None and self._peers.is_gauge(place.keys)
        return "gauge" if level else "counter"

    def _call(self, place: _Place, var: Var) -> None:
        job = Job(place.keys[0], valid_text(".".join(place.keys)), var)
        self._reader.jobs.append(job)
        self._found.append((place, "gauge", job))

    def _add(self, place: _Place, kind: Kind, value: float | Mapping[str, float]) -> None:
        self._found.append((place, kind, value))

    def families(self, deadline: float, prefix: str) -> list[Family]:
        """All families, once the functions have run, and the family of the variables left out."""
        FUNCTIONS.run(self._reader.jobs, Times.of_request(deadline))
        self._reader.combine(deadline)
        errors = self._reader.errors
        for place, kind, value in self._found:
            if isinstance(value, Job):
                self._reader.settled(value)
                self._returned(place, None if value.value is None else from_json(to_json(value.value)))
            else:
                self._families.add(place.path, kind, Point(place.labels, value, *place.about))
        families, collisions = self._families.named()
        reasons = [(valid_text(label), str(cast("Mapping[str, str]", each)["type"])) for label, each in errors.items()]
        reasons += [(each.variable, "collision") for each in collisions]
        _log(collisions)
        samples = [Sample("", {"variable": name, "reason": reason}, 1) for name, reason in sorted({*reasons})]
        help = "Variables that are left out or incomplete, and the reason."
        return [*families, Family(prefix + LEFT_OUT, "gauge", help, "", samples)] if samples else families

    def _returned(self, place: _Place, data: object) -> None:
        """Add the numbers in a value that a function returned. The keys of a dict are treated as those of a Map."""
        if isinstance(data, dict):
            members = cast("dict[str, object]", data)
            label = "" if any(isinstance(each, dict) for each in members.values()) else KEY
            for key, each in members.items():
                self._returned(place.below(key, key, label), each)
        elif isinstance(data, int | float):
            self._families.add(place.path, "gauge", Point(place.labels, data, *place.about))


def _number(var: Var | None, from_peers: Any) -> float | None:
    """The number under a key, summed over this process and its peers; None if it is not a number."""
    if var is None:
        return None if isinstance(from_peers, dict) else number(from_peers)
    return cast("float", summed(var.snapshot(), from_peers)) if type(var) in (Int, Float) else None


_logged: dict[str, None] = {}  # serves as an ordered set


def _log(collisions: list[Collision]) -> None:
    """Log each collision once."""
    for each in collisions:
        if each.variable not in _logged:
            _logged[each.variable] = None
            if len(_logged) > _MAX_LOGGED:
                _logged.pop(next(iter(_logged)), None)
            warn("variable %r is left out for Prometheus: %r has the name %s there (logged once)", *each)
