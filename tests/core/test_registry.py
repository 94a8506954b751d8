"""Registry: names, refused arguments and their errors, duplicates, warnings, nesting."""

import warnings

import pytest

import pyvars
from pyvars import (
    DuplicateNameError,
    Float,
    Func,
    Int,
    Map,
    Metadata,
    PyvarsError,
    PyvarsWarning,
    Registry,
    String,
    UnknownNameError,
)
from tests.programs import output

pytestmark = pytest.mark.usefixtures("both_kinds")


def test_publish_returns_what_it_was_given(registry: Registry) -> None:
    orders = Int()
    assert registry.publish("orders", orders) is orders
    assert registry["orders"] is orders
    assert registry.get("orders") is orders
    assert "orders" in registry
    assert len(registry) == 1
    assert isinstance(registry.publish("depth", [1].__len__), Func)


def test_publish_decorates_functions(registry: Registry) -> None:
    @registry.publish("flags", help="Flags that are on")
    def flags() -> dict[str, bool]:
        return {"dark": True}

    assert flags() == {"dark": True}
    assert registry["flags"].snapshot() == {"dark": True}
    assert registry.metadata("flags") == Metadata(help="Flags that are on", unit="")


def test_the_module_speaks_of_the_default_registry() -> None:
    orders = pyvars.publish("orders", Int(), help="Orders accepted", unit="orders")
    assert pyvars.get("orders") is orders
    assert pyvars.default_registry["orders"] is orders
    assert pyvars.default_registry.metadata("orders") == Metadata("Orders accepted", "orders")

    @pyvars.publish("answer")
    def answer() -> int:
        return 42

    assert answer() == 42
    pyvars.delete("orders")
    pyvars.delete("orders")
    assert pyvars.get("orders") is None


def test_any_object_with_a_snapshot_is_a_variable(registry: Registry) -> None:
    class Pool:
        def snapshot(self) -> dict[str, int]:
            return {"in_use": 3}

        def __call__(self) -> int:
            return 0

    pool = Pool()
    assert registry.publish("pool", pool) is pool
    assert registry.snapshot() == {"pool": {"in_use": 3}}


def test_unknown_names(registry: Registry) -> None:
    assert registry.get("x") is None
    assert registry.get("x", None) is None
    registry.delete("x")
    for look in (registry.__getitem__, registry.metadata):
        with pytest.raises(UnknownNameError, match="nothing is published as 'x'") as caught:
            look("x")
    assert isinstance(caught.value, KeyError)
    assert isinstance(caught.value, PyvarsError)
    assert str(caught.value) == "nothing is published as 'x'"


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (Int, r"publish\('x', Int\(\)\)"),
        (3, r"publish\('x', 3\): int is no variable"),
        (None, "NoneType is no variable"),
        ("text", "str is no variable"),
    ],
)
def test_what_is_no_variable_is_refused_with_what_to_write(registry: Registry, wrong: object, hint: str) -> None:
    with pytest.raises(TypeError, match=hint):
        registry.publish("x", wrong)  # type: ignore[call-overload]
    assert len(registry) == 0


def test_combine_is_for_functions_and_has_three_words(registry: Registry) -> None:
    assert registry.publish("in_use", lambda: 1, combine="sum").combine == "sum"

    @registry.publish("longest", combine="max")
    def longest() -> int:
        return 1

    for name, thing in (("a", Int()), ("b", Int), ("c", Registry()), ("d", 3)):
        with pytest.raises(TypeError, match="combine is for functions; numbers are summed over all workers"):
            registry.publish(name, thing, combine="sum")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match='combine is "sum", "max" or "min", got \'mean\''):
        registry.publish("mean", lambda: 1, combine="mean")  # type: ignore[call-overload]
    assert list(registry) == ["in_use", "longest"]


def test_coroutine_functions_are_refused(registry: Registry) -> None:
    async def depth() -> int:
        return 1

    with pytest.raises(TypeError, match="publish a plain function"):
        registry.publish("depth", depth)
    with pytest.raises(TypeError, match="publish a plain function"):
        registry.publish("depth")(depth)
    assert "depth" not in registry


