"""The public callables: their parameters, and the text of help()."""

import inspect
import pydoc
from typing import Any

import pytest

import pyvars
from pyvars import access, asgi, django, health, prometheus, runtime, server, wsgi

PLACES = (pyvars, access, asgi, django, health, prometheus, runtime, server, wsgi)
CALLABLES = {
    f"{place.__name__}.{name}": value
    for place in PLACES
    for name in place.__all__
    if callable(value := getattr(place, name)) and getattr(value, "__module__", "").startswith("pyvars")
}


def signatures(value: Any) -> dict[str, inspect.Signature]:
    """The signatures of a function, or of a class and its public methods, by name."""
    found = (
        {"": inspect.signature(value)} if not isinstance(value, type) or value.__init__ is not object.__init__ else {}
    )
    if isinstance(value, type):
        methods = inspect.getmembers(value, inspect.isfunction)
        found.update({name: inspect.signature(each) for name, each in methods if not name.startswith("_")})
    return found


@pytest.mark.parametrize("name", CALLABLES)
def test_at_most_eight_parameters_and_by_name_after_two(name: str) -> None:
    value = CALLABLES[name]
    if isinstance(value, type) and issubclass(value, Exception):
        return
    for method, signature in signatures(value).items():
        parameters = [each for each in signature.parameters.values() if each.name != "self"]
        positional = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
        assert len(parameters) <= 8, f"{name}.{method}{signature}"
        # Except the three arguments of ASGI, which every server passes by position.
        assert len(positional) <= 2 or method == "__call__", f"{name}.{method}{signature}"


def test_help_begins_with_what_a_user_does() -> None:
    text = pydoc.plain(pydoc.render_doc(pyvars))
    description = text[text.index("DESCRIPTION") : text.index("PACKAGE CONTENTS")].splitlines()
    assert len(description) <= 2 * 24  # two screens of a terminal of 24 lines
    assert "publish(" in "\n".join(description[:10])


@pytest.mark.parametrize("kind", [pyvars.Int, pyvars.Float, pyvars.Map, pyvars.Histogram, pyvars.Registry])
def test_help_shows_no_internals(kind: type) -> None:
    public = {name for name in dir(kind) if not name.startswith("_")}
    internal = {"bind", "unbind", "restart", "code", "watcher", "on_change", "children", "merged", "combined", "inline"}
    assert not public & internal
    assert kind.__module__ == "pyvars"
    assert repr(kind) == f"<class 'pyvars.{kind.__name__}'>"
