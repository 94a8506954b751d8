"""How long an ordinary request of a service takes while a client with access reads the most costly pages.

The service runs under uvicorn, with one event loop, and `pyvars.serve()` in the same process. One client requests a
small response of the service again and again on one connection, and measures each; the reader, another process,
meanwhile requests without a pause one of

names         64 `?name=` on 20,000 variables, 10 variables for each name; on the port of the service
whole         the page of the 20,000 variables; on the port of the service
gzip          the same page compressed; on the side port
worker=all    the pages of 50 live workers, processes that otherwise sleep; on the port of the service

A round is a second for each of these, and a second without a reader, in turns. Its figures are the median and the 99th
percentile of the times of the ordinary requests; the table has their medians over the rounds, and by how much the 99th
percentile was higher than without a reader, with its spread. The second table is of freshly started services of 50
workers: how many workers had their page in the first answer of `?worker=all`.
"""

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from statistics import median, quantiles

from .table import nanoseconds, print_table, verdict

ROUNDS = 9
SECONDS = 1.0
VARIABLES = 20_000
WORKERS = 50
STARTS = 5
COLUMNS = (
    "a reader of", "reads", "p50 beside", "p50 without", "p99 beside", "p99 without", "p99 more", "spread", "target",
    "met/missed",
)  # fmt: skip

SERVICE = """
import os, socket, sys
import uvicorn
import pyvars
from pyvars.asgi import VarsMiddleware
for i in range(int(sys.argv[1])):
    pyvars.publish(f"counter_{i:06}", pyvars.Int(i * 7919))
async def hello(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})
application = VarsMiddleware(hello)
ended, alive = os.pipe()
for _ in range(int(sys.argv[2]) - 1):
    if os.fork() == 0:
        os.close(alive)
        os.read(ended, 1)
        os._exit(0)
server = pyvars.serve(0)
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], server.port, flush=True)
uvicorn.Server(uvicorn.Config(application, log_level="warning", access_log=False)).run(sockets=[listener])
"""

READER = """
import http.client, json, sys, time
for line in sys.stdin:
    port, path, headers, seconds = json.loads(line)
    connection, reads, until = http.client.HTTPConnection("127.0.0.1", port), 0, time.monotonic() + seconds
    while time.monotonic() < until:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        reads += 1
    connection.close()
    print(reads, flush=True)
"""

NAMES = "/debug/vars?" + "&".join(f"name=counter_{i:05}" for i in range(0, 1984, 31))
READS = {
    "names": (False, 0, NAMES, {}),
    "whole": (False, 0, "/debug/vars", {}),
    "gzip": (False, 1, "/debug/vars", {"Accept-Encoding": "gzip"}),
    "worker=all": (True, 0, "/debug/vars?worker=all", {}),
}


@contextmanager
def started(code, *arguments):
    with tempfile.TemporaryDirectory() as folder:  # otherwise the services would share one group
        command, alone = [sys.executable, "-c", code, *map(str, arguments)], {**os.environ, "PYVARS_SHARE": folder}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, env=alone, **pipes) as process:
            yield process
            process.terminate()


@contextmanager
def served(variables, workers):
    """Starts a service with this number of variables and workers; yields its port and the port of its side port."""
    with started(SERVICE, variables, workers) as process:
        yield tuple(map(int, process.stdout.readline().split()))


def times(port, reader=None, read=()):
    """The sorted times of requests to the service in ns while a reader reads, and the number of pages that it read."""
    if reader is not None:
        print(json.dumps([*read, SECONDS + 0.2]), file=reader.stdin, flush=True)
        time.sleep(0.1)
    clock, found = time.perf_counter_ns, []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            begun = clock()
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while not answer.endswith(b"hello"):
                answer += connection.recv(65536)
            found.append(clock() - begun)
    reads = int(reader.stdout.readline()) if reader is not None else 0
    return sorted(found), reads


def p99(found):
    return found[len(found) * 99 // 100]


def first_answers():
    """The number of workers with a page in the first answer of each fresh service, and the time that it took."""
    for _ in range(STARTS):
        with served(0, WORKERS) as (port, _):
            connection, begun = http.client.HTTPConnection("127.0.0.1", port), time.perf_counter_ns()
            connection.request("GET", "/debug/vars?worker=all")
            pages = json.loads(connection.getresponse().read())
            yield sum("memstats" in page for page in pages.values()), time.perf_counter_ns() - begun
            connection.close()


def row(name, rounds):
    more = [p99(beside) - p99(without) for without, beside, _ in rounds]
    deciles, worst = quantiles(more, n=10), median(more)
    return (
        name,
        f"{median(reads for *_, reads in rounds) / (SECONDS + 0.2):,.0f}/s",
        nanoseconds(median(median(beside) for _, beside, _ in rounds)),
        nanoseconds(median(median(without) for without, _, _ in rounds)),
        nanoseconds(median(p99(beside) for _, beside, _ in rounds)),
        nanoseconds(median(p99(without) for without, _, _ in rounds)),
        nanoseconds(worst),
        f"{nanoseconds(deciles[0])} - {nanoseconds(deciles[-1])}",
        *verdict(worst / 1e6, at_most=5),
    )


def main():
    found = {name: [] for name in READS}
    with ExitStack() as stack:
        reader = stack.enter_context(started(READER))
        services = [stack.enter_context(served(VARIABLES, 1)), stack.enter_context(served(100, WORKERS))]
        for each in range(ROUNDS + 1):
            without = [times(ports[0])[0] for ports in services]
            for name, (several, side, path, headers) in READS.items():
                ports = services[several]
                beside, reads = times(ports[0], reader, (ports[side], path, headers))
                if each:  # the first round warms up
                    found[name].append((without[several], beside, reads))
        reader.stdin.close()
    print_table("An ordinary request beside a reader (target in ms)", COLUMNS, [row(*each) for each in found.items()])
    answers = list(first_answers())
    present = min(pages for pages, _ in answers)
    took = f"{nanoseconds(min(ns for _, ns in answers))} - {nanoseconds(max(ns for _, ns in answers))}"
    print_table(
        f"The first answer of ?worker=all, {STARTS} fresh services",
        ("workers", "pages in the first answer (fewest)", "time", "target", "met/missed"),
        [(str(WORKERS), str(present), took, *verdict(present, at_least=WORKERS))],
    )


if __name__ == "__main__":
    main()
