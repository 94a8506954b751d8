"""Names that are published, deleted and published again, as another process sees them; and their maximum number."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyvars.workers.numbers.segment import CHUNK, FLOAT, INT, MAP
from tests.programs import output
from tests.workers.test_damage import HALVES_WORD, ORDERS_WORD, ROOT, ROOT_WORD, record, segment
from tests.workers.test_segments import PRELUDE, READER, Program, file, measured, program

# Each line of its input is a statement, which it runs before it prints a page.
TOLD = f"""{PRELUDE}
from pyvars.core.variables import Composite
from pyvars.workers.numbers.segment import Segment
from pyvars.workers.numbers.records import Records
def at_each(function, do):
    # As a signal or a finalizer that comes when the function is called.
    sys.setprofile(lambda frame, event, _: event == "call" and frame.f_code is function.__code__ and do())
def at_next(function, do):
    todo = [do]
    at_each(function, lambda: todo and todo.pop()())
integration()
for line in sys.stdin:
    exec(line)
    print(json.dumps(ask()), flush=True)
"""
OBSERVER = f"""{PRELUDE}
integration()
for line in sys.stdin:
    print(json.dumps(ask()), flush=True)
"""
BUILTINS = {"asyncio", "cmdline", "gc", "memstats", "process", "pyvars.workers", "python", "threads"}


class Pair:
    """A program that runs statements, and another one whose page has its numbers."""

    def __init__(self, told: Program, observer: Program) -> None:
        self._told = told
        self._observer = observer

    def do(self, statement: str) -> dict[str, Any]:
        """Run a statement. Returns the page, which must be the same in both programs."""
        mine, seen = self._told.page(statement), self._observer.page()
        for page in (mine, seen):
            assert page["pyvars.workers"]["reason"] == ""
        shown, expected = ({name: page[name] for name in page.keys() - BUILTINS} for page in (seen, mine))
        assert shown == expected
        return shown


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    place = tmp_path_factory.mktemp("shared")  # pytest makes it with mode 0700
    with measured(TOLD, PYVARS_SHARE=place) as told, program(OBSERVER, PYVARS_SHARE=place) as observer:
        yield Pair(told, observer)


@pytest.fixture
def pair(programs: Pair) -> Iterator[Pair]:
    yield programs
    assert programs.do(f"[pyvars.delete(name) for name in pyvars.default_registry if name not in {BUILTINS}]") == {}


def test_a_registry_that_goes_while_it_comes(pair: Pair) -> None:
    pair.do("db = pyvars.Registry(); number = db.publish('x', pyvars.Int(1))")
    assert pair.do("at_next(Records._admit, lambda: pyvars.delete('db')); pyvars.publish('db', db)") == {}
    assert pair.do("sys.setprofile(None); number.add(); pyvars.publish('db', db)") == {"db": {"x": 2}}


def test_numbers_that_are_set_and_become_floats(pair: Pair) -> None:
    pair.do("total = pyvars.publish('total', pyvars.Float())")
    pair.do("by = pyvars.publish('by', pyvars.Map()); by.add('a')")
    assert pair.do("total.set(2.5)") == {"total": 2.5, "by": {"a": 1}}
    assert pair.do("by.add('a', 0.5)")["by"] == {"a": 1.5}
    assert pair.do("by.add('a', 0.25)")["by"] == {"a": 1.75}


def test_keys_that_are_taken_away_and_put_again(pair: Pair) -> None:
    pair.do("by = pyvars.publish('by', pyvars.Map()); by.add('c')")
    assert pair.do("one = pyvars.Int(3); by.set('a', one); by.set('b', one)")["by"] == {"a": 3, "b": 3, "c": 1}
    assert pair.do("by.set('a', one); one.add()")["by"] == {"a": 4, "b": 4, "c": 1}
    assert pair.do("by.clear(); by.add('c', 7)")["by"] == {"c": 7}


def test_a_number_that_has_many_names(pair: Pair) -> None:
    assert pair.do("n = pyvars.Int(5); [pyvars.publish(name, n) for name in 'abcd']") == dict.fromkeys("abcd", 5)
    assert pair.do("pyvars.delete('b'); n.add()") == dict.fromkeys("acd", 6)
    assert pair.do("pyvars.delete('a'); n.add()") == dict.fromkeys("cd", 7)
    assert pair.do("pyvars.delete('c'); pyvars.delete('d'); n.add()") == {}


def test_a_registry_that_is_taken_away_with_what_is_no_number(pair: Pair) -> None:
    pair.do("db = pyvars.Registry(); db.publish('queries', pyvars.Int(9)); db.publish('name', pyvars.String('text'))")
    pair.do("pyvars.publish('db', db); db.publish('text', type('Text', (), {'snapshot': str})()); pyvars.delete('db')")
    assert pair.do("db.delete('text'); db.delete('name'); pyvars.publish('db', db)") == {"db": {"queries": 9}}


def test_a_key_that_is_replaced_while_it_is_replaced(pair: Pair) -> None:
    """By code that interrupts the first replacement: all workers see the last variable."""
    pair.do("by = pyvars.publish('by', pyvars.Map()); by.add('b')")
    pair.do("by.set('a', pyvars.Int(1))")
    pair.do("at_next(Composite._changed, lambda: by.set('a', pyvars.Int(30))); by.set('a', pyvars.Int(2))")
    assert pair.do("sys.setprofile(None); by.var('a').add()")["by"] == {"a": 31, "b": 1}
    pair.do("at_next(Records._update, lambda: by.set('a', pyvars.Int(50))); by.set('a', pyvars.Int(4))")
    assert pair.do("sys.setprofile(None); by.var('a').add()")["by"] == {"a": 51, "b": 1}
    assert pair.do("by.delete('a')")["by"] == {"b": 1}


def test_names_that_come_while_a_page_is_made(pair: Pair) -> None:
    """More often than the page retries."""
    pair.do("number = itertools.count(1)")
    pair.do("publish = lambda: pyvars.publish(f'n{next(number)}', pyvars.Int(1))")
    shown = pair.do("at_each(Segment.numbers, publish)")
    assert len(shown) > 5
    assert set(shown.values()) == {1}
    assert pair.do("sys.setprofile(None)") == shown


def test_a_registry_that_stands_in_another_may_have_a_page_too(pair: Pair) -> None:
    pair.do("db = pyvars.publish('db', pyvars.Registry()); db.publish('queries', pyvars.Int(9))")
    assert pair.do("debug(db, None, prefix='/debug')") == {"db": {"queries": 9}}
    assert pair.do("db.publish('more', pyvars.Int(1))") == {"db": {"queries": 9, "more": 1}}


def test_a_name_of_another_kind_in_a_peer(tmp_path: Path) -> None:
    """The page shows the variable of the process that answers."""
    tmp_path.chmod(0o700)
    other = segment(
        ROOT, record(b"orders", MAP, ROOT_WORD, 50), record(b"a", INT, 50, 51), record(b"states", INT, ROOT_WORD, 52)
    )
    with measured(READER, PYVARS_SHARE=tmp_path) as reader:
        with file(tmp_path / "w-1-1-a", other, lives=True):
            page = reader.page()
            assert (page["orders"], page["states"]) == (5, {"k1": 2})
            assert page["pyvars.workers"]["live"] == 2


def test_a_number_that_is_an_integer_in_one_worker_and_a_float_in_another(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    other = segment(
        ROOT,
        record(b"orders", FLOAT, ROOT_WORD, HALVES_WORD),
        record(b"halves", INT, ROOT_WORD, ORDERS_WORD),
        halves=0.5,
    )
    with measured(READER, PYVARS_SHARE=tmp_path) as reader, file(tmp_path / "w-1-1-a", other, lives=True):
        page = reader.page()
        assert (page["orders"], page["halves"]) == (5.5, 1000.25)


def test_maps_of_several_workers_keep_within_their_bound(tmp_path: Path) -> None:
    """The other keys are counted under `__other__`, unless that is a variable of another kind."""
    tmp_path.chmod(0o700)
    other = segment(
        ROOT,
        *(record(name, MAP, ROOT_WORD, word) for word, name in enumerate((b"two", b"one", b"odd"), 50)),
        *(record(b"b", INT, word, ORDERS_WORD) for word in (50, 51, 52)),
    )
    with measured(TOLD, PYVARS_SHARE=tmp_path) as reader, file(tmp_path / "w-1-1-a", other, lives=True):
        reader.page("two = pyvars.publish('two', pyvars.Map(max_keys=2)); [two.add(key) for key in 'abc']")
        reader.page("one = pyvars.publish('one', pyvars.Map(max_keys=1)); [one.add(key) for key in 'aa']")
        reader.page("odd = pyvars.publish('odd', pyvars.Map(max_keys=1)); odd.add('a')")
        page = reader.page("odd.set('__other__', pyvars.String('text'))")
        assert page["two"] == {"a": 1, "b": 1001, "__other__": 1}
        assert page["one"] == {"a": 2, "__other__": 1000}
        assert page["odd"] == {"a": 1, "b": 1000, "__other__": "text"}


def test_a_map_with_more_keys_than_its_bound_is_the_same_alone_and_beside_a_peer() -> None:
    """`set` makes a key that `add` would not make."""
    code = """
