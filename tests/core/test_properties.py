"""Any Python data in any variable: the page parses, and all other variables are unchanged."""

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyvars import Float, Int, Map, PyvarsWarning, Registry, String
from pyvars.runtime import install
from pyvars.site.default import debug
from tests.conftest import local_request, strict

pytestmark = pytest.mark.usefixtures("both_kinds")

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())  # lone surrogates too
    | st.binary()
    | st.complex_numbers()
    | st.datetimes()
    | st.decimals()
    | st.frozensets(st.integers())
    | st.just(object()),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(st.characters()) | st.integers() | st.none() | st.floats() | st.binary(), inner)
    ),
    max_leaves=20,
)
keys = st.text(st.characters(), max_size=400)


def read(registry: Registry, path: str = "/debug/vars") -> Any:
    response = debug(registry, None, prefix="/debug").respond(local_request(path))
    assert response.status == 200
    return strict(response.body)


@settings(deadline=None)
@given(data=anything, more=anything)
def test_any_data(data: object, more: object) -> None:
    registry = Registry()
    registry.publish("a", Int(1))
    registry.publish("data", lambda: data)
    states = registry.publish("states", Map())
    states.add("fine", 2)
    states.set("more", lambda: more)
    registry.publish("z", String("z"))
    page = read(registry)
    assert (page["a"], page["z"], page["states"]["fine"]) == (1, "z", 2)
    errors = page.get("pyvars.errors", {})
    assert set(errors) <= {"data", "states.more"}
    assert page["data"] is None or "data" not in errors
    read(registry, "/debug/vars/data")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(counted=st.lists(st.tuples(keys, st.integers(-(2**40), 2**40))), bound=st.integers(1, 5))
def test_any_keys(counted: list[tuple[str, int]], bound: int) -> None:
    registry = Registry()
    states = registry.publish("states", Map(max_keys=bound))
    for key, number in counted:
        states.add(key, number)
    shown = read(registry)["states"]
    assert len(shown) <= bound + 1
    assert sum(shown.values()) == sum(number for _, number in counted)


@settings(deadline=None)
@given(names=st.lists(st.text(st.characters(), min_size=1, max_size=60), unique=True))
def test_any_names(names: list[str]) -> None:
    import warnings

    registry = Registry()
    accepted = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PyvarsWarning)
        for number, name in enumerate(names):
            try:
                registry.publish(name, Int(number))
            except ValueError:
                continue
            accepted += 1
    page = read(registry)
    assert len(page) == accepted
    assert sorted(page.values()) == sorted(var.value for var in registry.values())  # type: ignore[attr-defined]


@given(start=st.integers(-(2**63), 2**63 - 1), deltas=st.lists(st.integers(-(2**65), 2**65)))
def test_an_int_is_an_integer_of_64_bits(start: int, deltas: list[int]) -> None:
    number, model = Int(start), start
    for delta in deltas:
        try:
            number.add(delta)
        except OverflowError:
            assert not -(2**63) <= model + delta < 2**63 or not -(2**63) <= delta < 2**63
        else:
            model += delta
        assert number.value == model


@given(values=st.lists(st.floats() | st.integers(-(2**70), 2**70)))
def test_a_float_is_a_float(values: list[float]) -> None:
    number, model = Float(), 0.0
    for value in values:
        number.add(value)
        model += value
    assert number.value == model or math.isnan(model)
    assert type(number.value) is float


@settings(deadline=None, max_examples=30)
@given(data=anything)
def test_readers_of_memstats_are_safe_beside_any_variable(data: object) -> None:
    registry = Registry()
    install(registry)
    registry.publish("data", lambda: data)
    page = read(registry)
    assert page["memstats"]["HeapAlloc"] > 0
    assert isinstance(page["memstats"]["PauseTotalNs"], int)
    assert all(isinstance(word, str) for word in page["cmdline"])
