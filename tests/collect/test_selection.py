"""Selection by name: `?name=` always shows the same variables as a comparison of each name would."""

import warnings
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyvars import Float, Int, Map, PyvarsWarning, Registry, String
from pyvars.runtime import install
from pyvars.site.default import debug
from tests.conftest import Read, local_request, strict

pytestmark = pytest.mark.usefixtures("both_kinds")

# Few letters, so that names are prefixes of one another; the last code point; and a lone surrogate.
names = st.text(st.sampled_from("ab.é\x7f\uffff\U0010ffff\ud800"), min_size=1, max_size=4)
prefixes = st.lists(names.filter(lambda name: "\ud800" not in name), min_size=1, max_size=6)


def numbers() -> Map:
    found = Map()
    found.add("a", 2)
    return found


def nested() -> Registry:
    found = Registry()
    found.publish("a", Int(3))
    found.publish("b", lambda: 4)
    return found


KINDS: list[Callable[[], Any]] = [Int, lambda: Float(0.5), lambda: String("<é>"), numbers, nested, lambda: lambda: 5]
steps = st.lists(st.tuples(st.booleans(), names, st.sampled_from(KINDS)), min_size=1, max_size=6)


def shown(registry: Registry, site: Any, chosen: list[str]) -> Any:
    query = "&".join(f"name={quote(prefix)}" for prefix in chosen)
    response = site.respond(local_request(query=query))
    assert response.status == 200
    return list(strict(response.body).items())


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(pages=st.lists(st.tuples(steps, prefixes), min_size=1, max_size=4))
def test_it_is_what_a_look_at_each_name_would_choose(pages: list[Any]) -> None:
    """Names are published and deleted between the pages."""
    registry = Registry()
    site = debug(registry, None, prefix="/debug")
    for changes, chosen in pages:
        for published, name, kind in changes:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", PyvarsWarning)  # names that are not ASCII
                if published and name not in registry:
                    registry.publish(name, kind())
                else:
                    registry.delete(name)
        whole = list(strict(site.respond(local_request()).body).items())
        expected = [
            member for name, member in zip(registry, whole, strict=True) if name.startswith(tuple(chosen))
        ]  # a registry gives its names in the order of the page
        assert shown(registry, site, chosen) == expected


def test_built_ins_and_errors_are_selected_too(registry: Registry, page: Read) -> None:
    install(registry)
    registry.publish("bad", lambda: 1 / 0)
    registry.publish("worse", lambda: 1 / 0)
    registry.publish("good", Int(1))
    assert list(page(query="name=g&name=b&name=py")) == [
        "bad",
        "gc",
        "good",
        "python",
        "pyvars.errors",
        "pyvars.workers",
    ]
    assert list(page(query="name=g&name=b")["pyvars.errors"]) == ["bad"]
    assert page(query="name=nothing&name=") == {}
