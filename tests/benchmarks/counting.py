"""The cost of counting an event, compared with a method that does almost nothing, and with other libraries.

The method is `str.isascii`, in C. A Map is compared with the labels of the other libraries. Each statement runs in
timeit's loop, so the cost of the loop itself is on both sides.

The rounds are spread over several processes, because the addresses of its objects change the time of a call by up to a
tenth, for the whole life of a process. In the row with threads a round counts to a million once.
"""

import threading
import time
from itertools import chain
from multiprocessing import get_context
from timeit import Timer

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, Counter, Histogram

import pyvars

from .table import nanoseconds, ratio_row, take_turns

PROCESSES = 4
ROUNDS = 6  # of a process
CALLS = 100_000  # in a round
SLOW_CALLS = 10_000
THREADS = 4
COUNTS = 1_000_000

# Statements as they run, and the target of their ratio.
COMPARED = (
    ("an_int.add()", "text.isascii()", 1.4),
    ("an_int.add()", "counter.inc()", 0.15),
    ("an_int.add()", "otel_counter.add(1)", 0.02),
    ('a_map.add("paid")', 'labelled.labels("paid").inc()', 0.08),
    ("a_histogram.observe(0.25)", "an_int.add()", 2.5),
    ("a_histogram.observe(0.25)", "histogram.observe(0.25)", None),
    ("an_int.add(5)", "counter.inc(5)", None),
    ("a_float.add(0.5)", "counter.inc(0.5)", None),
)


def measure(_):
    """The rounds of one process: for each comparison its pairs, in ns of a call; and those of threads."""
    registry = CollectorRegistry()
    meter = MeterProvider(metric_readers=[InMemoryMetricReader()]).get_meter("bench")
    names = {
        "an_int": pyvars.Int(),
        "a_float": pyvars.Float(),
        "a_histogram": pyvars.Histogram(),
        "a_map": pyvars.Map(),
        "text": "",
        "counter": Counter("orders", "Orders", registry=registry),
        "labelled": Counter("orders_by_state", "Orders by state", ["state"], registry=registry),
        "histogram": Histogram("seconds", "Seconds", registry=registry),
        "otel_counter": meter.create_counter("orders"),
    }
    names["a_map"].add("paid")  # an existing key is measured; prometheus_client makes its key in the first round
    pairs = [take_turns(nanoseconds_of(ours, names), nanoseconds_of(peer, names), ROUNDS) for ours, peer, _ in COMPARED]
    return [*pairs, take_turns(lambda: count_in(THREADS), lambda: count_in(1), ROUNDS)]


def count_in(number):
    """The nanoseconds in which this number of threads together counts to a million, exactly."""
    counted = pyvars.Int()

    def work():
        add = counted.add
        for _ in range(COUNTS // number):
            add()

    threads = [threading.Thread(target=work) for _ in range(number)]
    started = time.perf_counter_ns()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = time.perf_counter_ns() - started
    assert counted.value == COUNTS
    return taken


def nanoseconds_of(statement, names):
    timer, calls = Timer(statement, globals=names), SLOW_CALLS if "otel" in statement else CALLS
    return lambda: timer.timeit(calls) / calls * 1e9


def rows():
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        processes = pool.map(measure, range(PROCESSES), chunksize=1)
    threads = f"{THREADS} threads, one Int", "the same total in 1 thread", 1.5
    for (ours, peer, target), rounds in zip((*COMPARED, threads), zip(*processes, strict=True), strict=True):
        yield ratio_row(ours, peer, list(chain.from_iterable(rounds)), nanoseconds, at_most=target)
