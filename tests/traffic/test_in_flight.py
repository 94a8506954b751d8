"""The requests of this process that are in flight, and the age of the oldest."""

import asyncio
import os
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from pyvars import Registry, wsgi
from pyvars.asgi import CountRequests, Traffic
from pyvars.traffic.in_flight import oldest, requests_in_flight
from tests.programs import output
from tests.traffic.test_asgi import hello, send_to
from tests.traffic.test_wsgi import Server

pytestmark = pytest.mark.usefixtures("both_kinds")


def test_the_oldest_is_the_first_that_is_not_finished(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    for module in ("asgi", "in_flight", "recorder"):
        monkeypatch.setattr(f"pyvars.traffic.{module}.perf_counter", lambda: now)
    ends = [asyncio.Event() for _ in range(3)]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await ends[int(scope["path"][1:])].wait()

    async def main() -> None:
        nonlocal now
        assert (requests_in_flight(), oldest()) == (0, None)
        apps = [CountRequests(app, registry=each) for each in (registry, Registry(), registry)]
        tasks = []
        for number, each in enumerate(apps):
            tasks.append(asyncio.create_task(send_to(each, f"/{number}")))
            await asyncio.sleep(0)
            now += 2
        seen = [(requests_in_flight(), oldest())]
        for number in (1, 0, 2):
            ends[number].set()
            await tasks[number]
            seen.append((requests_in_flight(), oldest()))
        assert seen == [(3, 6.0), (2, 6.0), (1, 2.0), (0, None)]

    asyncio.run(main())


def test_of_wsgi(registry: Registry) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return iter([b"x", b"y"])

    body: Any = Server(wsgi.CountRequests(app, registry=registry)).call()
    next(body)
    assert requests_in_flight() == 1
    age = oldest()
    assert age is not None
    assert 0 <= age < 60
    body.close()
    assert (requests_in_flight(), oldest()) == (0, None)


def test_what_is_left_out_is_not_among_them(registry: Registry) -> None:
    seen: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(requests_in_flight())

    asyncio.run(send_to(CountRequests(app, registry=registry, count=Traffic(exclude=("/",)))))
    asyncio.run(send_to(Starlette(routes=[Route("/", hello)])))
    assert seen == [0]


def test_a_forked_child_has_none() -> None:
    code = """
import asyncio, os, sys
from pyvars.asgi import CountRequests
from pyvars.traffic.in_flight import oldest, requests_in_flight
async def app(scope, receive, send):
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        print(requests_in_flight(), oldest(), flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
    print(requests_in_flight(), oldest() >= 0)
async def send(message): pass
asyncio.run(CountRequests(app)({"type": "http", "path": "/", "method": "GET"}, send, send))
print(requests_in_flight(), oldest())
"""
    assert output(code, PYVARS_NATIVE=os.environ["PYVARS_NATIVE"]) == "0 None\n1 True\n0 None\n"
