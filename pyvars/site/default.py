"""The composition root: which views there are, and what a carrier gets when it is told nothing.

`VIEWS` is the only table. A further view is one class and one line here.
"""

from importlib import import_module
from typing import Final

import pyvars
from pyvars.access import Access, Rule, default, rule
from pyvars.registry import Registry
from pyvars.runtime import start
from pyvars.site.site import Site, View
from pyvars.site.views import Index, answer
from pyvars.workers import share

__all__ = ("VIEWS", "debug", "variables")

VIEWS: Final = {
    "vars": "pyvars.site.views:Vars",
    "workers": "pyvars.site.views:Workers",
}
"""Path below /debug, and the class that answers it: made with the registry."""


def debug(registry: Registry | None, access: Access | None, *, prefix: str) -> Site:
    """All views and an index of them, below `prefix`."""
    views = {name: _view(name, registry) for name in VIEWS}
    index = Index({f"{prefix}/{name}" if prefix else name: view.description for name, view in views.items()})
    return Site({"": index, **views}, prefix=prefix, access=_rule(access))


def variables(registry: Registry | None, access: Access | None) -> Site:
    """/debug/vars and /debug/workers: what a middleware answers in its application's place."""
    return Site({name: _view(name, registry) for name in ("vars", "workers")}, prefix="/debug", access=_rule(access))


def _rule(access: Access | None) -> Rule:
    return default() if access is None else rule(access)


def _view(name: str, registry: Registry | None) -> View:
    if registry is None:
        registry = pyvars.default_registry
    start(registry)  # the first carrier sets the gc callbacks: from here on the pauses are recorded
    share(registry, answer)
    module, _, cls = VIEWS[name].partition(":")
    view: View = getattr(import_module(module), cls)(registry)
    return view
