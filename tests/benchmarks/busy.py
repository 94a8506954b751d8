"""How long a page with two functions takes if threads of the same process use all the CPU that they get.

A program has 0, 1, 4 or 8 threads that compute without a pause, and three servers, each in a thread:

page          the side port, `pyvars.serve()`, whose page has two functions
bare          uvicorn, configured as in the side port, with an application that answers "ok" without pyvars
client        prometheus_client's `start_http_server`, with two gauges that are functions

A client, another process, requests them in turns, over one connection each (prometheus_client closes it after each
response). It parses as little of a response as it can, so that its cost does not depend on the headers. `page` is
`/debug/vars?name=` with the two functions, `whole page` is `/debug/vars` with the built-ins. The first page is the
first one of a fresh program, with the time to open the connection. A value is missing if a function was `null`.
"""

import json
import socket
import subprocess
import sys
import time
from statistics import median, quantiles

from .table import nanoseconds, print_table, verdict

PAGE = b"/debug/vars?name=depth&name=open"
PAGES = 200
FIRSTS = 5
BURNING = (0, 1, 4, 8)
COLUMNS = ("burning threads", "", "page", "bare", "ratio", "target", "met/missed", "prometheus_client")

PROGRAM = """
import asyncio, socket, sys, threading
import uvicorn
import pyvars
from prometheus_client import CollectorRegistry, Gauge, start_http_server
def burn():
    number = 0
    while True:
        number += 1
for _ in range(int(sys.argv[1])):
    threading.Thread(target=burn, daemon=True).start()
pyvars.publish("depth", lambda: 7)
pyvars.publish("open", lambda: 8)
server = pyvars.serve(0)
async def ok(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
listener = socket.create_server(("127.0.0.1", 0))
listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as the side port does
config = uvicorn.Config(ok, http="h11", loop="asyncio", log_config=None, access_log=False, lifespan="off", ws="none",
                        proxy_headers=False, server_header=False, date_header=False)
bare = uvicorn.Server(config)
threading.Thread(target=bare.run, kwargs={"sockets": [listener]}, daemon=True).start()
registry = CollectorRegistry()
for name, value in (("depth", 7), ("open", 8)):
    Gauge(name, name, registry=registry).set_function(lambda value=value: value)
client, _ = start_http_server(0, "127.0.0.1", registry)
print(server.port, listener.getsockname()[1], client.server_port, flush=True)
sys.stdin.read()
"""


class Program:
    """A program with this number of computing threads, and connections to its servers."""

    def __init__(self, burning):
        command = [sys.executable, "-c", PROGRAM, str(burning)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ports = map(int, self.process.stdout.readline().split())
        self.ports = list(ports)
        self.connections = {}

    def get(self, server, path):
        """The time of a response in ns, and its body."""
        begun = time.perf_counter_ns()
        connection = self.connections.pop(server, None) or socket.create_connection(("127.0.0.1", self.ports[server]))
        connection.sendall(b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % path)
        body, is_kept = received(connection)
        taken = time.perf_counter_ns() - begun
        if is_kept:
            self.connections[server] = connection
        else:
            connection.close()
        return taken, body

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for connection in self.connections.values():
            connection.close()
        self.process.kill()
        self.process.communicate()


def received(connection):
    """The body of a response, and whether the connection stays open."""
    answer = b""
    while more := connection.recv(65536):
        answer += more
        head, end, body = answer.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2]
        if end and length and len(body) >= int(length.partition(b"\r\n")[0]):
            return body, not head.startswith(b"HTTP/1.0")
    return answer.partition(b"\r\n\r\n")[2], False


def p90(found):
    return quantiles(found, n=10)[-1]


def rows(burning):
    pages, wholes, bare, client, missing = [], [], [], [], 0
    with Program(burning) as program:
        for each in range(PAGES + 5):
            page, body = program.get(0, PAGE)
            times = page, program.get(1, b"/")[0], program.get(0, b"/debug/vars")[0], program.get(2, b"/metrics")[0]
            if each >= 5:  # the first ones warm up
                for found, taken in zip((pages, bare, wholes, client), times, strict=True):
                    found.append(taken)
                missing += None in json.loads(body).values()
    firsts = []
    for _ in range(FIRSTS):
        with Program(burning) as program:
            firsts.append(program.get(0, PAGE)[0])
    for name, figure in (("median", median), ("90th percentile", p90)):
        ratio = figure(pages) / figure(bare)
        shown = nanoseconds(figure(pages)), nanoseconds(figure(bare)), f"{ratio:.2f}"
        yield (str(burning), name, *shown, *verdict(ratio, at_most=1.3), nanoseconds(figure(client)))
    ratio = median(wholes) / median(bare)
    yield (
        str(burning),
        "whole page",
        nanoseconds(median(wholes)),
        nanoseconds(median(bare)),
        f"{ratio:.2f}",
        "",
        "",
        "",
    )
    first, page = median(firsts), median(pages)
    against = f"{nanoseconds(page)} (page)"
    ratio = first / page
    yield (str(burning), "first page", nanoseconds(first), against, f"{ratio:.2f}", *verdict(ratio, at_most=2), "")
    yield (str(burning), f"missing of {PAGES}", str(missing), "", "", *verdict(missing, at_most=2 * (burning > 4)), "")


def main():
    found = [row for burning in BURNING for row in rows(burning)]
    print_table("A page with two functions beside threads that burn CPU", COLUMNS, found)


if __name__ == "__main__":
    main()
