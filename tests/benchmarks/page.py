"""The page of N Ints and all built-ins, against the page that Go's own expvar.Handler makes of N Ints.

Go's expvar is the model of pyvars, and its page has similar built-ins (cmdline, memstats). Both are called in process,
without a network: pyvars with a Request, Go's `ServeHTTP` with a writer that discards the page. The figure of a round
is the median time of its pages, so that one interruption does not distort it; the row `mean` has the mean time instead.

Pages are read in two ways. Cold: every runtime figure is read anew for each page. Flood: pages back to back, where
figures are read anew only every 100 ms. In the row `counting`, each Int is increased between two pages, outside of the
measured time, since an unchanged page could be cached. After the previous page the CPU still has all data in its
caches, which is not so for a scraper that comes every few seconds. The row `rested` has a cold page after a sleep.
"""

import gc
import json
import subprocess
import sysconfig
import tempfile
import time
from pathlib import Path
from statistics import fmean, median

import pyvars
from pyvars.access.request import Request
from pyvars.runtime import install
from pyvars.runtime.reading import expire
from pyvars.site.default import debug

from .table import RATIOS, nanoseconds, print_table, ratio_row, take_turns

ROUNDS = 40
ROUND_NS = 50_000_000  # of each side
RESTED_ROUNDS = 100  # of one page each
REST_SECONDS = 0.02
FACTOR = 7919  # the values are multiples of it, so that they differ in length
REQUEST = Request(
    method="GET",
    path="/debug/vars",
    root="",
    raw_path="/debug/vars",
    query="",
    headers=(("host", "localhost"),),
    peer="127.0.0.1",
    http_version="1.1",
    deadline=time.monotonic() + 1e6,
)


class Ours:
    """The page of pyvars."""

    def __init__(self, size):
        registry = pyvars.Registry()
        install(registry)
        self.ints = [registry.publish(f"counter_{i:06}", pyvars.Int(i * FACTOR)) for i in range(size)]
        self.site = debug(registry, None, prefix="/debug")

    def body(self):
        return self.site.respond(REQUEST).body

    def times(self, pages, before):
        """The time of each of `pages` in ns; `before` is called before each page and is not measured."""
        clock, respond, times = time.perf_counter_ns, self.site.respond, []
        for _ in range(pages):
            before()
            started = clock()
            respond(REQUEST)
            times.append(clock() - started)
        return times

    def count_all(self):
        for each in self.ints:
            each.add()


class Go:
    """The page of Go's expvar, in a process that measures one round on each request."""

    def __init__(self, program, size):
        self.process = subprocess.Popen([program, str(size)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        print(line, file=self.process.stdin, flush=True)
        return self.process.stdout.readline()

    def body(self):
        return self.ask("page")

    def times(self, pages):
        """Median and mean time of a page, in ns."""
        middle, mean = map(float, self.ask(pages).split())
        return middle, mean

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def build(folder):
    """Build the Go program, with the go command of the extra `bench`."""
    program = Path(folder) / "go_expvar"
    go = Path(sysconfig.get_path("scripts")) / "go"
    subprocess.run(
        [go, "build", "-buildvcs=false", "-o", program, "."], cwd=Path(__file__).parent / "go_expvar", check=True
    )
    return program


def check(body, size):
    """Both pages must say the same: N Ints and memstats."""
    page = json.loads(body)
    counters = {name: value for name, value in page.items() if name.startswith("counter_")}
    assert counters == {f"counter_{i:06}": i * FACTOR for i in range(size)}
    assert page["memstats"]["Sys"] > 0


def nothing():
    pass


def row(what, ours, go, before=nothing, *, mean=False, target=None):
    """Measure a row of the table. Rounds of both sides take about the same time."""
    pages_of_ours = pages_in_a_round(median(ours.times(5, before)))
    pages_of_go = pages_in_a_round(go.times(5)[0])
    pairs = take_turns(
        lambda: (fmean if mean else median)(ours.times(pages_of_ours, before)),
        lambda: go.times(pages_of_go)[mean],
        ROUNDS,
    )
    return ratio_row(what, "Go's expvar.Handler", pairs, nanoseconds, at_most=target)


def rested_row(what, ours, go):
    """The same for single cold pages, each after a sleep."""

    def of_ours():
        time.sleep(REST_SECONDS)
        return ours.times(1, expire)[0]

    def of_go():
        time.sleep(REST_SECONDS)
        return go.times(1)[0]

    return ratio_row(what, "Go's expvar.Handler", take_turns(of_ours, of_go, RESTED_ROUNDS), nanoseconds)


def growth_row(many, few):
    """How much more a variable of a large page costs than one of a small page."""

    def of_each(ours, pages):
        return lambda: median(ours.times(pages, expire)) / len(ours.ints)

    pairs = take_turns(of_each(many, 5), of_each(few, 200), ROUNDS)
    what, against = f"a variable on a cold page, N = {len(many.ints):,}", f"the same, N = {len(few.ints):,}"
    return ratio_row(what, against, pairs, nanoseconds, at_most=1.6)


def pages_in_a_round(ns):
    return max(5, int(ROUND_NS / ns))


def both_sides():
    """Yields each size with both sides, which have this number of Ints and show the same values."""
    with tempfile.TemporaryDirectory() as folder:
        program = build(folder)
        for size in (10, 1_000, 10_000, 100_000):
            ours = Ours(size)
            with Go(program, size) as go:
                check(ours.body(), size)
                check(go.body(), size)
                yield size, ours, go
            del ours
            gc.collect()


def cold_rows():
    for size, ours, go in both_sides():
        target = {10: 1.0, 1_000: 0.7, 10_000: 0.5, 100_000: 0.4}[size]
        yield row(f"cold page, N = {size:,}", ours, go, expire, target=target)
        if size == 100_000:
            yield growth_row(ours, Ours(1_000))


def main():
    rows = []
    for size, ours, go in both_sides():
        rows.append(row(f"flood, N = {size:,}", ours, go, target={10: 0.5, 1_000: 0.6}.get(size)))
        if size == 1_000:
            rows.append(row(f"flood, N = {size:,}, mean", ours, go, mean=True))
            rows.append(row(f"flood, N = {size:,}, counting", ours, go, ours.count_all))
            rows.append(rested_row(f"cold page, N = {size:,}, rested", ours, go))
    print_table("A page of N Ints with all built-ins", RATIOS, rows)


if __name__ == "__main__":
    main()
