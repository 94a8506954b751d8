"""Hostile variables: `publish_values` publishes hostile values, `publish_names` hostile names.

`python -m pyvars --port <port> -m tests.formats.hostile` runs the demo shop with all of these variables.
"""

import math
import time
import warnings
from collections.abc import Callable

from pyvars import Float, Histogram, Int, Map, PyvarsWarning, Registry, String, default_registry

LONELY = "\ud800"
"""A lone surrogate: valid in a str of Python, and invalid in UTF-8."""


def deep(levels: int) -> object:
    nested: object = 0
    for _ in range(levels):
        nested = [nested]
    return nested


def deep_objects(levels: int) -> object:
    nested: object = {"bottom": 0}
    for _ in range(levels):
        nested = {"a": nested}
    return nested


def bottomless() -> object:
    return bottomless()


def raises(exception: BaseException) -> Callable[[], object]:
    def function() -> object:
        raise exception

    return function


class Silent:
    """An object that has no JSON form."""

    def __repr__(self) -> str:
        raise AssertionError("nobody shall show me")


FUNCTIONS: dict[str, Callable[[], object]] = {
    "returns_nan": lambda: math.nan,
    "returns_infinities": lambda: {"up": math.inf, "down": [-math.inf, 1.5]},
    "returns_over_64_bits": lambda: 2**70,
    "returns_digits": lambda: 10**400,
    "returns_most": lambda: 2**63 - 1,
    "returns_least": lambda: -(2**63),
    "returns_tiny": lambda: 5e-324,
    "returns_minus_zero": lambda: -0.0,
    "returns_too_deep": lambda: deep(400),
    "returns_set": lambda: {1, 2},
    "returns_bytes": lambda: b"\xff",
    "returns_object": lambda: Silent(),
    "returns_half": lambda: {"text": LONELY, "list": ["\udfff"]},
    "returns_none": lambda: None,
    "returns_empty": lambda: {"list": [], "object": {}, "text": ""},
    "returns_rows": lambda: [{"id": 1, "state": "paid"}, {"id": 2, "state": None}],
    "returns_markup": lambda: '</script>&\u2028\u2029\x00\x1b[31m\x7f"\\',
    "returns_megabytes": lambda: "x" * 3_000_000,
    "returns_many": lambda: [0] * 1_000_000,
    "raises_error": raises(ZeroDivisionError()),
    "raises_exit": raises(SystemExit(1)),
    "raises_interrupt": raises(KeyboardInterrupt()),
    "recurses": bottomless,
}


COLLECTD_LEVELS = 126
"""The number of levels up to which collectd's curl_json reads; it loses all figures after a deeper value."""


def publish_values(registry: Registry, hang: Callable[[], object]) -> None:
    """Hostile values under harmless names. `hang` is a function that does not return."""
    registry.publish("returns_deep", lambda: deep(COLLECTD_LEVELS))
    registry.publish("returns_deep_objects", lambda: deep_objects(COLLECTD_LEVELS - 1))
    for name, function in FUNCTIONS.items():
        registry.publish(name, function)
    registry.publish("hangs", hang)
    registry.publish("nan", Float(math.nan))
    registry.publish("infinity", Float(-math.inf))
    registry.publish("most", Int(2**63 - 1))
    registry.publish("least", Int(-(2**63)))
    registry.publish("half", String(f"a{LONELY}b"))
    registry.publish("empty", String(""))
    registry.publish("long", String("x" * 2_000_000))
    numbers = registry.publish("numbers", Map())
    numbers.set("nan", Float(math.nan))
    numbers.set("most", Int(2**63 - 1))
    numbers.set("text", String(LONELY))
    sizes = registry.publish("sizes", Histogram())
    for size in (0, 5e-324, 1.7e308, 10**18):
        sizes.observe(size)
    registry.publish("no_sizes", Histogram())
    outer, inner = Registry(), Registry()
    inner.publish("raises", raises(ValueError()))
    inner.publish("count", Int(1))
    outer.publish("inner", inner)
    outer.publish("itself", outer)
    registry.publish("outer", outer)
    registry.publish("nothing", Registry())


NAMES = (
    *("caf\xe9", "\u540d\u524d", "\U0001f600", f"half {LONELY}", "half \udfff", "half \ufffd"),
    *("with space", 'quote"d', "back\\slash", "new\nline", "null\x00", "<markup>&", "line\u2028separator"),
    *("a.b.c", "a", "slash/ed", "per%cent", "x" * 255, ".", "..", "$ref", "__proto__", "constructor"),
    *("{}", "[0]", "*", "^.*$", "null", "true", "NaN", "1", "-1", "the_memstats", "Memstats_", "cmdline2"),
)


def publish_names(registry: Registry) -> None:
    """Hostile names and keys with harmless values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PyvarsWarning)
        for name in NAMES:
            registry.publish(name, Int(1))
    keys = registry.publish("keys", Map())
    nested = registry.publish("nested", Registry())
    for key in ("", *NAMES):
        keys.add(key)
        if key:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", PyvarsWarning)
                nested.publish(key, Int(1))
    registry.publish("mapping", lambda: dict.fromkeys(["", *NAMES], 1.5))
    registry.publish("other_keys", lambda: {1: 1, None: 2, 1.5: 3, False: 4, "1": 5})


if __name__ == "__main__":
    from examples.shop import main

    publish_values(default_registry, lambda: time.sleep(3600))
    publish_names(default_registry)
    main(0)
