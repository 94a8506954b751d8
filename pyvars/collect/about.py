"""The help, the unit and the label of variables, which only the process that publishes a variable knows.

The segments of the workers have numbers and names only. A process may show variables that only its peers have, for
example the master of a server that has the side port. It asks these peers for the rest.
"""

import os
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, TypeAlias, cast
from weakref import WeakKeyDictionary

from pyvars.core.clock import monotonic
from pyvars.core.registry import Metadata, Registry
from pyvars.core.variables import Composite, Var, is_pyvars_code
from pyvars.formats.json import from_json, to_json, valid_text
from pyvars.workers import ask, live_pids

__all__ = ("About", "Path", "of_peers", "own")

ASK_SECONDS = 0.1
"""The maximum time that peers have to answer."""
RETRY_SECONDS = 1.0
"""The minimum time between two questions to peers."""
KEEP_SECONDS = 60.0
"""The maximum age of the answers that are used without asking again."""
_MAX_DEPTH = 32

Path: TypeAlias = tuple[str, ...]
"""The name of a variable, and the keys below it."""


class About(NamedTuple):
    """The description of one variable: its help and unit, and if it is a Map, the label of its keys."""

    metadata: Metadata
    label: str
    """Empty if there is none."""


class _Answers(NamedTuple):
    when: float
    names: frozenset[str]
    """The names for which peers were asked; none if a peer did not answer, so that it is asked again."""
    about: dict[Path, About]


_latest: "WeakKeyDictionary[Registry, _Answers]" = WeakKeyDictionary()


def own(registry: Registry) -> bytes:
    """The answer to a peer, as JSON: path, help, unit and label of each variable that has a help, unit or label."""
    found: list[tuple[Path, str, str, str]] = []
    waiting: list[tuple[Path, Var, Metadata]] = [((), registry, Metadata())]
    while waiting:
        path, var, (help, unit) = waiting.pop()
        composite = cast("Composite", var) if issubclass(type(var), Composite) and is_pyvars_code(type(var)) else None
        label: str = getattr(composite, "label", "")
        if help or unit or label:
            found.append((path, valid_text(help), valid_text(unit), label))
        metadata = cast("Registry", composite)._metadata if issubclass(type(var), Registry) else {}
        if composite is not None and len(path) < _MAX_DEPTH:
            children = composite._children() or {}
            waiting += [
                ((*path, valid_text(key)), child, metadata.get(key, Metadata())) for key, child in children.items()
            ]
    return to_json(found)


def of_peers(registry: Registry, names: Collection[str], deadline: float) -> Mapping[Path, About]:
    """The descriptions, from peers, of the variables with these names, which this process does not have.

    The peers are asked if a name is new, or if their answers are over 60 s old, but at most once a second. Then this
    waits up to 100 ms for them, but not past the deadline. Otherwise it uses their last answers.
    """
    before, moment = _latest.get(registry), monotonic()
    if before is not None:
        age = moment - before.when
        if age < RETRY_SECONDS or (age < KEEP_SECONDS and before.names.issuperset(names)):
            return before.about
    pids = [pid for pid in live_pids() if pid != os.getpid()]
    answers = ask(registry, {"ask": "about"}, min(deadline, moment + ASK_SECONDS), pids)
    about = {**before.about} if before is not None else {}
    for answer in answers.values():
        about |= _parsed(answer)
    _latest[registry] = _Answers(moment, frozenset(names if all(answers.values()) else ()), about)
    return about


def _parsed(answer: bytes) -> dict[Path, About]:
    try:
        rows: Any = from_json(answer)
        return {tuple(path): About(Metadata(help, unit), label) for path, help, unit, label in rows}
    except (ValueError, TypeError):  # no answer, or the answer of another version of pyvars
        return {}
