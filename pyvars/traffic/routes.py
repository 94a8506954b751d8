"""The template of the route that a request took, such as /items/{id}, from what frameworks put in scope or environ.

Requests are not counted by path, because clients may request any number of paths.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pyvars.traffic.recorder import UNMATCHED

__all__ = ("ROUTE_KEY", "of_environ", "of_scope", "path_in", "whole_paths")

ROUTE_KEY = "pyvars.route"
"""The key of scope or environ under which any application may put the template of the route that it has chosen."""

_REST = "/{path}"  # the path_format of a Mount ends with this

whole_paths: set[str] = set()
"""Each `path_format` that was found to be the whole template of a route below no Mount and in no included router.

`of_scope` adds them; `ASGIRequest.send` need not call it for a route whose `path_format` is here.
"""
_MAX_WHOLE_PATHS = 10_000
"""How many of these are kept: the program may make ever new routes."""


def of_scope(scope: Mapping[str, Any]) -> str:
    """Returns the template, given the scope of a request that an application has handled. Never raises."""
    try:
        route = scope.get("route")
        path: Any = getattr(route, "path_format", None)
        direct = "app_root_path" not in scope and not scope.get("fastapi")  # below no Mount, in no included router
        if direct and type(path) is str and path and not path.endswith(_REST):
            if len(whole_paths) < _MAX_WHOLE_PATHS:
                whole_paths.add(path)
            return path
        return _template(scope, route) or "/"
    except Exception:  # `route` may be of any framework, and lack the attributes that Starlette's has
        return UNMATCHED


def _included(fastapi: Any, route: object) -> Any:
    """Returns the object that has the path with the prefix of an included router: the route itself lacks the prefix."""
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
        return UNMATCHED  # no route in the Mount matched, else `route` would be that one
    parameters = scope.get("path_params", {}).keys()
    if not parameters or (not mount and parameters <= route.param_convertors.keys()):
        # root_path has the paths of the Mounts as they were requested. Without parameters these are the templates.
        now: str = scope.get("root_path", "")
        return now.removeprefix(_root(scope)) + (_REST if mount else path)
    return _find(scope["router"].routes, path_in(scope), lambda each, rest: each is route) or path


def _without_route(scope: Mapping[str, Any]) -> str:
    """Returns the template if the scope has no route: the one that the application set, or that of the endpoint."""
    for template in (scope.get(ROUTE_KEY), scope.get("path_template")):  # Litestar sets path_template
        if isinstance(template, str):
            return template
    endpoint, router = scope.get("endpoint"), scope.get("router")
    if endpoint is None or router is None:
        return UNMATCHED

    # So with Starlette before 1.1, and with FastAPI for routes that are not its own, such as a Mount.
    def fits(route: Any, rest: str) -> bool:
        return getattr(route, "endpoint", getattr(route, "app", None)) is endpoint and route.path_regex.match(rest)

    return _find(router.routes, path_in(scope), fits) or UNMATCHED


def _root(scope: Mapping[str, Any]) -> str:
    """Returns the prefix of the whole application: root_path, which the first Mount saves as app_root_path."""
    root: str = scope.get("app_root_path", scope.get("root_path", ""))
    return root


def path_in(scope: Mapping[str, Any]) -> str:
    """Returns the path without root_path, as the whole application sees it."""
    path: str = scope["path"]
    root = _root(scope)
    return path.removeprefix(root) if path.startswith(f"{root}/") else path


def _find(routes: Iterable[Any], path: str, fits: Callable[[Any, str], bool]) -> str:
    """Returns the template of the route that fits, with those of the Mounts above it; empty if no route fits."""
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
    """Returns the template, during start_response. `root` is SCRIPT_NAME before the application ran. Never raises."""
    try:
        route = _rule(environ)
        if not isinstance(route, str):
            return UNMATCHED
        path = environ.get("SCRIPT_NAME", "")
        return (route if path == root else path.removeprefix(root) + route) or "/"
    except Exception:  # as in of_scope
        return UNMATCHED


def _rule(environ: Mapping[str, Any]) -> object:
    request = environ.get("werkzeug.request")  # Flask sets it, and removes it when the application returns
    if request is not None:
        return getattr(getattr(request, "url_rule", None), "rule", None)
    template = environ.get(ROUTE_KEY)
    return getattr(environ.get("bottle.route"), "rule", None) if template is None else template
