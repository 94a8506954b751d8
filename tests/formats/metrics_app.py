"""A service of several workers with numbers of all kinds, some in one worker only: `tests.formats.metrics_app:app`."""

import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

import pyvars
from pyvars import Histogram, Int, Map, Registry
from pyvars.asgi import DebugApp

PID = os.getpid()

requests = pyvars.publish("requests", Map(label="method"), help="Requests")
seconds = pyvars.publish("seconds", Histogram(), unit="seconds")
by_route = pyvars.publish("seconds_by_route", Map(label="route"))
bound = pyvars.publish("bound", Map(max_keys=2))
pyvars.publish("cores", lambda: 1, combine="sum", help="One for each worker")
busy = pyvars.publish("busy", Map(label="worker"))
busy.set(str(PID), Int(1, gauge=True))
pyvars.publish(f"level_{PID}", Int(1, gauge=True))
pyvars.publish(f"map_{PID}", Map()).add("a")
pyvars.publish(f"seconds_{PID}", Histogram()).observe(1)
registry = pyvars.publish(f"registry_{PID}", Registry())
registry.publish("queries", Int(2))
registry.publish("open", Int(3, gauge=True))
registry.publish("by_table", Map()).add("t")
registry.publish("seconds", Histogram()).observe(1)


async def work(request: Request) -> PlainTextResponse:
    number = int(request.query_params["n"])
    requests.add(request.method)
    seconds.observe(number / 8)
    route = Histogram()
    if f"/{number}" not in by_route:
        by_route.set(f"/{number}", route)
    histogram = by_route.var(f"/{number}")
    assert isinstance(histogram, Histogram)
    histogram.observe(number / 8)
    for key in "abcd":
        bound.add(key)
    return PlainTextResponse(str(PID), headers={"Connection": "close"})


app = Starlette(routes=[Route("/work", work), Mount("/debug", DebugApp())])