@pytest.mark.parametrize("name", ["", "x" * 256, "ü" * 128, "\ud800" * 86])
def test_names_have_1_to_255_bytes(registry: Registry, name: str) -> None:
    with pytest.raises(ValueError, match=r"empty|255 bytes"):
        registry.publish(name, Int())
    assert registry.publish("x" * 255, Int()) in registry.values()


def test_the_name_comes_first(registry: Registry) -> None:
    with pytest.raises(TypeError, match=r'write @publish\("name"\)'):

        @registry.publish  # type: ignore[call-overload]
        def depth() -> int:
            return 1

    with pytest.raises(TypeError, match="the name comes first"):
        registry.publish(Int(), "a")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"publish\('x', A\(\)\)"):

        @registry.publish("x")
        class A:
            pass


def test_functions_that_need_arguments_are_refused(registry: Registry) -> None:
    class Pool:
        def size(self, kind: str) -> int:
            return 1

        def idle(self, kind: str = "all", *more: str, **options: str) -> int:
            return 2

    def keyword(*, kind: str) -> int:
        return 1

    for wrong in (lambda x: x, Pool().size, keyword, Pool.idle):
        with pytest.raises(TypeError, match="takes arguments"):
            registry.publish("x", wrong)  # type: ignore[call-overload]
    registry.publish("idle", Pool().idle)
    registry.publish("default", lambda x=3, *, y=4: x + y)
    registry.publish("built_in", [1].__len__)
    assert registry["idle"].snapshot() == 2
    assert registry["default"].snapshot() == 7


@pytest.mark.parametrize("name", [1, None, b"x", ("x",)])
def test_names_are_text(registry: Registry, name: object) -> None:
    with pytest.raises(TypeError, match="the name comes first and is a str"):
        registry.publish(name, Int())  # type: ignore[call-overload]


@pytest.mark.parametrize("name", ["memstats", "MemStats", "CMDLINE", "pyvars", "PyVars", "pyvars.errors", "pyvars."])
def test_reserved_names_are_refused_whatever_their_case(registry: Registry, name: str) -> None:
    with pytest.raises(ValueError, match="reserved"):
        registry.publish(name, Int())


def test_a_function_may_take_the_place_of_memstats_and_cmdline(registry: Registry) -> None:
    registry.publish("cmdline", lambda: ["shop"])
    registry.publish("memstats", lambda: {"HeapAlloc": 1})
    assert registry.snapshot() == {"cmdline": ["shop"], "memstats": {"HeapAlloc": 1}}
    with pytest.raises(ValueError, match="reserved"):
        registry.publish("Cmdline", lambda: ["shop"])


def test_a_name_is_taken_once(registry: Registry) -> None:
    orders = registry.publish("orders", Int(7))
    with pytest.raises(DuplicateNameError, match=r"'orders' is already published as Int\(7\)") as caught:
        registry.publish("orders", Int())
    assert isinstance(caught.value, ValueError)
    assert registry.publish("orders", Int(), exist_ok=True) is orders
    for other in (Float(), String(), Int(gauge=True), lambda: 1):
        with pytest.raises(DuplicateNameError, match="only a variable of the same kind"):
            registry.publish("orders", other, exist_ok=True)
    with pytest.raises(DuplicateNameError):
        registry.publish("orders", orders)
    registry.delete("orders")
    assert registry.publish("orders", Float()) is registry["orders"]


def test_exist_ok_knows_kinds(registry: Registry) -> None:
    class Own:
        def snapshot(self) -> int:
            return 1

    for name, first, second in (
        ("map", Map(), Map()),
        ("func", [1].__len__, [2].__len__),
        ("own", Own(), Own()),
        ("registry", Registry(), Registry()),
        ("gauge", Int(gauge=True), Int(gauge=True)),
    ):
        present = registry.publish(name, first)  # type: ignore[call-overload]
        kept = second if name == "own" else present
        assert registry.publish(name, second, exist_ok=True) is kept  # type: ignore[call-overload]

    with pytest.warns(PyvarsWarning, match="the later one replaces the first"):

        @registry.publish("func", exist_ok=True)
        def function() -> int:
            return 2

    assert function() == registry["func"].snapshot() == 2


