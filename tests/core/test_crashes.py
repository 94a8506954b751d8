"""Programs that crashed the interpreter, or could: code that runs during a call of the cells, and hostile classes.

PYTHONMALLOC=malloc_debug overwrites freed memory at once, so that using it crashes.
"""

import pytest

import pyvars
from tests.programs import output

BEGIN = """
import gc
from pyvars import Float, Histogram, Int, Map
from pyvars.core.cells import fast_methods
"""

CRASHED = {
    "a key that clears the Map when it is hashed": (
        "ok",
        """
class Key(str):
    def __hash__(self):
        states._clear(1000)
        return str.__hash__(self)
for _ in range(200):
    states = Map()
    for n in range(20):
        states.add(f"k{n}")
    states._put(Key("k5"), Int())
    states._place(Key("k6"), Int())
print("ok")
""",
    ),
    "a key in the dict of a Map that clears the Map when it is compared": (
        "ok",
        """
class Same:
    def __hash__(self):
        return hash("a")
    def __eq__(self, other):
        before = states._clear(1000)
        del [{} for _ in range(200)][:]  # enough dicts are kept to be used again: this one is freed
        del before
        return False
for _ in range(200):
    states = Map()
    states._cells[Same()] = Int()
    states.add("a")
print("ok")
""",
    ),
    "a flag that frees the value beside it": (
        "ok",
        """
class Flag:
    def __repr__(self):
        for each in gc.get_referrers(self):
            if type(each) is dict and "gauge" in each:
                each.clear()
        return "a flag"
for n in range(200):
    for kind, value in ((Int, 10**9 + n), (Float, n + 0.25)):
        try:
            kind(**{"value": value, "gauge": Flag()})
        except TypeError:
            continue
        print("no error")
print("ok")
""",
    ),
    "names of arguments that run code": (
        "Int(3, gauge=True) Float(0.5) refused refused refused refused refused refused refused ok",
        """
class Name(str):
    def __hash__(self):
        return hash(str(self))
    def __eq__(self, other):
        gc.collect()
        return str.__eq__(self, other)
print(Int(**{Name("value"): 3, Name("gauge"): True}), Float(gauge=False, value=0.5))
for wrong in ({"other": 1}, {Name("other"): 1}):
    for arguments in ((), (1,)):
        try:
            Int(*arguments, **wrong)
        except TypeError:
            print("refused")
for arguments, named in (((1, 2), {}), ((1,), {"value": 1}), ((), {"value": 1, Name("value"): 2})):
    try:
        Int(*arguments, **named)
    except TypeError:
        print("refused")
from functools import partial
strange = partial(Int)
strange.__setstate__((Int, (), {5: 1}, {}))
try:
    strange()
except TypeError:
    print("refused")
print("ok")
""",
    ),
    "a Map that the collector shows before it is made": (
        "False ok",
        """
found, kept = [], [{} for _ in range(200)]  # a dict that was used before would be taken without a collection
def callback(phase, info):
    kept.append(info)
    for each in gc.get_objects():
        if type(each) is Map:
            try:
                each.add("a")
                found.append(each._cells)
            except AttributeError:
                pass
gc.callbacks.append(callback)
gc.set_threshold(1)
held = [Map() for _ in range(100)]
gc.callbacks.clear()
print(None in found, "ok")
""",
    ),
    "classes that are larger than a cell": (
        "refused refused refused refused ok",
        """
class Slotted(Int):
    __slots__ = ("a", "b", "c", "d")
class With(Float):
    pass
for base, body in ((Slotted, {"__slots__": ()}), (With, {"__slots__": ()}), (Int, {}), (Int, {"__slots__": ("x",)})):
    try:
        fast = fast_methods(type("Fast", (base,), body))
        held = [fast() for _ in range(1000)]
        for each in held:
            each.a = each.b = each.c = each.d = each.x = each
    except (TypeError, AttributeError):
        print("refused")
print("ok")
""",
    ),
    "classes of a module that has no name": (
        "refused refused refused refused ok",
        """
for module in (5, None, "\\ud800", b"x"):
    try:
        fast_methods(type("Fast", (Int,), {"__slots__": (), "__module__": module}))
    except (TypeError, UnicodeEncodeError):
        print("refused")
print("ok")
""",
    ),
    "methods that end where they began": (
        "refused refused ok",
        """
class Endless(Map):
    _add = Map.add
class EndlessToo(Histogram):
    _first = Histogram.observe
for call in (lambda: Endless().add("a"), lambda: EndlessToo().observe(0.5)):
    try:
        call()
    except (RecursionError, TypeError):
        print("refused")
print("ok")
""",
    ),
    "a bucket that counts while it is destroyed": (
        "ok",
        """
class Last(Int):
    def __del__(self):
        seconds.observe(0.5)
        seconds._put(7, Int())
seconds = Histogram()
for n in range(50):
    seconds._put(n * 10, Last())
seconds.__init__()
print("ok")
""",
    ),
}


@pytest.mark.skipif(not pyvars.native, reason="the extension is not there: no compiler, or PYVARS_NATIVE=0")
@pytest.mark.parametrize("name", CRASHED)
def test_what_crashed(name: str) -> None:
    expected, code = CRASHED[name]
    told = output(BEGIN + code, PYVARS_NATIVE="1", PYTHONMALLOC="malloc_debug")
    assert told.split() == expected.split()


@pytest.mark.parametrize("kind", ["0", "1"])
def test_calls_at_random_find_nothing_in_a_second(kind: str) -> None:
    """`make sanitize` runs the fuzzer for longer, and detects the use of freed memory."""
    told = output("from tests.core.fuzz_cells import main; main()", PYVARS_NATIVE=kind, PYVARS_FUZZ_SECONDS="1")
    assert "calls in" in told
    assert told.endswith("no failure\n")