import json, os, pyvars
from pyvars.site.default import debug
from tests.conftest import local_request
class Own(pyvars.Int): pass
for name in ("chosen", "mixed", "nested"):
    pyvars.publish(name, pyvars.Map(max_keys=2))
chosen, mixed, nested = map(pyvars.get, ("chosen", "mixed", "nested"))
for key in "dcba":
    chosen.set(key, pyvars.Int(1))
    nested.set(key, pyvars.Map() if key in "ac" else pyvars.Int(1))
for key, var in zip("xyba", (None, None, Own(1), lambda: 1)):
    mixed.add(key) if var is None else mixed.set(key, var)
for one in (chosen, mixed, nested): one.add("z")
site = debug(None, None, prefix="/debug")
def shown(name):
    return json.loads(site.respond(local_request(f"/debug/vars/{name}")).body)
def series():
    lines = site.respond(local_request("/debug/metrics")).body.decode().splitlines()
    return [line for line in lines if line.startswith(("chosen", "mixed", "nested"))]
alone = [*map(shown, ("chosen", "mixed", "nested")), series()]
(asked, ask), (told, tell) = os.pipe(), os.pipe()
if os.fork() == 0:
    os.write(tell, b"1")
    os.read(asked, 1)
    for key in "AB": chosen.add(key)  # further keys
    chosen.delete("a")
    chosen.delete("b")
    chosen.delete("c")
    for key in "AB": chosen.add(key)
    os.write(tell, b"1")
    os.read(asked, 1)
    os._exit(0)
