"""Counting, against prometheus_client: what a program pays for each event.

prometheus_client is what Python programs mostly count with. A Map stands where labels stand there. Each statement runs
in timeit's loop, which is the same for all of them, so the loop itself is on both sides. The last two rows are the
floor: a method in Python that does nothing, and `str.isascii`, which is a method in C that does next to nothing.

The rounds are spread over several processes: where its objects happen to lie in memory changes what a call takes by up
to a tenth, for all the life of a process.
"""

from itertools import chain
from multiprocessing import get_context
from timeit import Timer

from prometheus_client import CollectorRegistry, Counter

import pyvars

from .table import RATIOS, nanoseconds, print_table, ratio_row, take_turns

PROCESSES = 8
ROUNDS = 6  # of a process
CALLS = 100_000  # in a round

# Statements as they run, and the target of their ratio.
COMPARED = (
    ("an_int.add()", "counter.inc()", 0.8),
    ('a_map.add("paid")', 'labelled.labels("paid").inc()', 0.25),
    ("a_float.add()", "counter.inc()", None),
    ("empty.method()", "counter.inc()", None),
    ("text.isascii()", "counter.inc()", None),
)


class Empty:
    def method(self):
        pass


def measure(_):
    """The rounds of one process: for each comparison its pairs, in ns of a call."""
    registry = CollectorRegistry()
    names = {
        "an_int": pyvars.Int(),
        "a_float": pyvars.Float(),
        "a_map": pyvars.Map(),
        "empty": Empty(),
        "text": "",
        "counter": Counter("orders", "Orders", registry=registry),
        "labelled": Counter("orders_by_state", "Orders by state", ["state"], registry=registry),
    }
    names["a_map"].add("paid")  # a present key is to be measured; prometheus_client's is made in the first round
    return [take_turns(nanoseconds_of(ours, names), nanoseconds_of(peer, names), ROUNDS) for ours, peer, _ in COMPARED]


def nanoseconds_of(statement, names):
    timer = Timer(statement, globals=names)
    return lambda: timer.timeit(CALLS) / CALLS * 1e9


def main():
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        processes = pool.map(measure, range(PROCESSES), chunksize=1)
    rows = []
    for (ours, peer, target), rounds in zip(COMPARED, zip(*processes, strict=True), strict=True):
        rows.append(ratio_row(ours, peer, list(chain.from_iterable(rounds)), nanoseconds, at_most=target))
    print_table("Counting", RATIOS, rows)


if __name__ == "__main__":
    main()
