"""Answers the questions of peers: for the page of this process, for values of its functions, or for descriptions."""

from collections.abc import Mapping
from typing import cast

from pyvars.access.request import deadline
from pyvars.collect.about import own
from pyvars.collect.page import Pages
from pyvars.core.clock import monotonic
from pyvars.core.registry import Registry
from pyvars.workers.membership.census import hear

__all__ = ("answer",)

_pages = Pages()


def answer(registry: Registry, question: Mapping[str, object]) -> bytes:
    """The answer to a question of a peer, as JSON.

    The member `ask` of the question says what it asks for. `about`: the help, units and labels of variables. `values`:
    the values of the functions with these `names`, or without `names` of all functions with `combine`. Any other word:
    the page of this process, with the variables whose names begin with one of `names`, and with the census `group` of
    the peer (see `hear`). The answer takes at most `seconds`, and never longer than a request.
    """
    names, seconds = question.get("names"), question.get("seconds")
    texts = tuple(name for name in cast("list[object]", names) if isinstance(name, str)) if _is_list(names) else ()
    until = min(deadline(), monotonic() + seconds) if isinstance(seconds, int | float) else deadline()
    if question.get("ask") == "about":
        return own(registry)
    if question.get("ask") == "values":
        return _pages.values(registry, texts if _is_list(names) else None, until)
    hear(question.get("group"))
    return _pages.render(registry, texts, until)


def _is_list(data: object) -> bool:
    return isinstance(data, list)
