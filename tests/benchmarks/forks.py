"""How much longer a fork takes in a program with an integration than in one without.

Both programs fork in turns, so that a disturbance of the machine affects both. `fork` is the time of `os.fork()` in the
parent; `child` is the time until a child that ends at once has ended. The figures are medians, and the difference is
the median of the differences, with its 10th to 90th percentile.
"""

from statistics import median, quantiles

from .beside import started
from .table import nanoseconds, print_table, verdict

ROUNDS = 200
COLUMNS = ("a fork", "with", "without", "more (median)", "spread", "target", "met/missed")

PROGRAM = """
import os, sys, time
import pyvars
for number in range(100): pyvars.publish(f"count_{number}", pyvars.Int())
if sys.argv[1] == "with":
    from pyvars.asgi import DebugApp
    application = DebugApp()
clock = time.perf_counter_ns
for line in sys.stdin:
    begun = clock()
    pid = os.fork()
    if not pid: os._exit(0)
    forked = clock()
    os.waitpid(pid, 0)
    print(forked - begun, clock() - begun, flush=True)
"""


def forked(program):
    print(file=program.stdin, flush=True)
    return tuple(map(int, program.stdout.readline().split()))


def main():
    with started(PROGRAM, "with") as ours, started(PROGRAM, "without") as peer:
        forked(ours), forked(peer)
        pairs = [(forked(ours), forked(peer)) for _ in range(ROUNDS)]
        for program in (ours, peer):
            program.stdin.close()
    rows = []
    for index, what in enumerate(("fork", "child")):
        more = [ours[index] - peer[index] for ours, peer in pairs]
        deciles = quantiles(more, n=10)
        rows.append(
            (
                what,
                nanoseconds(median(ours[index] for ours, _ in pairs)),
                nanoseconds(median(peer[index] for _, peer in pairs)),
                nanoseconds(median(more)),
                f"{nanoseconds(deciles[0])} - {nanoseconds(deciles[-1])}",
                *verdict(median(more) / 1e6, at_most=5),
            )
        )
    print_table("Forks (target in ms)", COLUMNS, rows)


if __name__ == "__main__":
    main()
