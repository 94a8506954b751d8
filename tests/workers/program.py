"""A program whose worker processes each have a side port: `python -m tests.workers.program <how many>`.

It prints the URL of each worker by pid, and ends when its standard input is closed. With `PATIENCE` in the environment
the deadline of a request is that many seconds, not 200 ms.
"""

import json
import os
import signal
import sys

import pyvars
from pyvars.access import request

request.DEADLINE_SECONDS = float(os.environ.get("PATIENCE") or request.DEADLINE_SECONDS)

orders = pyvars.publish("orders", pyvars.Int())
revenue = pyvars.publish("revenue", pyvars.Float())
open_orders = pyvars.publish("open_orders", pyvars.Int(gauge=True))
by_state = pyvars.publish("by_state", pyvars.Map(max_keys=4))
database = pyvars.publish("db", pyvars.Registry())
queries = database.publish("queries", pyvars.Int())


def work(number: int) -> None:
    """Publish and count variables of this worker only, and variables that all workers have."""
    orders.add(10 + number)
    revenue.add(number / 10)
    open_orders.set(1)
    queries.add(2)
    by_state.add("paid", 1)
    by_state.add(f"state {number}", number)
    by_state.set("limit", pyvars.Int(number))
    pyvars.publish(f"only_{number}", pyvars.Int(number))
    pyvars.publish("pid", os.getpid)
    pyvars.publish("in_use", lambda: number, combine="sum")
    pyvars.publish("longest", lambda: {"seconds": number / 2, "name": "n"}, combine="max")
    pyvars.publish("first", lambda: number, combine="min")


def main() -> None:
    urls = {}
    for number in range(1, int(sys.argv[1]) + 1):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit())
            os.close(reader)
            server = pyvars.serve(0)
            work(number)
            os.write(writer, server.url.encode())
            os.close(writer)
            while True:
                signal.pause()
        os.close(writer)
        with open(reader) as pipe:
            urls[pid] = pipe.read()
    print(json.dumps(urls), flush=True)
    sys.stdin.read()
    for pid in urls:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
