"""The middleware in front of a hello, world, against the same application without it: what every request pays.

The requests here are not for the page; they pass through. Over HTTP, the two applications are served by uvicorn, and a
target is for that: what a service would see. In process, the applications are called directly with nothing between, so
that the cost itself can be seen; there is no smaller request to be had than this one, and the share of the middleware
is the largest that it can be. The middleware that does nothing is the floor: one more coroutine.

The peers count requests for Prometheus: by method, status and route, with their seconds. The cells of `wrapped` are in
memory shared with sibling workers; those of the peers are in memory of their own, the faster of the two ways they have.
"""

import asyncio
import random
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from statistics import median, quantiles

from .hello import BODY, PEERS, application
from .table import RATIOS, nanoseconds, per_second, print_table, ratio_row, verdict

# Two processes of the very same program differ by some percent for all their life, and a machine from one moment to the
# next: so one process serves both, there are several such, and many short rounds. The bare application against itself
# shows what is left of that.
PROCESSES = 12
ROUNDS_OF_A_PROCESS = 60
BATCHES = 10  # in a round, of a request on each connection
CONNECTIONS = 8

ROUNDS_IN_PROCESS = 1000
REQUESTS_IN_PROCESS = 100  # in a round, of each kind of application
MICROSECONDS_ADDED = 3
# Where the limit of 3 us was set, the peers took 22 and 29: the same limit for a machine of any speed.
SHARES = {"prometheus-fastapi-instrumentator": 0.136, "starlette_exporter": 0.103}
WHOLE = "the whole request, bare"

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.3"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "path": "/",
    "raw_path": b"/",
    "query_string": b"",
    "root_path": "",
    "headers": [(b"host", b"localhost")],
    "client": ("127.0.0.1", 50000),
    "server": ("127.0.0.1", 8000),
}


@contextmanager
def served(kinds):
    """The applications in a process of their own: connections to each, which are kept alive."""
    command = [sys.executable, "-m", "tests.benchmarks.hello", *kinds]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        ports = [int(port) for port in process.stdout.readline().split()]
        with ExitStack() as stack:
            yield [
                [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(CONNECTIONS)]
                for port in ports
            ]
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def rate_over_http(connections):
    """Requests per second. The server always has several to answer, so it is what is waited for, not this client."""
    started = time.perf_counter()
    for _ in range(BATCHES):
        for connection in connections:
            connection.sendall(REQUEST)
        for connection in connections:
            answer = b""
            while not answer.endswith(BODY.encode()):
                answer += connection.recv(65536)
    return BATCHES * len(connections) / (time.perf_counter() - started)


def over_http():
    """Pairs of rates: with the middleware and without, and twice without."""
    wrapped, control = [], []
    for _ in range(PROCESSES):
        names = random.sample(["wrapped", "bare", "bare again"], 3)
        with served([name.split()[0] for name in names]) as connections:
            for number in range(ROUNDS_OF_A_PROCESS + 1):
                rates = {names[n]: rate_over_http(connections[n]) for n in random.sample(range(3), 3)}
                if number:  # the first round warms up
                    wrapped.append((rates["wrapped"], rates["bare"]))
                    control.append((rates["bare again"], rates["bare"]))
    return wrapped, control


async def receive():
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message):
    assert message.get("status", 200) == 200


async def time_in_process(app):
    """Nanoseconds of a request."""
    started = time.perf_counter_ns()
    for _ in range(REQUESTS_IN_PROCESS):
        await app(SCOPE.copy(), receive, send)
    return (time.perf_counter_ns() - started) / REQUESTS_IN_PROCESS


def in_process(kinds):
    """The time of a request by kind, and within that by round."""
    apps = {kind: application(kind) for kind in kinds}
    times = {kind: [] for kind in kinds}
    with asyncio.Runner() as runner:
        for number in range(ROUNDS_IN_PROCESS + 1):
            for kind in random.sample(kinds, len(kinds)):  # or each would always find the caches as the same one left
                took = runner.run(time_in_process(apps[kind]))
                if number:  # the first round warms up
                    times[kind].append(took)
    return times


def added(kind, times):
    """What the middleware adds to the bare request, and that."""
    return [(ours - bare, bare) for ours, bare in zip(times[kind], times["bare"], strict=True)]


def typical(kind, times):
    """What it adds, the median of all rounds."""
    return median(ours for ours, _ in added(kind, times))


def added_row(what, kind, times, *, at_most=None):
    """As of ratios, with a target for the time itself."""
    deciles = quantiles([ours for ours, _ in added(kind, times)], n=10)
    figure, bare = typical(kind, times), median(times["bare"])
    target, met = verdict(figure / 1e3, at_most=at_most)
    spread = f"{nanoseconds(deciles[0])} - {nanoseconds(deciles[-1])}"
    ratio = f"{figure / bare:.3f}"
    return what, WHOLE, nanoseconds(figure), nanoseconds(bare), ratio, spread, target and f"{target} µs", met


def peer_row(peer, times):
    ours, theirs = typical("wrapped", times), typical(peer, times)
    ratio = ours / theirs
    what = "added to a request in process"
    return (
        what,
        peer,
        nanoseconds(ours),
        nanoseconds(theirs),
        f"{ratio:.3f}",
        "",
        *verdict(ratio, at_most=SHARES[peer]),
    )


def main():
    http, control = over_http()
    peers = [peer for peer in PEERS if find_spec(peer.replace("-", "_"))]
    times = in_process(["bare", "empty", "serving", "counting", "wrapped", *peers])
    rates = [(1e9 / ours, 1e9 / bare) for ours, bare in zip(times["wrapped"], times["bare"], strict=True)]
    rows = [
        ratio_row("requests over HTTP", "the bare application", http, per_second, at_least=0.97),
        ratio_row("control: the bare application", "the bare application", control, per_second),
        ratio_row("requests in process", "the bare application", rates, per_second),
        added_row("added to a request in process", "wrapped", times, at_most=MICROSECONDS_ADDED),
        added_row("the same with count=False", "serving", times),
        added_row("added by CountRequests", "counting", times),
        added_row("added by a middleware that does nothing", "empty", times),
        *(peer_row(peer, times) for peer in peers),
    ]
    print_table("VarsMiddleware before Starlette's hello, world", RATIOS, rows)


if __name__ == "__main__":
    main()
