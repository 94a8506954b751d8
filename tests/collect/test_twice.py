"""Code that runs twice: with `exist_ok=True` a later function or object replaces the earlier one."""

import functools
import importlib
import itertools
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pyvars
from pyvars import DuplicateNameError, Func, Histogram, Int, Map, Metadata, PyvarsWarning, Registry, String
from pyvars.runtime import install
from pyvars.site.default import debug
from tests.conftest import Read, local_request, strict, until
from tests.programs import ROOT

MAIN = """
import pyvars
@pyvars.publish("which", exist_ok=True)
def which():
    return __name__
class Pool:
    def snapshot(self):
        return __name__
pool = Pool()
assert pyvars.publish("pool", pool, exist_ok=True) is pool
def depth():
    return {"depth": __name__}
handed = pyvars.publish("depth", depth, exist_ok=True)
orders = pyvars.publish("orders", pyvars.Int(), exist_ok=True)
orders.add()
if __name__ == "__main__":
    from pyvars.wsgi import DebugApp
    app = DebugApp()  # the variables are shared with other workers from here
    import main  # as uvicorn.run("main:app") does
    assert main.handed is handed and main.orders is orders
    environ = {
        **{"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/vars", "SERVER_PROTOCOL": "HTTP/1.1"},
        **{"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost", "SERVER_NAME": "localhost", "SERVER_PORT": "80"},
        "QUERY_STRING": "name=which&name=pool&name=depth&name=orders",
    }
    print(b"".join(app(environ, lambda *_: None)).decode())
"""


@pytest.mark.parametrize("linked", [False, True])
def test_a_module_that_is_run_and_imported(tmp_path: Path, linked: bool) -> None:
    """Also if the path of the script contains a symbolic link, and the path of the import does not."""
    folder = tmp_path / "release"
    folder.mkdir()
    (folder / "main.py").write_text(MAIN)
    if linked:
        (tmp_path / "current").symlink_to(folder)
        folder = tmp_path / "current"
    done = subprocess.run(
        [sys.executable, "-W", "error", folder / "main.py"],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        timeout=100,
    )
    assert done.stderr == b""
    assert strict(done.stdout) == {"depth": {"depth": "main"}, "orders": 2, "pool": "main", "which": "main"}


CELL = """
@registry.publish("depth", exist_ok=True)
def depth():
    return NUMBER
class Pool:
    def snapshot(self):
        return NUMBER
registry.publish("pool", Pool(), exist_ok=True)
registry.publish("twice", lambda: 2 * NUMBER, exist_ok=True)
"""


def test_a_cell_of_a_notebook_that_is_run_again(registry: Registry, page: Read) -> None:
    """For Python each changed cell is another file, and all cells share one namespace."""
    notebook = {"registry": registry, "__name__": "__main__"}
    for number in range(3):
        cell = CELL.replace("NUMBER", str(number))
        exec(compile(cell, f"/tmp/ipykernel_7/{number}.py", "exec"), notebook)
        assert page() == {"depth": number, "pool": number, "twice": 2 * number}


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Any]]:
    """Writes a module and imports it, or reloads it if it is there already."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made: set[str] = set()

    def load(name: str, source: str) -> Any:
        (tmp_path / f"{name}.py").write_text(source)
        importlib.invalidate_caches()
        made.add(name)
        return importlib.reload(sys.modules[name]) if name in sys.modules else importlib.import_module(name)

    yield load
    for name in made:
        del sys.modules[name]


SOURCE = """
from pyvars import publish
def NAME():
    return VALUE
handed = publish("twice.depth", NAME, exist_ok=True)
class Pool:
    def snapshot(self):
        return VALUE
