"""Runs the shop with four worker processes, and four customers that send requests: the page in a browser shows them.

make run                                         (or: python -m examples.busy_shop)
open http://127.0.0.1:8000/debug/
"""

import http.client
import math
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from threading import Thread

import uvicorn

WORKERS = 4
CUSTOMERS = 4


def customer(port: int) -> None:
    """Search, order and pay for ever, at a rate that rises and falls."""
    words = ["apple", "pear", "plum", "cherry", "quince", "fig", "grape"]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    while True:
        for _ in range(random.randint(5, 20)):
            method, path, body = random.choices(
                [
                    ("GET", f"/search/{random.choice(words)}", None),
                    ("POST", "/orders", f"amount={random.uniform(-2, 60):.2f}"),
                    ("POST", "/payments", ""),
                    ("POST", "/shipments", ""),
                    ("GET", "/report", None),
                ],
                weights=[10, 6, 5, 4, 1],
            )[0]
            with suppress(OSError, http.client.HTTPException):
                connection.request(method, path, body)
                connection.getresponse().read()
            time.sleep(random.expovariate(12 + 8 * math.sin(time.time() / 20)))
        connection.close()  # the next connection may be to another worker


def customers(port: int) -> None:
    """Run all customers, each in a thread, until interrupted."""
    for _ in range(CUSTOMERS):
        Thread(target=customer, args=(port,), daemon=True).start()
    with suppress(KeyboardInterrupt):
        signal.pause()


def main(port: int = 8000) -> None:
    """Serve until interrupted. Port 0 takes a free port."""
    try:
        with socket.create_server(("127.0.0.1", port)) as listener:
            port = listener.getsockname()[1]
    except OSError as error:
        sys.exit(f"the shop cannot open on port {port}: {error}; make run PORT=8100 takes another one")
    print(
        f"Look at http://127.0.0.1:{port}/debug/\n"
        f"The shop is open on http://127.0.0.1:{port}, with {WORKERS} workers and some customers.\n"
        f"  curl -X POST localhost:{port}/orders -d amount=9.90\n"
        f"  curl localhost:{port}/debug/vars\n"
        f"  curl localhost:{port}/debug/workers\n"
        f"  .venv/bin/pyvars get --human localhost:{port} orders memstats.HeapAlloc\n"
        "Ctrl-C closes it.",
        flush=True,
    )
    with subprocess.Popen([sys.executable, "-m", "examples.busy_shop", "customers", str(port)]) as load:
        try:
            uvicorn.run("examples.big_shop:app", host="127.0.0.1", port=port, workers=WORKERS, log_level="warning")
        finally:
            load.terminate()


if __name__ == "__main__":
    if sys.argv[1:2] == ["customers"]:
        customers(int(sys.argv[2]))
    else:
        main(*map(int, sys.argv[1:]))
