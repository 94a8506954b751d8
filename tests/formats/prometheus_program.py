"""A program that Prometheus scrapes: `python -m tests.formats.prometheus_program <port> <orders a second>`."""

import sys
import time

import pyvars
from pyvars import Histogram, Int, Map

HOSTILE = (
    '"',
    "\\",
    "\n",
    "\r",
    "\t",
    "\x00",
    "\x1b",
    "\x7f",
    "\u2028",
    "\ufeff",
    "é",
    "🦉",
    "\udc80",
    "a" * 255,
    " ",
    "{}=,#",
)


def main() -> None:
    rate = float(sys.argv[2])
    orders = pyvars.publish("orders", Int(), help="Orders accepted")
    large = pyvars.publish("large", Int(2**53 + 1, gauge=True), help="More than a float can tell")
    checkout = pyvars.publish("checkout", Histogram(), unit="seconds", help="Time that a checkout takes")
    hostile = pyvars.publish("hostile", Map(label="text"), help='Any \\ "text"\n')
    for key in HOSTILE:
        hostile.add(key)
    http = pyvars.publish("http", Map(), help="Requests of the service")
    by_status, by_route = Map(label="status"), Map(label="route")
    requests, errors = Int(), Int()
    seconds, of_route = Histogram(), Histogram()
    for key, var in {
        "requests": requests,
        "errors": errors,
        "in_flight": Int(1, gauge=True),
        "by_status": by_status,
        "seconds": seconds,
        "seconds_by_route": by_route,
    }.items():
        http.set(key, var)
    by_route.set("/orders", of_route)
    pyvars.publish("broken", lambda: 1 / 0)
    assert large.value
    began = time.monotonic()
    with pyvars.serve(int(sys.argv[1])):
        while True:
            due = int((time.monotonic() - began) * rate) - orders.value
            for _ in range(due):
                number = orders.value
                orders.add()
                requests.add()
                by_status.add("500" if number % 4 == 0 else "200")
                errors.add(number % 4 == 0)
                for histogram in (checkout, seconds, of_route):
                    histogram.observe(0.3 if number % 10 else 3)
            time.sleep(0.02)


if __name__ == "__main__":
    main()
