"""The views: what answers GET below /debug."""

from typing import ClassVar
from urllib.parse import parse_qsl

from pyvars.registry import Registry
from pyvars.site.http import Request, Response, respond_with, text
from pyvars.site.page import Pages, may_block, render_one

__all__ = ("Index", "Vars")

_JSON = "application/json; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"


class Vars:
    """The variables of a registry: the page, the part of it that `?name=` selects, or one bare value behind a slash."""

    description: ClassVar[str] = "every variable of the program and of its interpreter, as JSON"
    exact: ClassVar[bool] = False

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._pages = Pages()

    def may_block(self, request: Request, rest: str) -> bool:
        """Whether functions of the program are to run."""
        if rest:
            var = self._registry.get(rest)
            return var is not None and may_block(var)
        return self._pages.may_block(self._registry, _prefixes(request.query))

    def respond(self, request: Request, rest: str) -> Response:
        """200 with JSON; 404 for the name of no variable."""
        if not rest:
            page = self._pages.render(self._registry, _prefixes(request.query), request.deadline)
            return respond_with(200, page, _JSON)
        var = self._registry.get(rest)
        if var is None:
            return text(404, "no variable of that name")
        return respond_with(200, render_one(rest, var, request.deadline), _JSON)


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
