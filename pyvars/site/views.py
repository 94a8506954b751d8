"""The views: what answers GET below /debug."""

import os
from queue import Empty, SimpleQueue
from time import monotonic
from typing import ClassVar
from urllib.parse import parse_qsl

from pyvars.registry import Registry
from pyvars.site.http import Request, Response, respond_with, text
from pyvars.site.page import ERRORS, Pages, render_one, runs_code

__all__ = ("Index", "Vars")

_JSON = "application/json; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"

MAX_QUERY_BYTES = 4096
MAX_NAMES = 64
MAX_RENDERS = 2

_places: SimpleQueue[int] = SimpleQueue()  # who renders holds one; a tenth of the cost of a threading.Semaphore


def _renew_places() -> None:
    """Make the places; after a fork those that other threads held are free."""
    global _places
    _places = SimpleQueue()
    for place in range(MAX_RENDERS):
        _places.put(place)


_renew_places()
if hasattr(os, "register_at_fork"):  # pragma: no branch - it is missing on Windows only
    os.register_at_fork(after_in_child=_renew_places)


class Vars:
    """The variables of a registry: the page, the part of it that `?name=` selects, or one bare value behind a slash."""

    description: ClassVar[str] = "every variable of the program and of its interpreter, as JSON"
    exact: ClassVar[bool] = False

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._pages = Pages()

    def may_block(self, request: Request, rest: str) -> bool:
        """Whether functions of the program are to run, or other pages are to be waited for."""
        if len(request.query) > MAX_QUERY_BYTES:
            return False
        if _places.empty():
            return True
        if rest and rest != ERRORS:
            var = self._registry.get(rest)
            return var is not None and runs_code(var)
        return self._pages.may_block(self._registry, _prefixes(request.query))

    def respond(self, request: Request, rest: str) -> Response:
        """200 with JSON; 404 for the name of no variable; 400 for a query out of bounds; 503 if there is no place."""
        if len(request.query) > MAX_QUERY_BYTES:
            return text(400, f"the query has over {MAX_QUERY_BYTES} bytes")
        prefixes = _prefixes(request.query)
        if len(prefixes) > MAX_NAMES:
            return text(400, f"the query has over {MAX_NAMES} names")
        var = self._registry.get(rest) if rest else None
        if rest and rest != ERRORS and var is None:
            return text(404, "no variable of that name")
        places = _places
        try:
            place = places.get(timeout=max(0.0, request.deadline - monotonic()))
        except Empty:
            return text(503, "busy with other pages", more_headers=(("Retry-After", "1"),))
        try:
            if var is not None:
                body = render_one(rest, var, request.deadline)
            elif rest:
                body = self._pages.render_errors(self._registry, request.deadline)
            else:
                body = self._pages.render(self._registry, prefixes, request.deadline)
        finally:
            places.put(place)
        return respond_with(200, body, _JSON)


class Index:
    """What there is below the mount point."""

    description: ClassVar[str] = "this list"
    exact: ClassVar[bool] = True

    def __init__(self, descriptions: dict[str, str]) -> None:
        width = max(map(len, descriptions))
        lines = [f"{name:{width}}  {description}\n" for name, description in sorted(descriptions.items())]
        self._response = respond_with(200, "".join(lines).encode(), _TEXT)

    def may_block(self, request: Request, rest: str) -> bool:
        """Never."""
        return False

    def respond(self, request: Request, rest: str) -> Response:
        """A line for each view."""
        return self._response


def _prefixes(query: str) -> tuple[str, ...]:
    if not query:
        return ()
    return tuple(prefix for key, prefix in parse_qsl(query, keep_blank_values=True) if key == "name" and prefix)
