"""The composition root: which views there are, and what an integration gets when it is told nothing.

`DEBUG_VIEWS`, `ROOT_VIEWS`, `STATUS_VIEWS` and `OPEN_VIEWS` are the only tables: a new view is one class, and one line
in one of them.
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

__all__ = (
    "ROOT_VIEWS",
    "OPEN_VIEWS",
    "STATUS_VIEWS",
    "DEBUG_VIEWS",
    "debug",
    "served",
    "side_port",
    "status",
    "variables",
)

DEBUG_VIEWS: Final = {
    "vars": "pyvars.site.views:Vars",
    "workers": "pyvars.site.views:Workers",
}
"""Path below /debug, and the class that answers it: made with the registry."""

ROOT_VIEWS: Final = {
    "api/stats": "pyvars.site.stats:Stats",
    "metrics": "pyvars.site.metrics:Metrics",
}
"""The same for what has a path of its own on the side port, and is below the mount point elsewhere."""

STATUS_VIEWS: Final = {
    "hardware/cpu": "pyvars.health.views:CPU",
    "hardware/disk": "pyvars.health.views:Disk",
    "hardware/ram": "pyvars.health.views:RAM",
    "health": "pyvars.health.views:Health",
}
"""Path below /status, and the class that answers it: made without arguments."""

OPEN_VIEWS: Final = {
    "health": "pyvars.health.views:Liveness",
}
"""What answers at one of these paths if the request may not look."""


def debug(registry: Registry | None, access: Access | None, *, prefix: str) -> Site:
    """All views of the variables and an index of them, below `prefix`."""
    views = _of_variables({**DEBUG_VIEWS, **ROOT_VIEWS}, registry)
    return Site({"": _index(views, f"{prefix}/" if prefix else ""), **views}, prefix=prefix, access=_rule(access))


def variables(registry: Registry | None, access: Access | None) -> Site:
    """/debug/vars and /debug/workers: what a middleware answers in its application's place."""
    targets = {name: DEBUG_VIEWS[name] for name in ("vars", "workers")}
    return Site(_of_variables(targets, registry), prefix="/debug", access=_rule(access))


def status(access: Access | None) -> Site:
    """Health and hardware, and an index of them."""
    views = _of_machine(STATUS_VIEWS)
    return Site({"": _index(views, ""), **views}, prefix="", access=_rule(access), open_views=_of_machine(OPEN_VIEWS))


def side_port(registry: Registry | None, access: Access | None) -> Site:
    """All there is, where its readers look for it, and an index of it at /debug."""
    views = {
        **_below("debug", _of_variables(DEBUG_VIEWS, registry)),
        **_of_variables(ROOT_VIEWS, registry),
        **_below("status", _of_machine(STATUS_VIEWS)),
    }
    open_views = _below("status", _of_machine(OPEN_VIEWS))
    return Site({"debug": _index(views, "/"), **views}, prefix="", access=_rule(access), open_views=open_views)


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