def test_names_that_break_a_reader_warn_once_and_work(registry: Registry) -> None:
    with pytest.warns(PyvarsWarning, match="not plain ASCII") as caught:
        registry.publish("größe", Int())
    assert [warning.filename for warning in caught] == [__file__]
    registry.publish("http", Int())
    with pytest.warns(PyvarsWarning, match=r"'http\.requests' beside 'http'"):
        registry.publish("http.requests", Int())
    registry.publish("db.pool.size", Int())
    with pytest.warns(PyvarsWarning, match=r"'db\.pool' beside 'db\.pool\.size'") as caught:
        pyvars.Registry.publish(registry, "db.pool", Int())
    assert len(caught) == 1
    registry.delete("db.pool")
    registry.delete("db.pool.size")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        registry.publish("db.pool", Int())
        registry.publish("httpd", Int())
        registry.publish("a.b", Int())
        registry.publish("a.c", Int())


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        *(
            (name, "Elasticsearch refuses the page")
            for name in (" ", "\t", ".", "..", ".a", "b.", "c..d", "e. .f", " .g")
        ),
        (".".join("a" * 19), "Elasticsearch refuses a page of more than 20 levels"),
        *((name, "SignalFx") for name in ("memstats_enabled", "pymemstats", "memstats.x", "a.memstats")),
        *((name, "Telegraf's inputs.influxdb") for name in ("system", "build", "crypto")),
    ],
)
def test_each_reader_that_fails_on_a_name_is_named(registry: Registry, name: str, reader: str) -> None:
    with pytest.warns(PyvarsWarning) as caught:
        registry.publish(name, Int())
    assert any(reader in str(warning.message) for warning in caught)
    assert {warning.filename for warning in caught} == {__file__}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        registry.publish(name, Int(), exist_ok=True)  # once, when it was published


@pytest.mark.parametrize(
    "name", ["a b", " a", "a ", ".".join("a" * 18), "systems", "a.system", "memstat", "Build", "_"]
)
def test_names_that_readers_take(registry: Registry, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        registry.publish(name, Int())


def test_the_built_ins_warn_of_nothing(registry: Registry) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pyvars.runtime.install(registry)
        registry.publish("http", Int())


def test_who_makes_warnings_errors_has_published_nothing(registry: Registry) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PyvarsWarning):
            registry.publish("é", Int())
    assert "é" not in registry


def test_names_that_are_gone_are_forgotten() -> None:
    """Publishing and deleting many different names takes no memory."""
    code = """
import tracemalloc, pyvars
registry, tracemalloc_start = pyvars.Registry(), tracemalloc.start()
def churn(times):
    for number in range(times):
        registry.publish(f"job.{number}.state", pyvars.Int(), help="x")
        registry.delete(f"job.{number}.state")
    return tracemalloc.get_traced_memory()[0]
print(churn(100) + 20_000 > churn(5000))
"""
    assert output(code) == "True\n"


def test_a_warning_points_at_the_caller_of_the_module_function() -> None:
    with pytest.warns(PyvarsWarning) as caught:
        pyvars.publish("grün", Int())
    assert [warning.filename for warning in caught] == [__file__]


def test_it_is_a_mapping_sorted_by_name(registry: Registry) -> None:
    variables = {name: registry.publish(name, Int()) for name in ("b", "Z", "a.b")}
    assert list(registry) == list(registry.keys()) == ["Z", "a.b", "b"]
    assert list(registry.items()) == sorted(variables.items())
    assert list(registry.values()) == [variables["Z"], variables["a.b"], variables["b"]]
    assert repr(registry) == "<Registry of 3 variables>"


def test_registries_nest_and_are_told_apart_by_identity(registry: Registry) -> None:
    database = Registry()
    assert database != registry
    assert len({database, registry}) == 2
    queries = database.publish("queries", Int())
    registry.publish("db", database)
    queries.add(3)
    assert registry.snapshot() == {"db": {"queries": 3}}


def test_an_exception_of_a_function_is_the_users_own(registry: Registry) -> None:
    registry.publish("bad", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        registry.snapshot()


def test_one_variable_can_have_two_names(registry: Registry) -> None:
    orders = registry.publish("orders", Int())
    Registry().publish("orders", orders)
    registry.publish("orders_too", orders)
    orders.add()
    assert registry.snapshot() == {"orders": 1, "orders_too": 1}
