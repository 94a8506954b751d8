"""The composition root: the tables of views, and the default registry and access rule of the integrations.

`DEBUG_VIEWS`, `ROOT_VIEWS`, `STATUS_VIEWS` and `OPEN_VIEWS` are the only tables of views: a new view is one class, and
one line in one of the tables.
"""

import re
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

import pyvars
from pyvars.access import Access, Rule, default, rule
from pyvars.collect.answers import answer
from pyvars.collect.functions import FUNCTIONS
from pyvars.core.registry import Registry, checked_registry
from pyvars.errors import ConfigurationError
from pyvars.history.sampler import history_of
from pyvars.runtime import start
from pyvars.site.gate import Site, View
from pyvars.site.views import Index
from pyvars.workers import share

__all__ = (
    "ROOT_VIEWS",
    "OPEN_VIEWS",
    "STATUS_VIEWS",
    "DEBUG_VIEWS",
    "checked_path",
    "debug",
    "served",
    "side_port",
    "status",
)

DEBUG_VIEWS: Final = {
    "history": "pyvars.site.history:HistoryView",
    "vars": "pyvars.site.views:Vars",
    "workers": "pyvars.site.views:Workers",
}
"""The views below /debug: the path of each, and the import string of its class, which is called with the registry."""

ROOT_VIEWS: Final = {
    "api/stats": "pyvars.site.stats:Stats",
    "metrics": "pyvars.site.metrics:Metrics",
}
"""Likewise the views that the side port has below /, and DebugApp below its mount point."""

STATUS_VIEWS: Final = {
    "hardware/cpu": "pyvars.health.views:CPU",
    "hardware/disk": "pyvars.health.views:Disk",
    "hardware/ram": "pyvars.health.views:RAM",
    "health": "pyvars.health.views:Health",
}
"""The views below /status: the path of each, and the import string of its class, which is called without arguments."""

OPEN_VIEWS: Final = {
    "health": "pyvars.health.views:Liveness",
}
"""Likewise the views below /status that answer requests which the access rule refuses."""

PAGE_VIEW: Final = "pyvars.dashboard.views:Page"
"""The view at /debug, which is called with the index that it hands to all but browsers."""

FILES: Final = "files"
FILES_VIEW: Final = "pyvars.dashboard.views:Files"
"""The path below /debug, and the view, of the files of the page."""

_PATH = re.compile(r"(/(?!\.\.?(/|$))[A-Za-z0-9._~-]+)+")


def debug(registry: Registry | None, access: Access | None, *, prefix: str, history: bool = True) -> Site:
    """The site of DebugApp and VarsMiddleware: all views of the variables below `prefix`, and an index at `prefix`.

    Raises:
        TypeError: `history`, which tells whether a history is kept, is not a bool.
    """
    views = _of_variables({**_debug_views(history), **ROOT_VIEWS}, registry)
    views.update({**_pages(views, "", f"{prefix}/", {"": ("", "metrics")}), FILES: _class(FILES_VIEW)()})
    return Site(views, prefix=prefix, access=_rule(access), begin=_begin(registry, history))


def checked_path(path: object) -> str:
    """Returns the path below which a middleware has its site.

    Raises:
        TypeError: it is not a str.
        ConfigurationError: it is not a valid path. The allowed characters need no percent-encoding, so that the path
            has only one spelling.
    """
    if not isinstance(path, str):
        raise TypeError(f'path is a str, such as "/debug", got {path!r}')
    if not _PATH.fullmatch(path):
        raise ConfigurationError(
            'path is where the variables are, such as "/debug" or "/internal/debug": parts that begin with a slash and'
            f" consist of ASCII letters, digits and - . _ ~, without a slash at the end; got {path!r}"
        )
    return str.__str__(path)


def status(access: Access | None) -> Site:
    """The site of HealthApp: health, hardware, and an index of them."""
    views = _of_machine(STATUS_VIEWS)
    index = Index({name: view.description for name, view in views.items()})
    return Site({"": index, **views}, prefix="", access=_rule(access), open_views=_of_machine(OPEN_VIEWS))


def side_port(registry: Registry | None, access: Access | None, *, history: bool = True) -> Site:
    """The site of the side port: all views at the paths that their clients request, and an index at / and /debug.

    Raises:
        TypeError: `history`, which tells whether a history is kept, is not a bool.
    """
    views = {
        **_below("debug", _of_variables(_debug_views(history), registry)),
        **_of_variables(ROOT_VIEWS, registry),
        **_below("status", _of_machine(STATUS_VIEWS)),
    }
    open_views = _below("status", _of_machine(OPEN_VIEWS))
    pages = _pages(views, "/", "/debug/", {"": ("debug/", "metrics"), "debug": ("", "../metrics")})
    files = _below("debug", {FILES: _class(FILES_VIEW)()})
    begin = _begin(registry, history)
    return Site({**pages, **files, **views}, prefix="", access=_rule(access), open_views=open_views, begin=begin)


def served(registry: Registry | None) -> Registry:
    """Start the built-ins of the registry, or of the default one, and share its numbers with the peers. Returns it."""
    registry = pyvars.default_registry if registry is None else checked_registry(registry)
    FUNCTIONS.background.start()
    start(registry)  # sets the gc callbacks: pauses are recorded from the first integration on
    share(registry, answer)
    return registry


def _pages(views: dict[str, View], before: str, page: str, paths: dict[str, tuple[str, str]]) -> dict[str, View]:
    """The page by paths, each with the relative paths of /debug/ and of the metrics; to curl it is the index."""
    make = _class(PAGE_VIEW)
    descriptions = {f"{before}{name}": view.description for name, view in views.items()}
    index = Index(descriptions, page=page, page_description=make.description)
    return {path: make(index, at=at, metrics=metrics) for path, (at, metrics) in paths.items()}


def _debug_views(history: bool) -> dict[str, str]:
    if not isinstance(history, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"history is True or False, got {history!r}")
    return DEBUG_VIEWS if history else {**DEBUG_VIEWS, "history": "pyvars.site.history:NoHistory"}


def _begin(registry: Registry | None, history: bool) -> Callable[[], None] | None:
    return history_of(served(registry)).start if history else None


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
