"""What a refused request costs, and whether its time reveals which names are published.

A client on another machine requests the variables of registries of three sizes, through each integration, in process:
without a query, with one `?name=` and with 64, of names that exist and of names that do not, all equally long. The time
under VarsMiddleware includes the application, which answers at once. The first table has the median time of each; a
round takes a few requests of each kind, so that a disturbance of the machine affects all.

The second table compares the times of two kinds of requests, sent in turns in random order. `slower` is the share of
pairs in which the request of the first kind takes longer, with ties as half: 0.5 if the time does not distinguish the
two kinds (the statistic of Mann and Whitney, divided by the number of pairs). The row `control` compares a kind with
itself, and so shows the noise of the machine.
"""

import asyncio
import itertools
import logging
import os
import random
import time
from bisect import bisect_left, bisect_right
from statistics import median

import pyvars
from pyvars import asgi, wsgi
from pyvars.access import local

from .table import nanoseconds, print_table, verdict

SIZES = (10, 1_000, 20_000)
ROUNDS = 60
CALLS = 5  # of each kind in a round
PAIRS = 4_000
AT_MOST_US = 20
SCOPE = {
    "type": "http",
    "method": "GET",
    "path": "/debug/vars",
    "raw_path": b"/debug/vars",
    "root_path": "",
    "query_string": b"",
    "headers": [(b"host", b"shop.example"), (b"user-agent", b"curl/8.5.0"), (b"accept", b"*/*")],
    "http_version": "1.1",
    "client": ("203.0.113.9", 51234),
    "server": ("10.0.0.5", 80),
}
ENVIRON = {
    "REQUEST_METHOD": "GET",
    "PATH_INFO": "/debug/vars",
    "SCRIPT_NAME": "",
    "QUERY_STRING": "",
    "REMOTE_ADDR": "203.0.113.9",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_HOST": "shop.example",
    "HTTP_USER_AGENT": "curl/8.5.0",
    "HTTP_ACCEPT": "*/*",
}


def named(count, prefix):
    return "&".join(f"name={prefix}_{number:06}" for number in range(count))


QUERIES = {
    "none": "",
    "1 name that exists": named(1, "counter"),
    "1 name that does not": named(1, "nothing"),
    "64 names that exist": named(64, "counter"),
    "64 names that do not": named(64, "nothing"),
}


def registry_of(size):
    registry = pyvars.Registry()
    for number in range(size):
        registry.publish(f"counter_{number:06}", pyvars.Int(number))
    return registry


async def asgi_application(scope, receive, send):
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def wsgi_application(environ, start_response):
    start_response("404 Not Found", [])
    return []


async def nothing(_=None):
    pass


def over_asgi(app, path):
    def timed(query):
        async def call():
            scope = {**SCOPE, "path": path, "raw_path": path.encode(), "query_string": query.encode()}
            begun = time.perf_counter_ns()
            await app(scope, nothing, nothing)
            return time.perf_counter_ns() - begun

        return call

    return timed


def over_wsgi(app, path):
    def timed(query):
        async def call():
            environ = {**ENVIRON, "PATH_INFO": path, "QUERY_STRING": query}
            begun = time.perf_counter_ns()
            app(environ, lambda *_: None)
            return time.perf_counter_ns() - begun

        return call

    return timed


WAYS = {
    "ASGI, VarsMiddleware": lambda registry: over_asgi(
        asgi.VarsMiddleware(asgi_application, registry=registry, access=local(), count=False), "/debug/vars"
    ),
    "ASGI, DebugApp": lambda registry: over_asgi(asgi.DebugApp(registry, access=local()), "/vars"),
    "WSGI, VarsMiddleware": lambda registry: over_wsgi(
        wsgi.VarsMiddleware(wsgi_application, registry=registry, access=local(), count=False), "/debug/vars"
    ),
    "WSGI, DebugApp": lambda registry: over_wsgi(wsgi.DebugApp(registry, access=local()), "/vars"),
}


async def cost_rows(ways):
    calls = {
        (way, query, size): ways[way, size](text)
        for way, (query, text), size in itertools.product(WAYS, QUERIES.items(), SIZES)
    }
    found = {kind: [] for kind in calls}
    for _ in range(ROUNDS):
        for kind, call in calls.items():
            found[kind] += [await call() for _ in range(CALLS)]
    for way, query in itertools.product(WAYS, QUERIES):
        medians = [median(found[way, query, size]) for size in SIZES]
        cells = [nanoseconds(each) for each in medians]
        yield (way, query, *cells, *verdict(max(medians) / 1e3, at_most=AT_MOST_US))


async def slower(first, second):
    """The share of pairs in which the request of the first kind takes longer."""
    kinds, found = (first, second), ([], [])
    order = [0, 1] * PAIRS
    random.Random(0).shuffle(order)
    for kind in order:
        found[kind].append(await kinds[kind]())
    ours, others = found[0], sorted(found[1])
    ranks = sum(bisect_left(others, each) + bisect_right(others, each) for each in ours)
    return ranks / (2 * PAIRS * PAIRS), median(ours) / median(others)


async def rank_rows(ways):
    few, many = SIZES[0], SIZES[-1]
    for way in WAYS:
        exist, do_not = QUERIES["64 names that exist"], QUERIES["64 names that do not"]
        for what, ours, others in (
            ("names that exist, or do not", ways[way, many](exist), ways[way, many](do_not)),
            (f"{many:,} variables, or {few:,}", ways[way, many](exist), ways[way, few](exist)),
            ("64 names, or no query", ways[way, many](exist), ways[way, many]("")),
            ("control", ways[way, many](exist), ways[way, many](exist)),
        ):
            share, ratio = await slower(ours, others)
            target = verdict(abs(share - 0.5), at_most=0.05) if "query" not in what else verdict(ratio, at_most=1.05)
            yield (way, what, f"{share:.3f}", f"{ratio:.3f}", *target)


async def tables():
    ways = {(way, size): make(registry_of(size)) for way, make in WAYS.items() for size in SIZES}
    columns = ("way in", "query", *(f"{size:,} variables" for size in SIZES), "target (µs)", "met/missed")
    print_table("A refused request", columns, [row async for row in cost_rows(ways)])
    columns = ("way in", "compared", "slower", "ratio of medians", "target", "met/missed")
    title = "Whether the time of a refusal reveals a name (target of |slower - 0.5|, or of the ratio)"
    print_table(title, columns, [row async for row in rank_rows(ways)])


def main():
    os.environ["PYVARS_SHARE"] = "off"  # otherwise workers of other benchmarks could be peers
    logging.disable()  # each site says once why it refuses
    asyncio.run(tables())


if __name__ == "__main__":
    main()
