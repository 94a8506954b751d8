"""The types of the public API, and calls that must be errors. Checked by mypy and pyright, never run."""

from collections.abc import AsyncGenerator, Callable, Generator, ItemsView
from typing import Never, assert_type

import pyvars
from pyvars import Float, Func, Histogram, Int, Map, Metadata, Registry, String, Var, publish, wsgi
from pyvars.asgi import CountRequests, DebugApp, Traffic, VarsMiddleware
from pyvars.health import HealthApp, check
from pyvars.runtime import install
from pyvars.server import Server


class Pool:
    def snapshot(self) -> dict[str, int]:
        return {"in_use": 3}


def depth() -> int:
    return 3


async def later() -> int:
    return 3


registry = Registry()

assert_type(publish("a", Int()), Int)
assert_type(publish("b", Float(), unit="eur", help="Revenue"), Float)
assert_type(publish("c", String("1.4"), exist_ok=True), String)
assert_type(publish("d", Map()), Map)
assert_type(Map(label="state").label, str)
assert_type(publish("e", registry), Registry)
assert_type(publish("f", Pool()), Pool)
assert_type(publish("g", depth), Func)
assert_type(registry.publish("a", Int(gauge=True)), Int)
assert_type(registry.publish("g", lambda: [1]), Func)


@publish("h", help="Queue depth")
def queue_depth() -> int:
    return 3


@registry.publish("h")
def registry_depth() -> int:
    return 3


same: Callable[[], int] = queue_depth
assert_type(queue_depth(), int)
assert_type(registry_depth(), int)

assert_type(Int().value, int)
assert_type(Float().value, float)
assert_type(String().value, str)
assert_type(Int().add(), None)
assert_type(Map()["a"], object)
assert_type(Map().var("a"), Var)
assert_type(pyvars.get("a"), Var | None)
assert_type(registry.get("a"), Var | None)
assert_type(registry["a"], Var)
assert_type(registry.items(), ItemsView[str, Var])
assert_type(registry.metadata("a"), Metadata)
assert_type(pyvars.default_registry, Registry)
assert_type(pyvars.serve(6060), Server)
assert_type(pyvars.serve(0, "::1", registry=registry).url, str)
install(registry, cmdline="redacted", only=["gc"])
DebugApp(registry)
VarsMiddleware(DebugApp(), registry=registry)
VarsMiddleware(DebugApp(), count=False)
CountRequests(DebugApp(), registry=registry)
VarsMiddleware(DebugApp(), count=Traffic(exclude=("/healthz", "/static/")))
wsgi.CountRequests(wsgi.DebugApp(), count=wsgi.Traffic(bounds=[0.1, 0.3, 1.2]))
wsgi.VarsMiddleware(wsgi.DebugApp(), count=False)
wsgi.CountRequests(wsgi.DebugApp(), registry=registry)
HealthApp(access=lambda request: request.peer == "10.0.0.1")


@check("db", timeout=1)
def db() -> bool:
    return True


assert_type(db(), bool)

assert_type(publish("in_use", lambda: 1, combine="sum"), Func)
assert_type(pyvars.serve(6060).serving, bool)

seconds = publish("seconds", Histogram(), unit="seconds")
assert_type(seconds, Histogram)
assert_type(seconds.buckets(), list[tuple[float, int]])
assert_type(Histogram(bounds=(0.1, 0.3, 1.2)).bounds, tuple[float, ...] | None)


@seconds.time()
@Int(gauge=True).track()
def work(number: int, *, word: str = "") -> bytes:
    return word.encode() * number


@seconds.time()
async def fetch(number: int) -> str:
    return str(number)


@seconds.time()
def lines(number: int) -> Generator[str, int, bool]:
    yield str(number)
    return True


@seconds.time()
async def stream(number: int) -> AsyncGenerator[str, int]:
    yield str(number)


async def use() -> None:
    assert_type(work(1, word="a"), bytes)
    assert_type(await fetch(1), str)
    assert_type(lines(1), Generator[str, int, bool])
    assert_type(stream(1), AsyncGenerator[str, int])
    with seconds.time():
        pass


# Mistakes that a type checker must find: an unused `type: ignore` is an error itself.
publish("x", 3)  # type: ignore[call-overload]
publish(3, Int())  # type: ignore[call-overload]
Int().value = 3  # type: ignore[misc]
Int().add(1.5)  # type: ignore[arg-type]
Int().add("1")  # type: ignore[arg-type]
Float().add("1")  # type: ignore[arg-type]
String(3)  # type: ignore[arg-type]
Map(label=3)  # type: ignore[arg-type]
Map().add(3)  # type: ignore[arg-type]
seconds.observe("1")  # type: ignore[arg-type]
work("1")  # type: ignore[arg-type]
Histogram(bounds=("1",))  # type: ignore[arg-type]
Traffic(exclude=3)  # type: ignore[arg-type]
CountRequests(DebugApp(), count=False)  # type: ignore[arg-type]
seconds.time()(3)  # type: ignore[type-var]
Map()["a"] = 3  # type: ignore[index]
registry["a"] = Int()  # type: ignore[index]
publish("x", Int(), combine="sum")  # type: ignore[call-overload]
publish("x", lambda: 1, combine="mean")  # type: ignore[call-overload]
CountRequests(DebugApp(), access=lambda request: True)  # type: ignore[call-arg]
wsgi.CountRequests(DebugApp())  # type: ignore[arg-type]
check("x")(3)  # type: ignore[type-var]
check("x", timeout="1")  # type: ignore[arg-type]
install(registry, cmdline="whole")  # type: ignore[arg-type]
assert_type(publish("x", later), Never)
