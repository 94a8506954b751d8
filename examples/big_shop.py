"""The shop with a catalogue, reports and payments: the service that `make run` starts (examples/busy_shop.py)."""

import asyncio
import random
import time
from collections import deque

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from examples.shop import app, by_state, stock
from pyvars import Histogram, Int, Map, publish

__all__ = ("app",)

searches = publish("searches", Map(label="word", max_keys=200), help="What customers look for")
report_seconds = publish("report_seconds", Histogram(), help="Time that a report takes")
payments_failed = publish("payments_failed", Int(), help="Payments that the bank refused")
reports: deque[list[float]] = deque(maxlen=20)
publish("reports_kept", lambda: len(reports), help="Reports in memory", combine="sum")


async def search(request: Request) -> JSONResponse:
    word = request.path_params["word"]
    searches.add(word)
    await asyncio.sleep(random.expovariate(200))
    return JSONResponse({"found": stock.get(word, 0)})


async def report(request: Request) -> JSONResponse:
    began = time.monotonic()
    await asyncio.sleep(random.uniform(0.02, 0.15))
    reports.append([random.random() for _ in range(20_000)])
    report_seconds.observe(time.monotonic() - began)
    return JSONResponse({"reports": len(reports)})


async def pay(request: Request) -> JSONResponse:
    await asyncio.sleep(random.expovariate(60))
    if random.random() < 0.03:
        payments_failed.add()
        raise HTTPException(502, "the bank does not answer")
    by_state.add("paid")
    return JSONResponse({"state": "paid"})


app.router.routes += [
    Route("/search/{word}", search),
    Route("/report", report),
    Route("/payments", pay, methods=["POST"]),
]