os.read(told, 1)
print([*map(shown, ("chosen", "mixed", "nested")), series()] == alone)
print(*map(json.dumps, alone[:3]), len(alone[3]))
os.write(ask, b"1")
os.read(told, 1)
print(json.dumps(shown("chosen")))
for key in "abcd": chosen.delete(key)
print(json.dumps(shown("chosen")))
os.write(ask, b"1")
"""
    assert output(code).splitlines() == [
        "True",
        '{"__other__": 1, "a": 1, "b": 1, "c": 1, "d": 1} {"__other__": 1, "a": 1, "b": 1, "x": 1, "y": 1}'
        ' {"__other__": 1, "a": {}, "b": 1, "c": {}, "d": 1} 13',
        '{"a": 1, "b": 1, "c": 1, "d": 1, "__other__": 5}',
        '{"A": 1, "__other__": 4, "d": 0}',
    ]


def test_a_registry_in_a_registry_has_what_only_a_peer_publishes_in_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    other = segment(ROOT, record(b"db", MAP, ROOT_WORD, 50), record(b"queries", INT, 50, ORDERS_WORD))
    with measured(TOLD, PYVARS_SHARE=tmp_path) as reader, file(tmp_path / "w-1-1-a", other, lives=True):
        page = reader.page("pyvars.publish('db', pyvars.Registry()).publish('errors', pyvars.Int(1))")
        assert page["db"] == {"errors": 1, "queries": 1000}


def test_functions_with_so_many_names_that_a_question_would_be_too_long() -> None:
    code = """
import json, os, pyvars
from pyvars.site.default import debug
from tests.conftest import local_request
def names(kind, combine, value):
    for number in range(300):
        pyvars.publish(f"{kind}{number}." + "n" * 240, lambda: value, combine=combine)
    keys = pyvars.publish(kind, pyvars.Map())
    for number in range(300):
        keys.set(f"{number}" + "k" * 250, pyvars.Func(lambda: value, combine=combine))
