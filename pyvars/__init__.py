"""expvar for Python: named variables of a program and of its Python interpreter, as one JSON page at /debug/vars.

Count something, and publish it under a name:

    from pyvars import Int, Map, publish

    orders = publish("orders", Int(), help="Orders accepted")
    by_state = publish("orders_by_state", Map())
    publish("queue_depth", jobs.qsize)              # any function without arguments

    orders.add()
    by_state.add("paid")

Serve the page, in one of these ways:

    app.add_middleware(VarsMiddleware)              # from pyvars.asgi: Starlette, FastAPI, any ASGI application
    application = wsgi.VarsMiddleware(application)  # from pyvars: Flask, Django, any WSGI application
    with pyvars.serve(port=6060): ...               # a side port: an HTTP server in a thread of any program
    $ python -m pyvars --port 6060 worker.py        # a side port, without a change to the program

Read the page, which has the numbers of all worker processes:

    $ curl localhost:6060/debug/vars

Importing pyvars starts no thread and opens no file.

Layout of the code, from the inside out. A module imports only from its own line and from the lines above it:

    errors, core/                   variables, their numbers and their names
    traffic/                        the variable `http`: HTTP requests that the program answers
    runtime/, formats/              the built-in variables; JSON, and the text format of Prometheus
    workers/                        the numbers of all worker processes together
    access/, collect/               access rules; the values of all variables of a registry, for a page
    history/                        the numbers of the page over the last ten minutes and two hours
    site/                           the views, and the gate: it checks each request before a view answers
    asgi, wsgi, sideport/, server   the integrations, and the side port
    cli/                            `python -m pyvars` and the command `pyvars`
    dashboard/, health/             the page in a browser; health checks and hardware
    prometheus, django              a collector for prometheus_client; a middleware for Django
"""

import sys as _sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Never, TypeVar, overload

from pyvars.core.cells import native
from pyvars.core.functions import Combine, Func
from pyvars.core.histogram import Histogram
from pyvars.core.map import Map
from pyvars.core.registry import MISSING, Metadata, Registry
from pyvars.core.variables import Float, Int, String, Var
from pyvars.core.version import __version__ as __version__
from pyvars.errors import ConfigurationError, DuplicateNameError, PyvarsError, PyvarsWarning, UnknownNameError

if TYPE_CHECKING:
    from pyvars.access import Access
    from pyvars.server import Server

__all__ = (
    "Combine",
    "ConfigurationError",
    "DuplicateNameError",
    "Float",
    "Func",
    "Histogram",
    "Int",
    "Map",
    "Metadata",
    "PyvarsError",
    "PyvarsWarning",
    "Registry",
    "String",
    "UnknownNameError",
    "Var",
    "default_registry",
    "delete",
    "get",
    "native",
    "publish",
    "serve",
)

# Tracebacks, repr() and help() then show these classes under the name by which users import them.
for _class in (Float, Func, Histogram, Int, Map, Metadata, Registry, String, Var):
    _class.__module__ = __name__

_V = TypeVar("_V", bound=Var)
_F = TypeVar("_F", bound=Callable[[], object])


def _with_builtins() -> Registry:
    from pyvars.runtime import install

    registry = Registry()
    install(registry)
    return registry


default_registry: Registry = _with_builtins()
"""The registry that an integration serves if it is given no other one. It has the built-in variables."""


def _join(name: str | None, before: object) -> None:
    """Share the numbers of a child of multiprocessing if its parent shares its own: the child has no integration.

    Each publish calls this until it succeeds.
    """
    default_registry._on_change = None  # meanwhile a signal handler may publish
    from pyvars.workers import join

    if not join(default_registry):
        default_registry._on_change = _join  # the parent may share its numbers later


# Before Python 3.14 the command of a fork server did not import sys.
_STARTED = "--multiprocessing-fork", "from multiprocessing.forkserver", "import sys; from multiprocessing.forkserver"
if any(each.startswith(_STARTED) for each in _sys.orig_argv):
    default_registry._on_change = _join


@overload
def publish(name: str, var: _V, *, help: str = "", unit: str = "", exist_ok: bool = False) -> _V: ...
@overload
def publish(
    name: str,
    var: Callable[[], Coroutine[Any, Any, Any]],
    *,
    help: str = "",
    unit: str = "",
    exist_ok: bool = False,
    combine: Combine | None = None,
) -> Never: ...
@overload
def publish(
    name: str,
    var: Callable[[], object],
    *,
    help: str = "",
    unit: str = "",
    exist_ok: bool = False,
    combine: Combine | None = None,
    every: float | None = None,
) -> Func: ...
@overload
def publish(
    name: str,
    *,
    help: str = "",
    unit: str = "",
    exist_ok: bool = False,
    combine: Combine | None = None,
    every: float | None = None,
) -> Callable[[_F], _F]: ...


def publish(
    name: str,
    var: Any = MISSING,
    *,
    help: str = "",
    unit: str = "",
    exist_ok: bool = False,
    combine: Combine | None = None,
    every: float | None = None,
) -> Any:
    """Publish a variable, a function or an object with `snapshot()` on the default registry: see `Registry.publish`."""
    return default_registry.publish(name, var, help=help, unit=unit, exist_ok=exist_ok, combine=combine, every=every)


def get(name: str) -> Var | None:
    """Returns the variable that is published as `name` on the default registry, or None."""
    return default_registry.get(name)


def delete(name: str) -> None:
    """Remove `name` from the default registry. A missing name is ignored. See `Registry.delete`."""
    default_registry.delete(name)


def serve(
    port: int = 6060,
    host: str = "127.0.0.1",
    *,
    registry: Registry | None = None,
    access: "Access | None" = None,
    history: bool = True,
) -> "Server":
    """Open a side port: serve the variables at an address of their own, from a thread. See `pyvars.server.serve`."""
    from pyvars.server import serve

    return serve(port, host, registry=registry, access=access, history=history)
