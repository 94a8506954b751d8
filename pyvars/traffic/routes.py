"""The template of the route that a request took, such as /items/{id}, from what frameworks leave in scope or environ.

Requests cannot be counted by their paths, since clients may request any number of paths.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pyvars.traffic.recorder import UNMATCHED

__all__ = ("ROUTE_KEY", "of_environ", "of_scope", "path_in", "whole_paths")

ROUTE_KEY = "pyvars.route"
"""The key of scope or environ under which any application may put the template of its route."""

_REST = "/{path}"  # how the path_format of a Mount ends

whole_paths: set[str] = set()
"""Paths of routes that are whole templates, unless the route stands below a Mount or in an included router.

`of_scope` adds them, when it meets one.
"""
_MAX_WHOLE_PATHS = 10_000


def of_scope(scope: Mapping[str, Any]) -> str:
    """Returns the template, given the scope of a request that an application has handled. Never raises."""
    try:
        route = scope.get("route")
        path: Any = getattr(route, "path_format", None)
        direct = "app_root_path" not in scope and not scope.get("fastapi")  # no Mount and no included router on the way
        if direct and type(path) is str and path and not path.endswith(_REST):
            if len(whole_paths) < _MAX_WHOLE_PATHS:
                whole_paths.add(path)
            return path
        return _template(scope, route) or "/"
    except Exception:  # the objects are those of any framework, and may not be what they look like
        return UNMATCHED


def _included(fastapi: Any, route: object) -> Any:
    """Returns the object with the whole path: a route of a router included under a prefix has the path without it."""
    context = fastapi.get("effective_route_context")
    if context is None or (route is not None and context.original_route is not route):
        return route
    return context.starlette_route or context


def _template(scope: Mapping[str, Any], route: Any) -> str:
    if scope.get("fastapi"):
        route = _included(scope["fastapi"], route)
    path: object = getattr(route, "path_format", None)
    if not isinstance(path, str):
        return _without_route(scope)
    mount = hasattr(route, "routes")
    if mount and route.routes:
        return UNMATCHED  # no route in the Mount matched, or `route` would be that one
    parameters = scope.get("path_params", {}).keys()
    if not parameters or (not mount and parameters <= route.param_convertors.keys()):
        # root_path has the paths of the Mounts as requested. As these have no parameters, they are the templates.
        now: str = scope.get("root_path", "")
        return now.removeprefix(_root(scope)) + (_REST if mount else path)
    return _find(scope["router"].routes, path_in(scope), lambda each, rest: each is route) or path


def _without_route(scope: Mapping[str, Any]) -> str:
    """Returns the template if the scope has no route: set by the application, or found by the endpoint."""
    for template in (scope.get(ROUTE_KEY), scope.get("path_template")):  # Litestar sets path_template
        if isinstance(template, str):
            return template
    endpoint, router = scope.get("endpoint"), scope.get("router")
    if endpoint is None or router is None:
        return UNMATCHED

    # Starlette before 1.1, and FastAPI for routes that are not its own, such as a Mount.
    def fits(route: Any, rest: str) -> bool:
        return getattr(route, "endpoint", getattr(route, "app", None)) is endpoint and route.path_regex.match(rest)

    return _find(router.routes, path_in(scope), fits) or UNMATCHED


def _root(scope: Mapping[str, Any]) -> str:
    """Returns the prefix of the whole application (root_path). The first Mount keeps it as app_root_path."""
    root: str = scope.get("app_root_path", scope.get("root_path", ""))
    return root


def path_in(scope: Mapping[str, Any]) -> str:
    """Returns the path as the whole application sees it: without root_path."""
    path: str = scope["path"]
    root = _root(scope)
    return path.removeprefix(root) if path.startswith(f"{root}/") else path


def _find(routes: Iterable[Any], path: str, fits: Callable[[Any, str], bool]) -> str:
    """Returns the template of the route that fits, after those of the Mounts above it; empty if there is none."""
    for route in routes:
        inner = getattr(route, "routes", None)
        if fits(route, path):
            return UNMATCHED if inner else str(route.path_format)
        if inner and hasattr(route, "path_regex"):
            match = route.path_regex.match(path)
            found = match and _find(inner, f"/{match['path']}", fits)
            if found:
                return UNMATCHED if found == UNMATCHED else route.path_format.removesuffix(_REST) + found
        elif inner:  # a Host
            found = _find(inner, path, fits)
            if found:
                return found
    return ""


def of_environ(environ: Mapping[str, Any], root: str) -> str:
    """Returns the template. Called in start_response; `root` is SCRIPT_NAME before the application. Never raises."""
    try:
        route = _rule(environ)
        if not isinstance(route, str):
            return UNMATCHED
        path = environ.get("SCRIPT_NAME", "")
        return (route if path == root else path.removeprefix(root) + route) or "/"
    except Exception:  # as above
        return UNMATCHED


def _rule(environ: Mapping[str, Any]) -> object:
    request = environ.get("werkzeug.request")  # Flask sets it, and removes it when the application returns
    if request is not None:
        return getattr(getattr(request, "url_rule", None), "rule", None)
    template = environ.get(ROUTE_KEY)
    return getattr(environ.get("bottle.route"), "rule", None) if template is None else template
