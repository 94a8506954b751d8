"""What only a process that publishes a variable knows of it: its help, its unit, and the label for its keys.

The files of the workers hold numbers and names. A process that answers for workers whose variables it does not have,
such as the master of a server with a side port, asks them for the rest.
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
"""How long peers have to answer."""
RETRY_SECONDS = 1.0
"""How soon peers are asked again, if they have published something new."""
KEEP_SECONDS = 60.0
"""How long answers are used."""
_MAX_DEPTH = 32

Path: TypeAlias = tuple[str, ...]
"""The name of a variable, and the keys below it."""


class About(NamedTuple):
    """What is known of one variable."""

    metadata: Metadata
    label: str


class _Answers(NamedTuple):
    when: float
    names: frozenset[str]
    """The names that were asked for; none if a peer did not answer."""
    about: dict[Path, About]


_latest: "WeakKeyDictionary[Registry, _Answers]" = WeakKeyDictionary()


def own(registry: Registry) -> bytes:
    """The answer to a peer that asks: path, help, unit and label of each variable that has one of these, as JSON."""
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
    """What the peers know of variables that this process does not have, given their names.

    They are asked if a name is new, and then waited for up to 100 ms; else the answers of the last minute are used.
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
    except (ValueError, TypeError):  # no answer, or that of another version
        return {}
