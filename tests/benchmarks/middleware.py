"""The smallest application with the middleware, compared with the same application without: the cost for each request.

The middleware passes on all requests here. Over HTTP, uvicorn serves the two applications: this is the cost that a
service sees. In process, the applications are called directly, so that nothing else is in the measured time. No request
is smaller than this one, so the share of the middleware is the largest possible. The middleware that does nothing is
the minimum: one more coroutine. The rows of WSGI do the same with Flask.

The peers count requests for Prometheus: by method, status and route, with their seconds. The cells of `wrapped` are in
memory shared with other workers; those of the peers are in private memory, the faster of their two modes.
"""

import asyncio
import io
import os
import random
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from statistics import median, quantiles

from .hello import BODY, PEERS, application, wsgi_application
from .table import RATIOS, nanoseconds, per_second, print_table, ratio_row, verdict

# Two processes of one program differ by a few percent for their whole life, and a machine from one moment to the
# next. So one process serves both applications, in several processes and many short rounds. The row `control` compares
# the bare application with itself, and so shows the remaining noise.
PROCESSES = 12
ROUNDS_OF_A_PROCESS = 60
BATCHES = 10  # in a round, of a request on each connection
CONNECTIONS = 8

ROUNDS_IN_PROCESS = 1000
REQUESTS_IN_PROCESS = 100  # in a round, of each kind of application
OVER_HTTP = 0.92  # the least share of the requests that the bare application answers
ADDED = 0.40  # the most that the middleware may add, as a share of the bare request
OF_A_PEER = 1 / 8  # the most that it may add, as a share of what a peer adds

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
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else set()
    try:
        ports = [int(port) for port in process.stdout.readline().split()]
        if len(cpus) > 1:  # else the kernel runs this client on the server's CPU after each answer, in its place
            os.sched_setaffinity(0, cpus - {max(cpus)})
        with ExitStack() as stack:
            yield [
                [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(CONNECTIONS)]
                for port in ports
            ]
    finally:
        if cpus:
            os.sched_setaffinity(0, cpus)
        process.terminate()
        process.wait()
        process.stdout.close()


def rate_over_http(connections):
    """Requests per second. The server always has several requests waiting, so it is the server that is measured."""
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


ENVIRON = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": "/",
    "QUERY_STRING": "",
    "SERVER_NAME": "localhost",
    "SERVER_PORT": "8000",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "127.0.0.1",
    "HTTP_HOST": "localhost",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.input": io.BytesIO(),
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}


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
    with asyncio.Runner() as runner:
        return rounds(kinds, lambda kind: runner.run(time_in_process(apps[kind])))


def start_response(status, headers, exc_info=None):
    assert status == "200 OK"


def time_of_wsgi(app):
    """Nanoseconds of a request: a server iterates over the body, and closes it."""
    started = time.perf_counter_ns()
    for _ in range(REQUESTS_IN_PROCESS):
        body = app(ENVIRON.copy(), start_response)
        for _ in body:
            pass
        if hasattr(body, "close"):
            body.close()
    return (time.perf_counter_ns() - started) / REQUESTS_IN_PROCESS


def wsgi_in_process(kinds):
    """The same, of Flask."""
    apps = {kind: wsgi_application(kind) for kind in kinds}
    return rounds(kinds, lambda kind: time_of_wsgi(apps[kind]))


def rounds(kinds, measure):
    times = {kind: [] for kind in kinds}
    for number in range(ROUNDS_IN_PROCESS + 1):
        for kind in random.sample(kinds, len(kinds)):  # otherwise each would always run after the same other one
            took = measure(kind)
            if number:  # the first round warms up
                times[kind].append(took)
    return times


def added(kind, times):
    """What the middleware adds to the bare request, in each round."""
    return [ours - bare for ours, bare in zip(times[kind], times["bare"], strict=True)]


def added_row(what, kind, times, *, at_most=None):
    """What it adds, as a share of the bare request."""
    deciles = quantiles(added(kind, times), n=10)
    figure, bare = median(added(kind, times)), median(times["bare"])
    spread = f"{nanoseconds(deciles[0])} - {nanoseconds(deciles[-1])}"
    ratio = figure / bare
    shown = nanoseconds(figure), nanoseconds(bare), f"{ratio:.3f}"
    return what, "the whole request, bare", *shown, spread, *verdict(ratio, at_most=at_most)


def peer_row(peer, times):
    """What it adds, as a share of what the peer adds."""
    ours, theirs = median(added("wrapped", times)), median(added(peer, times))
    ratio = ours / theirs
    shown = nanoseconds(ours), nanoseconds(theirs), f"{ratio:.3f}"
    return "added to a request in process", peer, *shown, "", *verdict(ratio, at_most=OF_A_PEER)


def main():
    http, control = over_http()
    peers = [peer for peer in PEERS if find_spec(peer.replace("-", "_"))]
    times = in_process(["bare", "empty", "serving", "counting", "wrapped", *peers])
    rates = [(1e9 / ours, 1e9 / bare) for ours, bare in zip(times["wrapped"], times["bare"], strict=True)]
    rows = [
        ratio_row("requests over HTTP", "the bare application", http, per_second, at_least=OVER_HTTP),
        ratio_row("control: the bare application", "the bare application", control, per_second),
        ratio_row("requests in process", "the bare application", rates, per_second),
        added_row("added to a request in process", "wrapped", times, at_most=ADDED),
        added_row("the same with count=False", "serving", times),
        added_row("added by CountRequests", "counting", times),
        added_row("added by a middleware that does nothing", "empty", times),
        *(peer_row(peer, times) for peer in peers),
    ]
    print_table("asgi.VarsMiddleware before Starlette's hello, world", RATIOS, rows)
    times = wsgi_in_process(["bare", "empty", "serving", "counting", "wrapped"])
    rows = [
        added_row("added to a request in process", "wrapped", times, at_most=ADDED),
        added_row("the same with count=False", "serving", times),
        added_row("added by CountRequests", "counting", times),
        added_row("added by a middleware that does nothing", "empty", times),
    ]
    print_table("wsgi.VarsMiddleware before Flask's hello, world", RATIOS, rows)


if __name__ == "__main__":
    main()
