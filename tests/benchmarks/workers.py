"""Numbers shared by worker processes, against prometheus_client's multiprocess mode.

Every process is a worker of both libraries, with the same 1,000 numbers, in memory on both sides. The pages are
requested in the first process, and must show the same numbers. Ours also has all built-ins, summed over the workers.

Cold: all runtime figures of this process are read anew for each page; those of the peers are requested every 100 ms.
Rested: single cold pages, over 100 ms apart, so that each requests the figures of all peers. Flood: pages back to back.
A recycled worker was forked, counted and ended; a page is read after every tenth. The figure of a round is the mean of
its pages.
"""

import json
import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from multiprocessing import get_context
from statistics import fmean
from tempfile import TemporaryDirectory
from timeit import Timer
from unittest.mock import patch

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

import pyvars
from pyvars.runtime import install
from pyvars.runtime.reading import REUSE_SECONDS, expire
from pyvars.site.default import debug
from pyvars.workers import MEMBER

from .page import REQUEST, nothing
from .table import RATIOS, nanoseconds, print_table, ratio_row, take_turns

SPAWN = get_context("spawn")

# What a worker counts, under which name or key.
INTS = {f"int_{i:03}": i for i in range(600)}
FLOATS = {f"float_{i:03}": i + 0.25 for i in range(200)}
KEYS = {f"key_{i:03}": i for i in range(200)}

PROCESSES = 3  # the number of processes that count, one after the other
COUNTING_ROUNDS = 8  # of a process
CALLS = 20_000  # in a round
WORKERS = (1, 4, 16)
PAGE_ROUNDS = 12
PAGES_OF_OURS, PAGES_OF_PEER = 25, 2  # in a round; ours take over 100 ms where there are peers
RECYCLED = 200

# Statements as they run, and the target of their ratio.
COMPARED = (
    ("an_int.add()", "a_private_int.add()", 1.3),
    ("an_int.add()", "counter.inc()", 0.05),
    ('a_map.add("paid")', 'labelled.labels("paid").inc()', None),
)


class Ours:
    """The numbers of this process in pyvars, and the page of all workers."""

    def __init__(self):
        registry = pyvars.Registry()
        install(registry)
        self.counted = [(registry.publish(name, pyvars.Int()), number) for name, number in INTS.items()]
        self.counted += [(registry.publish(name, pyvars.Float()), number) for name, number in FLOATS.items()]
        self.map = registry.publish("map", pyvars.Map())
        self.site = debug(registry, None, prefix="/debug")
        assert all(each._words is not None for each, _ in self.counted), MEMBER.reason

    def count(self):
        for each, number in self.counted:
            each.add(number)
        for key, number in KEYS.items():
            self.map.add(key, number)

    def page(self):
        return self.site.respond(REQUEST).body

    def numbers(self):
        page = json.loads(self.page())
        return {**page["map"], **{name: page[name] for name in (*INTS, *FLOATS)}}


class Peer:
    """The same in prometheus_client."""

    def __init__(self):
        registry, self.all = CollectorRegistry(), CollectorRegistry()
        both = {**INTS, **FLOATS}
        self.counted = [(Counter(name, "A number", registry=registry), number) for name, number in both.items()]
        self.labelled = Counter("map", "Numbers by key", ["key"], registry=registry)
        MultiProcessCollector(self.all)

    def count(self):
        for each, number in self.counted:
            each.inc(number)
        for key, number in KEYS.items():
            self.labelled.labels(key).inc(number)

    def page(self):
        return generate_latest(self.all)

    def numbers(self):
        samples = chain.from_iterable(family.samples for family in self.all.collect())
        return {each.labels.get("key", each.name.removesuffix("_total")): each.value for each in samples}


def worker():
    """Both sides in this process, which has counted."""
    ours, peer = Ours(), Peer()
    ours.count(), peer.count()
    return ours, peer


def peer(counted):
    _kept = worker()
    counted.wait()
    signal.pause()


def start_peers(number):
    """Return once they have counted. They end with this process."""
    counted = SPAWN.Barrier(number + 1, timeout=60)
    for _ in range(number):
        SPAWN.Process(target=peer, args=(counted,), daemon=True).start()
    counted.wait()