publish("twice.pool", Pool(), exist_ok=True)
"""


def shown(name: str) -> Any:
    return strict(debug(None, None, prefix="/debug").respond(local_request(f"/debug/vars/{name}")).body)


def test_a_module_that_is_reloaded(module: Callable[[str, str], Any]) -> None:
    first = module("twice_a", SOURCE.replace("NAME", "depth").replace("VALUE", "1")).handed
    second = module("twice_a", SOURCE.replace("NAME", "depth").replace("VALUE", "20")).handed
    assert first is second is pyvars.get("twice.depth")
    assert (shown("twice.depth"), shown("twice.pool")) == (20, 20)


@pytest.mark.parametrize(("file", "name"), [("twice_b", "depth"), ("twice_a", "length")])
def test_one_from_another_place_wins_with_a_warning(module: Callable[[str, str], Any], file: str, name: str) -> None:
    first = module("twice_a", SOURCE.replace("NAME", "depth").replace("VALUE", "1")).handed
    source = SOURCE.replace("NAME", name).replace("VALUE", "2")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PyvarsWarning):
            module(file, source)
    assert (shown("twice.depth"), shown("twice.pool")) == (1, 1)  # with warnings as errors nothing was published
    with pytest.warns(PyvarsWarning, match="the later one replaces the first") as caught:
        second = module(file, source).handed
    assert first is second
    assert (shown("twice.depth"), shown("twice.pool")) == (2, 2)
    texts = [str(warning.message) for warning in caught]
    assert "'twice.depth' was depth of " in texts[0]
    assert f"is now {name} of " in texts[0]
    assert f"{file}.py" in texts[0]
    assert len(texts) == (2 if file == "twice_b" else 1)  # the class Pool of twice_a is the same
    assert {Path(warning.filename).stem for warning in caught} == {file}


def timed(function: Callable[[], object]) -> Callable[[], object]:
    @functools.wraps(function)
    def call() -> object:
        return function()

    return call


class Counter:
    def __init__(self, size: int = 0) -> None:
        self.size = size

    def length(self) -> int:
        return self.size

    def other(self) -> int:
        return self.size

    @classmethod
    def count(cls) -> int:
        return 1


class Called(Counter):
    def __call__(self) -> int:
        return self.size


class Wraps:
    """A decorator that is a class."""

    def __init__(self, function: Callable[[], object]) -> None:
        functools.update_wrapper(self, function)

    def __call__(self) -> object:
        return 1


def one() -> int:
    return 1


def two() -> int:
    return 2


def endless() -> int:
    return 3


endless.__wrapped__ = endless  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("first", "second", "moved"),
    [
        (one, one, False),
        (one, two, True),
        (timed(one), timed(one), False),
        (timed(one), timed(two), True),
        (Wraps(one), Wraps(one), False),
        (Wraps(one), Wraps(two), True),
        (functools.partial(one), functools.partial(one), False),
        (functools.partial(one), functools.partial(two), True),
        (functools.cache(one).cache_info, functools.cache(one).cache_info, False),
        (functools.cache(one).cache_info, functools.cache(two).cache_info, True),
        (Counter().length, Counter().length, False),
        (Counter().length, Counter().other, True),
        (Counter.count, Counter().count, False),
        ([1].__len__, [2].__len__, False),
        ([1].__len__, "a".__len__, True),
        (time.time, time.time, False),
        (time.time, time.monotonic, True),
        (Called(), Called(), False),
        (functools.partial(Counter), functools.partial(Counter), False),
        (functools.partial(Counter), functools.partial(Called), True),
        (endless, endless, False),
        (Func(one), Func(one), False),
    ],
)
def test_where_a_function_comes_from(first: object, second: object, moved: bool) -> None:
    registry = Registry()
    registry.publish("x", first)  # type: ignore[call-overload]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        registry.publish("x", second, exist_ok=True)  # type: ignore[call-overload]
    assert bool(caught) is moved


def test_objects_of_any_class_are_of_one_kind(registry: Registry, page: Read) -> None:
    def made(value: int) -> Any:
        class Pool:
            kind = property(lambda self: 1 / 0)  # an attribute of the program's own

            def snapshot(self) -> int:
                return value

        return Pool()

    for number in range(3):
        pool = made(number)
        assert registry.publish("pool", pool, exist_ok=True) is pool is registry["pool"]
        assert page() == {"pool": number}


def test_what_holds_numbers_stays(registry: Registry) -> None:
    class Orders(Int):
        pass

    kinds: list[Callable[[], Any]] = [Int, Orders, Map, Histogram, String, Registry]
    for kind in kinds:
        present = registry.publish(kind.__name__, kind(), help="first", unit="a")
        assert registry.publish(kind.__name__, kind(), help="second", unit="b", exist_ok=True) is present
        assert registry.metadata(kind.__name__) == Metadata("first", "a")


def test_other_kinds_are_refused(registry: Registry) -> None:
    install(registry, only=["memstats"])
    registry.publish("function", lambda: 1)
    registry.publish("object", Wrapped())
    registry.publish("number", Int())
    for name, other in itertools.product(("function", "object", "number"), (lambda: 1, Wrapped(), Int(), Map())):
        same = {"function": type(other) is type(one), "object": type(other) is Wrapped, "number": type(other) is Int}
        if not same[name]:
            with pytest.raises(DuplicateNameError, match="same kind"):
                registry.publish(name, other, exist_ok=True)
    with pytest.raises(DuplicateNameError, match="same kind"):  # the program has to delete it first
        registry.publish("memstats", one, exist_ok=True)


class Wrapped:
    def snapshot(self) -> int:
        return 1


def function(value: object) -> Callable[[], object]:
    return lambda: value


def test_the_function_handed_out_is_repointed_under_each_of_its_names(registry: Registry, page: Read) -> None:
    nested = Registry()
    registry.publish("nested", nested)
    handed = nested.publish("a", function(1))
    registry.publish("b", handed)
    assert page() == {"b": 1, "nested": {"a": 1}}
    assert nested.publish("a", function(2), exist_ok=True) is handed
    assert registry.publish("b", handed, exist_ok=True) is handed
    assert page() == {"b": 2, "nested": {"a": 2}}
    assert handed.snapshot() == 2


def test_other_variables_of_the_same_function_keep_it(registry: Registry, page: Read) -> None:
    shared = function(1)
    for name in ("a", "b"):
        registry.publish(name, shared)
    assert page() == {"a": 1, "b": 1}
    registry.publish("a", function(2), exist_ok=True)
    for _ in range(3):
        assert page() == {"a": 2, "b": 1}


def test_one_that_hangs_can_be_replaced(registry: Registry, page: Read) -> None:
    release = threading.Event()
    registry.publish("depth", lambda: release.wait(60))
    try:
        assert page(deadline=time.monotonic() + 0.1)["depth"] is None
        registry.publish("depth", lambda: 7, exist_ok=True)
        assert page() == {"depth": 7}
    finally:
        release.set()


def test_a_class_of_ones_own_replaces_the_func(registry: Registry, page: Read) -> None:
    class Doubled(Func):
        __slots__ = ()

        def snapshot(self) -> Any:
            return [super().snapshot()] * 2

    registry.publish("depth", function(1))
    doubled = Doubled(function(2))
    assert registry.publish("depth", doubled, exist_ok=True) is doubled
    assert page() == {"depth": [2, 2]}


def test_options_of_the_later_one_win(registry: Registry) -> None:
    handed = registry.publish("depth", function(1), combine="sum", help="first", unit="a")
    registry.publish("depth", function(1), exist_ok=True, combine="max", help="second")
    assert (handed.combine, registry.metadata("depth")) == ("max", Metadata("second", "a"))
    registry.publish("depth", function(1), exist_ok=True)
    assert (handed.combine, registry.metadata("depth")) == (None, Metadata("second", "a"))
    registry.publish("pool", Wrapped(), help="first")
    registry.publish("pool", Wrapped(), help="second", exist_ok=True)
    assert registry.metadata("pool") == Metadata("second")


async def nothing() -> int:
    return 0


def test_functions_of_the_background(registry: Registry, page: Read) -> None:
    """The later function is called soon, and then no page shows a value of the earlier one."""
    handed = registry.publish("depth", function(1), every=3600)
    until(page, lambda shown: shown["depth"] == 1)
    registry.publish("depth", function(2), every=3600, exist_ok=True)
    while (value := page()["depth"]) != 2:
        assert value is None
    registry.publish("depth", function(3), exist_ok=True)
    assert (page()["depth"], handed.every) == (3, None)
    registry.publish("depth", function(4), every=3600, exist_ok=True)
    while (value := page()["depth"]) != 4:
        assert value is None


def test_a_coroutine_function_in_the_place_of_another(registry: Registry) -> None:
    import asyncio

    import httpx

    from pyvars.asgi import DebugApp

    async def main() -> None:
        transport = httpx.ASGITransport(DebugApp(registry))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:

            async def reads(value: int) -> None:
                while (await client.get("/vars/depth")).json() != value:
                    await asyncio.sleep(0.01)

            async def one() -> int:
                return 1

            async def two() -> int:
                return 2

            registry.publish("depth", one, every=3600)
            await reads(1)
            with pytest.warns(PyvarsWarning, match="the later one replaces the first"):
                registry.publish("depth", two, every=3600, exist_ok=True)
            await reads(2)

    asyncio.run(asyncio.wait_for(main(), 30))


def test_what_is_deleted_while_the_warning_is_shown_is_published_anew(
    registry: Registry, page: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.publish("depth", one, help="first")
    monkeypatch.setattr(warnings, "showwarning", lambda *_, **__: registry.delete("depth"))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        registry.publish("depth", two, exist_ok=True)
    assert page() == {"depth": 2}
    assert registry.metadata("depth") == Metadata()


def test_pages_while_threads_publish_again(registry: Registry, page: Read) -> None:
    """Each page shows one of the published functions, and the last page the last one."""
    done = threading.Event()
    names = ("function", "object")

    class Pool:
        def __init__(self, value: int) -> None:
            self.value = value

        def snapshot(self) -> int:
            return self.value

    def publish(value: int) -> None:
        registry.publish("function", function(value), exist_ok=True)
        registry.publish("object", Pool(value), exist_ok=True)

    def churn(thread: int) -> None:
        while not done.is_set():
            publish(thread)
            registry.delete(names[thread % 2])

    publish(0)
    threads = [threading.Thread(target=churn, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        pages = [page() for _ in range(50)]
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert all("pyvars.errors" not in each and set(each.values()) <= {0, 1, 2} for each in pages)
    publish(7)
    assert page() == {"function": 7, "object": 7}


options = st.fixed_dictionaries(
    {},
    optional={
        "help": st.sampled_from(["", "first", "second"]),
        "unit": st.sampled_from(["", "bytes"]),
        "combine": st.sampled_from([None, "sum", "max"]),
        "every": st.sampled_from([None, 60.0, 3600]),
    },
)


@settings(deadline=None)
@given(published=st.lists(st.tuples(st.integers(0, 9), options), min_size=1))
def test_after_any_row_of_publishes_the_last_one_holds(published: list[tuple[int, dict[str, Any]]]) -> None:
    registry, handed, about = Registry(), set[Func](), {"help": "", "unit": ""}
    for value, given_options in published:
        handed.add(registry.publish("x", function(value), exist_ok=True, **given_options))
        about |= {key: text for key in about if (text := given_options.get(key))}
    value, last = published[-1]
    (only,) = handed
    assert registry["x"] is only
    assert (only.snapshot(), only.combine, only.every) == (value, last.get("combine"), last.get("every"))
    assert registry.metadata("x") == Metadata(**about)
