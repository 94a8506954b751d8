"""What a side port costs its program: the work done on one CPU while the page is read every second, or is not read.

The program is pure Python, holds the GIL all the time, and has a CPU to itself; the reader has the other. A round is a
second of work with one page, and a second without, in turns, in one process. The noise of most machines is larger than
the effect, so the last row has the CPU time of all other threads of the process, by the kernel's clocks: the time of
the pages, and nothing else.
"""

import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from statistics import median

from .table import ratio_row, verdict

ROUNDS = 25

PROGRAM = """
import os, sys, time
import pyvars
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
orders = pyvars.publish("orders", pyvars.Int())
server = pyvars.serve(port=0)
print(server.url, flush=True)
def work():
    done, until = 0, time.perf_counter() + 1.0
    while time.perf_counter() < until:
        for _ in range(1000):
            orders.add()
        done += 1
    return done
work()
for line in sys.stdin:
    process, thread = time.process_time(), time.thread_time()
    done = work()
    others = (time.process_time() - process) - (time.thread_time() - thread)
    print(done, others, flush=True)
"""

READER = """
import os, sys, time, urllib.request
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
for line in sys.stdin:
    time.sleep(0.5)
    with urllib.request.urlopen(line.strip() + "/debug/vars") as answer:
        assert answer.status == 200
"""


@contextmanager
def started(code):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with tempfile.TemporaryDirectory() as folder:  # otherwise workers of other benchmarks could be its peers
        alone = {**os.environ, "PYVARS_SHARE": folder}
        with subprocess.Popen([sys.executable, "-c", code], env=alone, **pipes) as process:
            yield process


def rounds():
    """Pairs of the work done with and without a page, and the CPU seconds of the pages."""
    pairs, costs = [], []
    with started(PROGRAM) as program, started(READER) as reader:
        url = program.stdout.readline().strip()

        def second(*, read):
            if read:
                print(url, file=reader.stdin, flush=True)
            print(file=program.stdin, flush=True)
            done, others = program.stdout.readline().split()
            return int(done), float(others)

        second(read=True)
        for _ in range(ROUNDS):
            (with_page, cost), (without, _) = second(read=True), second(read=False)
            pairs.append((without, with_page))
            costs.append(cost)
        program.stdin.close()
        reader.stdin.close()
    return pairs, costs


def rows():
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("this needs two CPUs")
    pairs, costs = rounds()
    what = "work beside a side port that is read every second"
    yield ratio_row(what, "the same, not read", pairs, lambda loops: f"{loops:,.0f}k", at_most=1.003)
    share = median(costs)
    ours = f"{share * 1e3:.2f} ms"
    yield ("CPU of the pages of a second", "a second", ours, "1 s", f"{share:.4f}", "", *verdict(share, at_most=0.003))
