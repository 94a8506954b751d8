"""Answers the questions of peers: for the page of this process, the values of its functions, or its labels."""

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
    """The answer to a question of a peer: the page of this process, values of its functions, or its labels, as JSON.

    `seconds` of the question is the time for the answer, which is never longer than that of a request. `group` is the
    peer's census of the workers.
    """
    names, seconds = question.get("names"), question.get("seconds")
    texts = tuple(name for name in cast("list[object]", names) if isinstance(name, str)) if _is_list(names) else ()
    until = min(deadline(), monotonic() + seconds) if isinstance(seconds, int | float) else deadline()
    if question.get("ask") == "about":
        return own(registry)
    if question.get("ask") == "values":
        return _pages.values(registry, texts, until)
    hear(question.get("group"))
    return _pages.render(registry, texts, until)


def _is_list(data: object) -> bool:
    return isinstance(data, list)
