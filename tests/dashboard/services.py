"""A service with variables of each kind, for tests of the page in a browser: `uvicorn tests.dashboard.services:app`.

It publishes PYVARS_TEST_VARIABLES more numbers. `wsgi_app` is for gunicorn.
"""

import os
import threading
import time
from collections.abc import Iterable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from pyvars import Histogram, Int, Map, String, publish, wsgi
from pyvars.access import default, token
from pyvars.asgi import DebugApp, VarsMiddleware
from tests.dashboard.browser import LONG, MARKUP

ticks = publish("ticks", Int(), help="Twenty a second, or as many as the machine lets through")
level = publish("level", Int(gauge=True), help="Up and down")
took = publish("took_seconds", Histogram(), unit="seconds")
words = publish("words", Map(), help="By word")
publish("release", String(f"1.4 {MARKUP}"))
publish("largest", lambda: 2**63 - 1)
publish("nothing", lambda: float("nan"))
publish("markup", {MARKUP: 1}.copy, help=MARKUP)
publish("zero\x00byte", Int(7))
publish("emoji 🐍", Int(1))
publish(LONG, Int(1))


@publish("broken")
def broken() -> int:
    raise ZeroDivisionError


@publish("slow")
def slow() -> int:
    time.sleep(2)
    return 1


for number in range(int(os.environ.get("PYVARS_TEST_VARIABLES", "0"))):
    publish(f"part{number // 20}_{number}", Int(number))
for number in range(60):
    words.add(f"word{number}", number)


def work() -> None:
    while True:
        time.sleep(0.05)
        ticks.add()
        level.add(1 if ticks.value % 40 < 20 else -1)
        took.observe(0.001 * (ticks.value % 50))
        words.add(f"word{ticks.value % 60}")


threading.Thread(target=work, daemon=True).start()


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


app = Starlette(routes=[Route("/hello/{name}", hello)])
app.add_middleware(VarsMiddleware)
guarded = Starlette(routes=[Mount("/debug", DebugApp(access=token("a-token-of-sixteen-characters")))])
deep = Starlette(routes=[Mount("/a/b/debug", DebugApp(access=default()))])


def hello_wsgi(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


wsgi_app = wsgi.VarsMiddleware(hello_wsgi)
