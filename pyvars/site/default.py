"""The composition root: which views there are, and what an integration gets when it is told nothing.

`VIEWS`, `BESIDE`, `STATUS` and `OPEN` are the only tables. A further view is one class and one line in one of them.
"""

from importlib import import_module
from typing import Any, Final

import pyvars
from pyvars.access import Access, Rule, default, rule
from pyvars.collect.answers import answer
from pyvars.core.registry import Registry
from pyvars.runtime import start
from pyvars.site.gate import Site, View
from pyvars.site.views import Index
from pyvars.workers import share

__all__ = ("BESIDE", "OPEN", "STATUS", "VIEWS", "debug", "served", "side_port", "status", "variables")

VIEWS: Final = {
    "vars": "pyvars.site.views:Vars",
    "workers": "pyvars.site.views:Workers",
}
"""Path below /debug, and the class that answers it: made with the registry."""

BESIDE: Final = {
    "api/stats": "pyvars.site.stats:Stats",
    "metrics": "pyvars.site.metrics:Metrics",
}
"""The same for what has a path of its own on the side port, and is below the mount point elsewhere."""

STATUS: Final = {
    "hardware/cpu": "pyvars.health.views:CPU",
    "hardware/disk": "pyvars.health.views:Disk",
    "hardware/ram": "pyvars.health.views:RAM",
    "health": "pyvars.health.views:Health",
}
"""Path below /status, and the class that answers it: made without arguments."""

OPEN: Final = {
    "health": "pyvars.health.views:Liveness",
}
"""What answers at one of these paths if the request may not look."""


def debug(registry: Registry | None, access: Access | None, *, prefix: str) -> Site:
    """All views of the variables and an index of them, below `prefix`."""
    views = _of_variables({**VIEWS, **BESIDE}, registry)
    return Site({"": _index(views, f"{prefix}/" if prefix else ""), **views}, prefix=prefix, access=_rule(access))


def variables(registry: Registry | None, access: Access | None) -> Site:
    """/debug/vars and /debug/workers: what a middleware answers in its application's place."""
    targets = {name: VIEWS[name] for name in ("vars", "workers")}
    return Site(_of_variables(targets, registry), prefix="/debug", access=_rule(access))


def status(access: Access | None) -> Site:
    """Health and hardware, and an index of them."""
    views = _of_machine(STATUS)
    return Site({"": _index(views, ""), **views}, prefix="", access=_rule(access), in_place=_of_machine(OPEN))


def side_port(registry: Registry | None, access: Access | None) -> Site:
    """All there is, where its readers look for it, and an index of it at /debug."""
    views = {
        **_below("debug", _of_variables(VIEWS, registry)),
        **_of_variables(BESIDE, registry),
        **_below("status", _of_machine(STATUS)),
    }
    in_place = _below("status", _of_machine(OPEN))
    return Site({"debug": _index(views, "/"), **views}, prefix="", access=_rule(access), in_place=in_place)


def served(registry: Registry | None) -> Registry:
    """The registry, or the default one, ready to be shown: by any worker with the numbers of all."""
    if registry is None:
        registry = pyvars.default_registry
    start(registry)  # the first integration sets the gc callbacks: from here on the pauses are recorded
    share(registry, answer)
    return registry


def _index(views: dict[str, View], before: str) -> Index:
    return Index({f"{before}{name}": view.description for name, view in views.items()})


def _below(path: str, views: dict[str, View]) -> dict[str, View]:
    return {f"{path}/{name}": view for name, view in views.items()}


def _rule(access: Access | None) -> Rule:
    return default() if access is None else rule(access)


def _of_variables(targets: dict[str, str], registry: Registry | None) -> dict[str, View]:
    registry = served(registry)
    return {name: _class(target)(registry) for name, target in targets.items()}


def _of_machine(targets: dict[str, str]) -> dict[str, View]:
    return {name: _class(target)() for name, target in targets.items()}


def _class(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)