names("sums", "sum", 1)
names("plain", None, 1)
pyvars.publish("one", lambda: 1, combine="sum")
site = debug(None, None, prefix="/debug")
(asked, ask), (told, tell) = os.pipe(), os.pipe()
if os.fork() == 0:
    os.write(tell, b"1")
    os.read(asked, 1)
    os._exit(0)
os.read(told, 1)
def shown(query):
    for _ in range(50):  # a busy machine may not call all functions in time
        page = json.loads(site.respond(local_request(query=query)).body)
        if not page.get("pyvars.errors"):
            break
    return page
try:
    page = shown("")
    values = [value for name, value in page.items() if name.startswith("sums") and name != "sums"]
    print(len(values), sum(values), sum(page["sums"].values()), sum(page["plain"].values()), page["one"])
    print(shown("name=one")["one"])
finally:
    os.write(ask, b"1")
"""
    assert output(code).splitlines() == ["300 600 600 300 2", "2"]


def test_functions_whose_values_are_too_large_together(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    publish = "pyvars.publish('large', lambda: 2**64 - 1, combine='sum')"
    with measured(TOLD, PYVARS_SHARE=tmp_path) as one, measured(TOLD, PYVARS_SHARE=tmp_path) as other:
        one.page(publish)
        assert page_when(one, lambda page: page["large"] is not None)["large"] == 2**64 - 1
        other.page(publish)
        page = page_when(
            one, lambda page: page["large"] is None and page["pyvars.errors"]["large"]["type"] != "timeout"
        )
        assert page["pyvars.errors"].keys() == {"large"}
        assert page["pyvars.errors"]["large"]["type"] == "TypeError"


def test_several_functions_that_hang_in_a_peer(tmp_path: Path) -> None:
    """`pyvars.errors` names the worker once."""
    tmp_path.chmod(0o700)
    with measured(TOLD, PYVARS_SHARE=tmp_path) as one, measured(TOLD, PYVARS_SHARE=tmp_path) as other:
        one.page("[pyvars.publish(name, lambda: 1, combine='sum') for name in ('quick', 'slow', 'slower')]")
        other.page("pyvars.publish('quick', lambda: 1, combine='sum')")
        other.page("[pyvars.publish(name, lambda: time.sleep(60), combine='sum') for name in ('slow', 'slower')]")
        page = page_when(
            one,
            lambda page: page["quick"] == 2 and all("workers" in each for each in page["pyvars.errors"].values()),
        )
        assert (page["slow"], page["slower"]) == (None, None)
        for name in ("slow", "slower"):
            assert page["pyvars.errors"][name]["type"] == "timeout"
            assert page["pyvars.errors"][name]["workers"] == str(other.process.pid)


def page_when(reader: Program, done: Callable[[Any], bool]) -> Any:
    """A page for which the peers answered in time; on a busy machine they may be late."""
    until = time.monotonic() + 60
    while not done(page := reader.page()):
        assert time.monotonic() < until, page
    return page


def test_there_is_an_end_to_the_numbers_that_are_shared(tmp_path: Path) -> None:
    """Here the limit is lower than the real one, 524,288."""
    tmp_path.chmod(0o700)
    code = f"import pyvars.workers.numbers.segment; pyvars.workers.numbers.segment.MAX_CHUNKS = 1{TOLD}"
    with measured(code, PYVARS_SHARE=tmp_path) as told:
        page = told.page("[pyvars.publish(f'n{number}', pyvars.Int(number)) for number in range(1200)]")
        assert [page[f"n{number}"] for number in range(1200)] == [*range(1200)]
        reason = "some numbers are private to this process: a process shares at most 1024 numbers"
        assert page["pyvars.workers"]["reason"] == reason
        assert not page["pyvars.workers"]["shared"]
        assert [path.stat().st_size for path in tmp_path.glob("w-*")] == [CHUNK]


def test_a_system_that_cannot_reserve_a_file(tmp_path: Path) -> None:
    """As on macOS."""
    tmp_path.chmod(0o700)
    with measured(f"import os\ndel os.posix_fallocate\n{TOLD}", PYVARS_SHARE=tmp_path) as told:
        page = told.page("pyvars.publish('orders', pyvars.Int(5))")
        assert (page["orders"], page["pyvars.workers"]["shared"]) == (5, True)
        assert [path.stat().st_size for path in tmp_path.glob("w-*")] == [CHUNK]
