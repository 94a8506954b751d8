"""The middleware in front of a hello, world, against the same application without it: what every request pays.

The requests here are not for the page; they pass through. Over HTTP, the two applications are served by uvicorn in two
processes, and the target is for that: what a service would see. In process, the applications are called directly with
nothing between, so that the cost itself can be seen; there is no smaller request to be had than this one, and the share
of the middleware is the largest that it can be. The middleware that does nothing is the floor: one more coroutine.
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

from .hello import BODY, application
from .table import RATIOS, nanoseconds, per_second, print_table, ratio_row, take_turns

# Two processes of the very same program can differ by some percent for all their life, and a machine from one moment to
# the next: so there are many processes and many short rounds.
PAIRS = 20
ROUNDS_OF_A_PAIR = 40
BATCHES = 10  # in a round, of a request on each connection
CONNECTIONS = 8

ROUNDS_IN_PROCESS = 60
REQUESTS_IN_PROCESS = 5_000  # in a round

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
def served(kind):
    """The application in a process of its own, and connections to it that are kept alive."""
    command = [sys.executable, "-m", "tests.benchmarks.hello", kind]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}  # or the dicts of the two would be laid out differently
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        address = "127.0.0.1", int(process.stdout.readline())
        with ExitStack() as stack:
            yield [stack.enter_context(socket.create_connection(address)) for _ in range(CONNECTIONS)]
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
    pairs = []
    for _ in range(PAIRS):
        with served("wrapped") as wrapped, served("bare") as bare:
            pairs += take_turns(lambda: rate_over_http(wrapped), lambda: rate_over_http(bare), ROUNDS_OF_A_PAIR)
    return pairs


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


def in_process(kind):
    app, bare = application(kind), application("bare")
    with asyncio.Runner() as runner:
        return take_turns(
            lambda: runner.run(time_in_process(app)),
            lambda: runner.run(time_in_process(bare)),
            ROUNDS_IN_PROCESS,
        )


def added(times):
    return [(ours - bare, bare) for ours, bare in times]


def main():
    http, empty, wrapped = over_http(), in_process("empty"), in_process("wrapped")
    rates = [(1e9 / ours, 1e9 / bare) for ours, bare in wrapped]
    whole = "the whole request, bare"
    rows = [
        ratio_row("requests over HTTP", "the bare application", http, per_second, at_least=0.97),
        ratio_row("requests in process", "the bare application", rates, per_second),
        ratio_row("added to a request in process", whole, added(wrapped), nanoseconds),
        ratio_row("added by a middleware that does nothing", whole, added(empty), nanoseconds),
    ]
    print_table("VarsMiddleware before Starlette's hello, world", RATIOS, rows)


if __name__ == "__main__":
    main()