def check(ours, peer, workers):
    """Both pages must show what this number of workers has counted."""
    counted = {name: number * workers for name, number in {**INTS, **FLOATS, **KEYS}.items()}
    assert ours.numbers() == peer.numbers() == counted


def timed(page, times, before=nothing):
    """A function that measures a page in ns; `before` is called before each page and is not measured."""

    def once():
        before()
        started = time.perf_counter_ns()
        page()
        return time.perf_counter_ns() - started

    return lambda: fmean(once() for _ in range(times))


def rest():
    time.sleep(REUSE_SECONDS * 1.1)
    expire()


def counting():
    """The rounds of this process: for each comparison its pairs, in ns of a call."""
    ours, peer = worker()
    names = {"an_int": ours.counted[0][0], "a_private_int": pyvars.Int(), "a_map": ours.map}
    names |= {"counter": peer.counted[0][0], "labelled": peer.labelled}
    return [take_turns(*(nanoseconds_of(each, names) for each in pair), COUNTING_ROUNDS) for *pair, _ in COMPARED]


def nanoseconds_of(statement, names):
    timer = Timer(statement, globals=names)
    return lambda: timer.timeit(CALLS) / CALLS * 1e9


def live():
    """Rows of the page with live workers."""
    ours, peer = worker()
    rows, running = [], 1
    for workers in WORKERS:
        start_peers(workers - running)
        check(ours, peer, running := workers)
        for what, before, target in (("cold page", expire, 0.1), ("flood", nothing, 0.1)):
            pairs = take_turns(timed(ours.page, PAGES_OF_OURS, before), timed(peer.page, PAGES_OF_PEER), PAGE_ROUNDS)
            rows.append(ratio_row(f"{what}, W = {workers}", "generate_latest", pairs, nanoseconds, at_most=target))
        pairs = take_turns(timed(ours.page, 1, rest), timed(peer.page, 1, rest), PAGE_ROUNDS)
        rows.append(ratio_row(f"cold page, rested, W = {workers}", "generate_latest", pairs, nanoseconds))
    return rows


def recycled():
    """Rows of the page after many workers have ended, and of the files that they leave."""
    ours, peer = worker()
    for number in range(1, RECYCLED + 1):
        pid = os.fork()
        if not pid:
            ours.count(), peer.count()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        if number % 10 == 0:
            ours.page()
    check(ours, peer, RECYCLED + 1)
    pairs = take_turns(timed(ours.page, PAGES_OF_OURS, expire), timed(peer.page, 1), PAGE_ROUNDS)
    sizes = [bytes_in(os.environ[directory]) for directory in ("PYVARS_SHARE", "PROMETHEUS_MULTIPROC_DIR")]
    after = f"after {RECYCLED} recycled workers"
    return [
        ratio_row(f"cold page, W = 1, {after}", "generate_latest", pairs, nanoseconds, at_most=0.01),
        ratio_row(f"bytes on disk {after}", "its files", [sizes] * 2, "{:,.0f}".format),
    ]


def bytes_in(directory):
    return sum(entry.stat(follow_symlinks=False).st_blocks * 512 for entry in os.scandir(directory))


def alone(measure):
    """The result of `measure()` in a new process, whose workers have new directories."""
    with TemporaryDirectory(dir="/dev/shm") as ours, TemporaryDirectory(dir="/dev/shm") as peer:
        places = patch.dict(os.environ, PYVARS_SHARE=ours, PROMETHEUS_MULTIPROC_DIR=peer)
        with places, ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
            return pool.submit(measure).result()


def counting_rows():
    processes = [alone(counting) for _ in range(PROCESSES)]
    for (ours, peer, target), rounds in zip(COMPARED, zip(*processes, strict=True), strict=True):
        what, against = f"{ours}, shared", peer if "private" in peer else f"{peer}, multiprocess"
        yield ratio_row(what, against, list(chain.from_iterable(rounds)), nanoseconds, at_most=target)


def main():
    print_table("Pages of worker processes", RATIOS, [*alone(live), *alone(recycled)])


if __name__ == "__main__":
    main()
