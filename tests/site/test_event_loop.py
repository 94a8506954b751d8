"""Long work does not run on the event loop, and short work uses no thread."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from pyvars import Int, Map, Registry, String
from pyvars.asgi import DebugApp
from tests.programs import output

MANY = 5000


async def is_done_at_once(app: DebugApp, path: str, query: str = "") -> bool:
    """Whether the application answers before the event loop runs anything else."""
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(b"host", b"localhost")],
        "http_version": "1.1",
        "client": ("127.0.0.1", 1),
    }
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError

    request = asyncio.ensure_future(app(scope, receive, send))
    await asyncio.sleep(0)
    at_once = request.done()
    await request
    assert sent[0]["status"] == 200
    return at_once


def filled(count: int, make: Callable[[], Any] = Int) -> Registry:
    registry = Registry()
    for number in range(count):
        registry.publish(f"v{number}", make())
    return registry


def a_map_of(count: int) -> Map:
    numbers = Map(max_keys=count)
    for number in range(count):
        numbers.add(f"key {number}")
    return numbers


def within(var: Any) -> Registry:
    """The variable in a registry within a registry, as `a.b`."""
    outer, inner = Registry(), Registry()
    inner.publish("b", var)
    outer.publish("a", inner)
    return outer


CASES: list[tuple[str, Callable[[], Registry], str, str, bool]] = [
    ("few", lambda: filled(1000), "/vars", "", True),
    ("few selected of few", lambda: filled(1000), "/vars", "name=v1&name=v2", True),
    ("few nested", lambda: within(filled(500)), "/vars", "", True),
    ("one of many", lambda: filled(MANY), "/vars/v1", "", True),
    ("many", lambda: filled(MANY), "/vars", "", False),
    ("few selected of many", lambda: filled(MANY), "/vars", "name=v11&name=v12", False),
    ("many nested", lambda: within(filled(MANY)), "/vars", "", False),
    ("many nested, alone", lambda: within(filled(MANY)), "/vars/a", "", False),
    ("a Map of many", lambda: within(a_map_of(MANY)), "/vars", "", False),
    ("many Maps", lambda: filled(30, lambda: a_map_of(100)), "/vars", "", False),
    ("errors, whatever is selected", lambda: filled(MANY), "/vars/pyvars.errors", "name=no", False),
]


async def large_pages() -> list[bool]:
    registry = filled(10, lambda: String("x" * 60_000))
    registry.publish("small", Int())
    app = DebugApp(registry)
    found = [await is_done_at_once(app, "/vars") for _ in range(2)]
    for number in range(10):
        registry.delete(f"v{number}")
    found += [await is_done_at_once(app, "/vars", "name=small") for _ in range(2)]
    return found + [await is_done_at_once(app, "/vars") for _ in range(2)]


async def all_cases() -> dict[str, list[bool]]:
    found: dict[str, list[bool]] = {"large": await large_pages()}
    for name, make, path, query, _ in CASES:
        app = DebugApp(make())
        found[name] = [await is_done_at_once(app, path, query) for _ in range(2)]
    return found


@pytest.fixture(scope="module")
def found() -> Any:
    """The result in a process without peers: if there are peers, a page may wait for them in a thread."""
    code = """
import asyncio, json
from tests.site.test_event_loop import all_cases
print(json.dumps(asyncio.run(all_cases())))
"""
    return json.loads(output(code))


@pytest.mark.parametrize(("name", "at_once"), [(case[0], case[-1]) for case in CASES])
def test_only_little_is_read_on_the_event_loop(found: Any, name: str, at_once: bool) -> None:
    assert found[name] == [at_once, at_once]


def test_a_large_page_is_not_rendered_there_again(found: Any) -> None:
    assert found["large"] == [True, False, False, False, False, True]
