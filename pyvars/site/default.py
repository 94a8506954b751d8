"""The composition root: which views there are, and what a carrier gets when it is told nothing.

`VIEWS` and `BESIDE` are the only tables. A further view is one class and one line in one of them.
"""

from importlib import import_module
from typing import Any, Final

import pyvars
from pyvars.access import Access, Rule, default, rule
from pyvars.registry import Registry
from pyvars.runtime import start
from pyvars.site.site import Site, View
from pyvars.site.views import Index, answer
from pyvars.workers import share

__all__ = ("BESIDE", "VIEWS", "debug", "side_port", "variables")

VIEWS: Final = {
    "vars": "pyvars.site.views:Vars",
    "workers": "pyvars.site.views:Workers",
}
"""Path below /debug, and the class that answers it: made with the registry."""

BESIDE: Final = {
    "api/stats": "pyvars.site.stats:Stats",
}
"""The same for what has a path of its own on the side port, and is below the mount point elsewhere."""


def debug(registry: Registry | None, access: Access | None, *, prefix: str) -> Site:
    """All views of the variables and an index of them, below `prefix`."""
    views = _of_variables({**VIEWS, **BESIDE}, registry)
    return Site({"": _index(views, f"{prefix}/" if prefix else ""), **views}, prefix=prefix, access=_rule(access))


def variables(registry: Registry | None, access: Access | None) -> Site:
    """/debug/vars and /debug/workers: what a middleware answers in its application's place."""
    targets = {name: VIEWS[name] for name in ("vars", "workers")}
    return Site(_of_variables(targets, registry), prefix="/debug", access=_rule(access))


def side_port(registry: Registry | None, access: Access | None) -> Site:
    """All there is, where its readers look for it, and an index of it at /debug."""
    views = {
        **_below("debug", _of_variables(VIEWS, registry)),
        **_of_variables(BESIDE, registry),
    }
    return Site({"debug": _index(views, "/"), **views}, prefix="", access=_rule(access))


def _index(views: dict[str, View], before: str) -> Index:
    return Index({f"{before}{name}": view.description for name, view in views.items()})


def _below(path: str, views: dict[str, View]) -> dict[str, View]:
    return {f"{path}/{name}": view for name, view in views.items()}


def _rule(access: Access | None) -> Rule:
    return default() if access is None else rule(access)


def _of_variables(targets: dict[str, str], registry: Registry | None) -> dict[str, View]:
    if registry is None:
        registry = pyvars.default_registry
    start(registry)  # the first carrier sets the gc callbacks: from here on the pauses are recorded
    share(registry, answer)
    return {name: _class(target)(registry) for name, target in targets.items()}


def _class(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)
