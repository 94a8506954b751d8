"""Counts the requests of an unchanged program in the variable `http`: wraps the applications that its server loads."""

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from inspect import iscoroutinefunction
from types import ModuleType
from typing import Any

from pyvars import asgi, wsgi
from pyvars.core.log import warn

__all__ = ("count_http",)


def count_http() -> None:
    """Wrap the applications that uvicorn, hypercorn, gunicorn and granian load from now on."""
    for name, patch in _PATCHES.items():
        if name in sys.modules:
            _apply(patch, sys.modules[name])
    sys.meta_path.insert(0, _Finder())


def _apply(patch: Callable[[Any], None], module: ModuleType) -> None:
    try:
        patch(module)
    except AttributeError as error:  # another version of the server has no such function
        warn("requests are not counted by %s: %s", module.__name__, error)


def _counted(app: Any) -> Any:
    """Wraps the application in a middleware that counts its requests, unless it is neither an ASGI nor a WSGI one."""
    if not callable(app) or hasattr(app, "__rsgi__"):
        return app
    is_asgi = iscoroutinefunction(app) or iscoroutinefunction(type(app).__call__)
    try:
        middleware: Any = asgi.CountRequests if is_asgi else wsgi.CountRequests
        return middleware(app)
    except Exception as error:  # the program publishes something else as `http`
        warn("the requests of the program are not counted: %s", error)
        return app


def _patch_uvicorn(module: Any) -> None:
    load: Callable[[Any], None] = module.Config.load

    @wraps(load)
    def load_counted(config: Any) -> None:
        load(config)
        if not type(config).__module__.startswith("pyvars."):  # the side port also runs uvicorn
            config.loaded_app = _counted(config.loaded_app)

    module.Config.load = load_counted


def _patch_hypercorn(module: Any) -> None:
    wrap: Callable[..., Any] = module.wrap_app

    @wraps(wrap)
    def wrap_counted(app: Any, *options: Any, **more: Any) -> Any:
        return wrap(_counted(app), *options, **more)

    module.wrap_app = wrap_counted


def _patch(name: str) -> Callable[[Any], None]:
    def patch(module: Any) -> None:
        load: Callable[..., Any] = getattr(module, name)

        @wraps(load)
        def load_counted(*about: Any, **more: Any) -> Any:
            return _counted(load(*about, **more))

        setattr(module, name, load_counted)

    return patch


_PATCHES: dict[str, Callable[[Any], None]] = {
    "uvicorn.config": _patch_uvicorn,
    "hypercorn.utils": _patch_hypercorn,
    "gunicorn.util": _patch("import_app"),
    "granian._internal": _patch("load_target"),
}
"""The functions that patch each module: they replace its function that loads an application."""


class _Finder(MetaPathFinder):
    """Lets the other finders find the modules in _PATCHES, and patches each once it has been imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _PATCHES:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, (finder.find_spec(fullname, path, target) for finder in others)), None)
        loader: Any = spec.loader if spec is not None else None
        if loader is not None:
            execute: Callable[[ModuleType], None] = loader.exec_module

            def execute_and_patch(module: ModuleType) -> None:
                execute(module)
                _apply(_PATCHES[fullname], module)

            loader.exec_module = execute_and_patch
        return spec
