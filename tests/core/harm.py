"""Objects and classes of cells that run hostile code during a call; the fuzzer decides which code."""

import gc
import random
from array import array
from contextlib import suppress

from pyvars import Float, Histogram, Int, Map
from pyvars.core import cells
from pyvars.core.buckets import Buckets
from pyvars.core.counts import Counts

dice = random.Random()


class Harm(Exception):
    """What hostile objects raise."""


def harm():
    """What hostile objects do when one of their methods is called; the fuzzer replaces this function."""
    HARM[0]()


HARM = [lambda: None]


class Key(str):
    def __hash__(self):
        harm()
        return str.__hash__(self)

    def __eq__(self, other):
        harm()
        return str.__eq__(self, other)


class Same:
    """Not a str, but with the hash of one, so that a dict compares the two."""

    def __init__(self, key):
        self.key = key

    def __hash__(self):
        return hash(self.key)

    def __eq__(self, other):
        harm()
        return dice.random() < 0.5


class Hostile:
    def __index__(self):
        harm()
        return dice.choice((0, 1, -1, 3, 2**63, -(2**63), 2**70))

    def __float__(self):
        harm()
        return dice.choice((0.0, -0.0, 1e-300, 0.5, 1e308, float("nan"), float("inf")))

    def __bool__(self):
        harm()
        # Keyword arguments are in a dict, which hostile code can find and clear.
        for each in gc.get_referrers(self):
            if type(each) is dict and ("gauge" in each or "value" in each):
                each.clear()
        return True

    def __repr__(self):
        harm()
        return "hostile"

    def __del__(self):
        with suppress(Harm):
            harm()


class Memory:
    """Memory whose buffer comes from Python code, possible since Python 3.12."""

    def __buffer__(self, flags):
        harm()
        return memoryview(array("q", range(8)))

    def __release_buffer__(self, words):
        harm()


class HostileInt(Int):  # its instances have a __dict__ and weak references, and are tracked by the collector
    def __del__(self):
        with suppress(Harm):
            harm()


class SlottedFloat(Float):
    __slots__ = ("more",)


class MadeInt(Int):
    def __new__(cls, *args, **kwargs):
        harm()
        return super().__new__(cls)


class HostileMap(Map):
    def _add(self, key, delta=1):
        harm()
        return super()._add(key, delta)


class EndlessMap(Map):
    _add = Counts.add


class HostileHistogram(Histogram):
    def _first(self, n):
        harm()
        return dice.choice((super()._first, lambda n: n, Histogram.observe.__get__(self)))(n)


class EndlessHistogram(Histogram):
    _first = Histogram.observe


class Bare(Buckets):
    __slots__ = ()


CLASSES = (
    *(Int, Float, Map, Histogram, cells.IntCell, cells.FloatCell, Counts, Buckets),
    *(HostileInt, SlottedFloat, MadeInt, HostileMap, EndlessMap, HostileHistogram, EndlessHistogram, Bare),
)
