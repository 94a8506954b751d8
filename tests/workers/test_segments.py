"""Files of peers can do no harm to a page; and processes that cannot make a file, or have no room in it.

With a damaged file, an unusable directory or a full disk, the page lacks only numbers that cannot be read or shared.
"""

import fcntl
import json
import os
import random
import resource
import signal
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import NoneType
from typing import Any, BinaryIO
from zlib import crc32

import pytest

from pyvars.workers.numbers.segment import (
    CHUNK,
    COMPOSITE,
    FIGURES,
    FIGURES_SIZE,
    FIRST_RECORD,
    FIRST_WORD,
    FLOAT,
    FOLDED,
    FREE,
    H_CHUNKS,
    H_FIGURES,
    H_GENERATION,
    H_MAGIC,
    H_REQUESTS,
    H_USED,
    INT,
    MAGIC,
    RECORD,
)
from tests.programs import ROOT, UNMEASURED, output, run
from tests.tools import tool
from tests.workers import group_of

CASES = 20
"""The number of files for each kind of damage, each as the file of a live and of a dead process."""
INTEGERS = (0, 1, 2, 33, 1023, 1024, 4096, 4097, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1)

PRELUDE = """
import itertools, json, os, signal, subprocess, sys, time
import pyvars
from pyvars.site.default import debug
from pyvars.access.request import Request, deadline

def ask(path="/debug/vars"):
    request = Request("GET", path, "", None, "", (("host", "localhost"),), "127.0.0.1", "1.1", deadline())
    answer = site.respond(request)
    return [answer.status, answer.body.decode()]

def integration():
    global site
    site = debug(None, None, prefix="/debug")
"""

PEER = f"""{PRELUDE}
number = int(sys.argv[1])
pyvars.publish("orders", pyvars.Int()).add(1000)
states = pyvars.publish("states", pyvars.Map())
for key in range(10):
    states.add(f"k{{key}}", key)
states.add("half", 0.5)
pyvars.publish("halves", pyvars.Float()).add(0.5)
pyvars.publish("level", pyvars.Int(3, gauge=True))
db = pyvars.publish("db", pyvars.Registry())
db.publish("queries", pyvars.Int(9))
for each in range(number):
    pyvars.publish(f"number_{{each}}", pyvars.Int(each))
integration()
ask()
print(pyvars.workers.MEMBER.name, flush=True)
sys.stdin.read()
"""

READER = f"""{PRELUDE}
pyvars.publish("own", pyvars.Int(41))
pyvars.publish("orders", pyvars.Int(5))
pyvars.publish("states", pyvars.Map()).add("k1", 2)
pyvars.publish("halves", pyvars.Float(0.25))
pyvars.publish("level", pyvars.Int(7, gauge=True))
pyvars.publish("text", pyvars.String("text"))
integration()
for line in sys.stdin:
    print(json.dumps(ask()), flush=True)
"""
OWN = {"own": 41, "orders": 5, "states": {"k1": 2}, "halves": 0.25, "level": 7, "text": "text"}


def parsed(body: str) -> Any:
    """The page, parsed strictly as JSON, without duplicate names."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs), body
        return dict(pairs)

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no JSON")

    return json.loads(body, object_pairs_hook=once, parse_constant=refuse)


class Program:
    """A program that prints a page for each line of its input."""

    def __init__(self, code: str, *arguments: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code, *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, self.process.wait()
        return line.strip()

    def page(self, line: object = "") -> Any:
        assert self.process.stdin
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        status, body = json.loads(self.line())
        assert status == 200
        return parsed(body)


@contextmanager
def program(code: str, *arguments: object, **environment: object) -> Iterator[Program]:
    """A Program that is killed at the end, and so runs without coverage. It keeps no history: see `measured`."""
    environment = {**UNMEASURED, "PYVARS_HISTORY": "off", **environment}
    variables = {name: str(value) for name, value in environment.items()}
    started = Program(code, *map(str, arguments), **variables)
    with started.process:
        try:
            yield started
        finally:
            started.process.kill()


@contextmanager
def measured(code: str, *arguments: object, **environment: object) -> Iterator[Program]:
    """A Program that ends without an error when its standard input is closed.

    It keeps no history, whose thread reads the files, too, and has one of its own.
    """
    environment = {"PYVARS_HISTORY": "off", **environment}
    started = Program(code, *map(str, arguments), **{name: str(value) for name, value in environment.items()})
    with started.process:
        yield started
        assert started.process.stdin
        started.process.stdin.close()
        assert started.process.wait(60) == 0


@cache
def real_files() -> tuple[bytes, bytes, bytes]:
    """A segment of a real process, a larger one, and the retired file with the counts of both."""
    with TemporaryDirectory() as directory:
        files = []
        for numbers in (20, 1500):
            with program(PEER, numbers, PYVARS_SHARE=directory) as peer:
                name = peer.line()
            files.append((Path(directory) / name).read_bytes())
        with program(READER, PYVARS_SHARE=directory) as reader:
            assert reader.page()["orders"] == 2005
        files.append((Path(directory) / "retired").read_bytes())
    small, large, retired = files
    assert (len(small), len(large) // CHUNK) == (CHUNK, 2)
    return small, large, retired


def with_word(data: bytes, index: int, value: int) -> bytes:
    return data[: index * 8] + (value % 2**64).to_bytes(8, "little") + data[index * 8 + 8 :]


def with_records(data: bytes, records: list[tuple[int, bytes, int, int]]) -> bytes:
    """The segment with other records and correct checksums."""
    area = b""
    for parent, key, kind, word in records:
        size = -(-(RECORD.size + len(key)) // 16) * 16
        text = (RECORD.pack(0, size, kind, 0, parent, word, len(key))[4:] + key).ljust(size - 4, b"\0")
        area += crc32(text[: RECORD.size - 4 + len(key)]).to_bytes(4, "little") + text
    area = area[: CHUNK - FIRST_RECORD].ljust(CHUNK - FIRST_RECORD, b"\0")
    return with_word(data[:FIRST_RECORD] + area + data[CHUNK:], H_GENERATION, 2)


def random_bytes(dice: random.Random, real: bytes) -> bytes:
    return dice.randbytes(dice.choice([0, 1, 8, 100, 8192, CHUNK, 2 * CHUNK, dice.randrange(3 * CHUNK)]))


def random_behind_the_magic(dice: random.Random, real: bytes) -> bytes:
    return with_word(random_bytes(dice, real) + bytes(8), H_MAGIC, MAGIC)


def cut_short(dice: random.Random, real: bytes) -> bytes:
    return real[: dice.randrange(len(real))]


def flipped(dice: random.Random, real: bytes) -> bytes:
    data = bytearray(real)
    begin, end = dice.choice([(0, len(data)), (0, 256), (FIRST_RECORD, FIRST_RECORD + 2000), (0, 1000)])
    for _ in range(dice.randrange(1, 20)):
        data[dice.randrange(begin, end)] = dice.randrange(256)
    return bytes(data)


def other_header(dice: random.Random, real: bytes) -> bytes:
    for _ in range(dice.randrange(1, 4)):
        real = with_word(real, dice.randrange(1, H_REQUESTS + 2), dice.choice([*INTEGERS, dice.randrange(2**64)]))
    return real


def other_numbers(dice: random.Random, real: bytes) -> bytes:
    """Every number is replaced: by the largest, by one that is no float, by infinity."""
    words = [
        dice.choice([*INTEGERS, 0x7FF0 << 48, 0xFFF0 << 48, 0x7FF8 << 48, dice.randrange(2**64)]) for _ in range(992)
    ]
    return real[: FIRST_WORD * 8] + struct.pack("<992Q", *words) + real[1024 * 8 :]


def other_records(dice: random.Random, real: bytes) -> bytes:
    """Records that pyvars never writes: cycles, duplicate, reserved or invalid names, unknown kinds, wrong words."""
    keys = [b"orders", b"states", b"k1", b"text", b"function", b"memstats", b"MemStats", b"cmdline", b"pyvars.workers"]
    keys += [b"pyvars.errors", b"", b"x" * 300, b"\xff", b"\xed\xa0\x80", "é".encode(), b"a\0b", b"default", b"db"]
    kinds = [INT, FLOAT, COMPOSITE] * 3 + [FOLDED, FREE, 1, 255] * (dice.random() < 0.3)
    some = []
    for _ in range(dice.randrange(40)):
        kind = dice.choice(kinds)
        word = 99999 if dice.random() < 0.01 else dice.randrange(32, 36 if kind == COMPOSITE else 60)
        some.append((dice.choice([0, 32, 32, 33, 34, 35, 77]), dice.choice(keys), kind, word))
    return with_records(real, [(0, b"default", COMPOSITE, 32), *some])


def other_figures(dice: random.Random, real: bytes) -> bytes:
    """Runtime figures that are JSON of a wrong structure."""
    figures: list[Any] = ["text", None, [], {}, [1, "2"], 2**70, -1, 1.5, 1e308, {"gen0": 1}, [{}]]
    targets = ["pyvars.runtime.memstats:MemStats", "pyvars.runtime.gc:GC", "pyvars.runtime.process:Process", "x"]
    keys = ["Sys", "Mallocs", "NumGC", "LastGC", "PauseNs", "PauseEnd", "retired", "gen0", "gen1", "pid", "threads"]
    nonsense = {
        target: {key: dice.choice(figures) for key in keys} if dice.random() < 0.8 else dice.choice(figures)
        for target in targets
    }
    text = json.dumps(nonsense if dice.random() < 0.8 else dice.choice(figures)).encode()
    if dice.random() < 0.2:
        text = dice.choice([b"", b"{", b"\xff", b"[" * 5000, b'{"a":1e999}', b"null"])
    half = struct.pack("<II", crc32(text), len(text)) + text
    data = with_word(real, H_FIGURES, 2)
    return data[:FIGURES] + half.ljust(FIGURES_SIZE, b"\0") + data[FIGURES + FIGURES_SIZE :]


def branching(dice: random.Random, real: bytes) -> bytes:
    """Containers with several names each, nested and in cycles: few records that describe any number of paths."""
    depth = dice.randrange(1, 150)
    some = [(0, b"default", COMPOSITE, 32)]
    for level in range(depth):
        for name in range(dice.randrange(1, 4)):
            word = 32 + (level + 1 if dice.random() < 0.9 else dice.randrange(depth))
            some.append((32 + level, f"n{name}".encode(), COMPOSITE, word))
    return with_records(real, [*some, (32, b"orders", INT, 300), (32 + depth, b"deep", INT, 301)])


def far_sizes(dice: random.Random, real: bytes) -> bytes:
    """Records with wrong sizes and lengths, and correct checksums."""
    area = b""
    for _ in range(dice.randrange(1, 20)):
        size, length = (dice.choice([0, 1, 19, 20, 32, 48, 288, 2**15, 2**16 - 1]) for _ in range(2))
        text = RECORD.pack(0, size, INT, 0, 32, 33, length)[4:] + b"k" * dice.choice([0, min(length, 300)])
        area += (crc32(text).to_bytes(4, "little") + text).ljust(min(size, 300), b"\0")
    return with_word(real[:FIRST_RECORD] + area + real[FIRST_RECORD + len(area) :], H_GENERATION, dice.choice([2, 3]))


def far_header(dice: random.Random, real: bytes) -> bytes:
    """A header that claims more than there is, in a file that is mostly a hole."""
    chunks = dice.choice([1, 2, 511, 512, 513, 4096, 2**40])
    real = with_word(with_word(real, H_CHUNKS, chunks), H_USED, dice.choice([chunks * 1024, 33, 2**62]))
    return real.ljust(CHUNK * min(chunks, 4) + dice.choice([0, 1, CHUNK]), b"\0")


DAMAGE = {
    make.__name__: make
    for make in (
        *(random_bytes, random_behind_the_magic, cut_short, flipped),
        *(other_header, other_numbers, other_records, other_figures),
        *(branching, far_sizes, far_header),
    )
}
NO_SEGMENT = {"random_bytes", "random_behind_the_magic", "cut_short"}


@contextmanager
def file(path: Path, data: bytes, *, lives: bool) -> Iterator[BinaryIO]:
    """A file of a live process, which is this one, or of a dead one."""
    path.write_bytes(data)
    with path.open("r+b") as opened:
        if lives:
            fcntl.lockf(opened, fcntl.LOCK_EX)
        yield opened


def check(page: Any, alone: Any, damage: str = "") -> None:
    """The variables of this process alone, and those that readers require, are on the page with any files of peers."""
    counted = {int, float, NoneType} if damage == "other_records" else {int}  # this damage makes Floats of Ints
    figures = {int, float} if damage == "other_figures" else {int}
    for name in ("own", "text", "cmdline"):
        assert page[name] == alone[name]
    assert page.keys() >= alone.keys()
    assert page["memstats"].keys() == alone["memstats"].keys()
    assert {type(page["memstats"][key]) for key in ("Sys", "Mallocs", "NumGC")} <= figures
    for name in ("orders", "level"):
        assert type(page[name]) in counted
        assert type(page[name]) is not int or -(2**63) <= page[name] < 2**63
    assert type(page["halves"]) in (float, NoneType)
    assert isinstance(page["states"], dict)
    status = page["pyvars.workers"]
    assert [type(status[key]) for key in ("live", "retired", "shared", "reason")] == [int, int, bool, str]
    assert status["shared"] is (status["reason"] == "") is ("pyvars.workers" not in page.get("pyvars.errors", {}))
    assert 1 <= status["live"] <= 2


def is_alone(page: Any) -> bool:
    return {name: page[name] for name in OWN} == OWN


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_costs_itself(damage: str, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    dice = random.Random(seed)
    tmp_path.chmod(0o700)
    said = 0
    with program(READER, PYVARS_SHARE=tmp_path) as reader:
        alone = reader.page()
        assert is_alone(alone)
        own = set(os.listdir(tmp_path))
        for _ in range(CASES):
            real = dice.choice(real_files())
            data = DAMAGE[damage](dice, real)
            for name, lives, known in (
                ("w-1-1-a", False, False),
                ("w-1-1-a", True, False),
                ("w-1-1-a", True, True),
                ("retired", False, False),
            ):
                with file(tmp_path / name, real if known else data, lives=lives) as opened:
                    if known:  # the file was read before it was damaged
                        assert reader.page()["orders"] in (1005, 2005)
                        opened.truncate(len(data))
                        opened.write(data)
                        opened.flush()
                    for page in (reader.page(), reader.page()):
                        check(page, alone, damage)
                        reason = page["pyvars.workers"]["reason"]
                        assert reason == "" or reason.startswith(f"{name}: ")
                        # Either nothing of the file is on the page, or all of it.
                        assert is_alone(page) or not reason or "numbers are private" in reason
                        assert reason or known or damage not in NO_SEGMENT
                        said += reason != ""
                for left in set(os.listdir(tmp_path)) - own:
                    (tmp_path / left).unlink()
        assert is_alone(reader.page())
        assert reader.page()["pyvars.workers"]["reason"] == ""
    assert said > CASES / 10 or damage == "other_numbers"


def test_a_header_that_changes_after_it_was_read(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with program(READER, PYVARS_SHARE=tmp_path) as reader:
        alone = reader.page()
        with file(tmp_path / "w-1-1-a", real_files()[1], lives=True) as opened:
            assert reader.page()["orders"] == 1005
            opened.write(with_word(real_files()[1], H_USED, 100))
            opened.flush()
            for page in (reader.page(), reader.page()):
                check(page, alone)
                assert is_alone(page)
                assert page["pyvars.workers"]["reason"].startswith("w-1-1-a: ")


@pytest.mark.parametrize("word", range(H_REQUESTS, FIRST_WORD))
def test_a_word_of_the_header_is_in_no_sum(word: int, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with program(READER, PYVARS_SHARE=tmp_path) as reader:
        alone = reader.page()
        with file(tmp_path / "w-1-1-a", real_files()[0], lives=True) as opened:
            sums = reader.page()
            opened.write(with_word(real_files()[0], word, 7))
            opened.flush()
            for page in (reader.page(), reader.page()):
                check(page, alone)
                assert {name: page[name] for name in OWN} == {name: sums[name] for name in OWN}


def test_a_number_of_a_peer_is_no_text_of_ours(tmp_path: Path) -> None:
    """Nor does it replace the value of a function."""
    tmp_path.chmod(0o700)
    names = [(COMPOSITE, b"default", 0, 32), (INT, b"text", 32, 33), (FLOAT, b"cmdline", 32, 34)]
    data = with_records(real_files()[0], [(parent, key, kind, word) for kind, key, parent, word in names])
    with program(READER, PYVARS_SHARE=tmp_path) as reader:
        alone = reader.page()
        with file(tmp_path / "w-1-1-a", data, lives=True):
            page = reader.page()
            check(page, alone, "other_records")
            assert page["pyvars.workers"]["live"] == 2
            assert is_alone(page)


ONE_NAME = f"""{PRELUDE}
import gc
kinds = {{"orders": pyvars.Int, "halves": pyvars.Float, "states": pyvars.Map}}
for name in sys.argv[1:]:
    counter = pyvars.publish(name, kinds[name]())
    counter.add("k1") if name == "states" else counter.add()
integration()
for _ in range(30):
    gc.collect()
ask()
print(flush=True)
for line in sys.stdin:
    print(json.dumps(ask()), flush=True)
"""


def test_a_reader_sees_every_fold(tmp_path: Path) -> None:
    """Also names that workers which died before did not have, and runtime figures."""
    tmp_path.chmod(0o700)
    expected = {"orders": 5, "halves": 0.25, "states": {"k1": 2}}
    collections = 0
    with program(READER, PYVARS_SHARE=tmp_path) as reader, program(ONE_NAME, PYVARS_SHARE=tmp_path) as other:
        other.line()
        for deaths, names in enumerate(["halves", "orders", "states", "states orders halves", "orders", "states"], 1):
            with program(ONE_NAME, *names.split(), PYVARS_SHARE=tmp_path) as worker:
                worker.line()
                collections += 30
                assert other.page()["memstats"]["NumGC"] >= collections
            for name in names.split():
                expected[name] = {"k1": expected[name]["k1"] + 1} if name == "states" else expected[name] + 1
            # One reader sees every fold, the other every second one: a new file may have the inode of an older one.
            for asked in (other, reader)[: 1 + deaths % 2]:
                for _ in range(3):
                    page = asked.page()
                    assert {name: page[name] for name in expected} == expected
                    assert page["memstats"]["NumGC"] >= collections
                    assert page["pyvars.workers"]["retired"] == deaths
            files = [name for name in os.listdir(tmp_path) if "h-" not in name[:3]]
            assert len(files) == 5  # of each reader the segment and the socket, and the retired


@pytest.mark.parametrize("kind", ["directory", "link", "pipe", "socket"])
def test_what_is_no_file_costs_itself(kind: str, tmp_path: Path) -> None:
    """And the counts of dead workers are kept nevertheless."""
    tmp_path.chmod(0o700)
    path = tmp_path / "w-1-1-a"
    with measured(READER, PYVARS_SHARE=tmp_path) as reader:
        alone = reader.page()
        if kind == "directory":
            path.mkdir()
        elif kind == "link":
            (tmp_path / "elsewhere").write_bytes(real_files()[0])
            path.symlink_to("elsewhere")
        else:
            os.mknod(path, stat.S_IFIFO if kind == "pipe" else stat.S_IFSOCK)
        page = reader.page()
        check(page, alone)
        assert is_alone(page)
        assert page["pyvars.workers"]["reason"].startswith("w-1-1-a: ")
        (tmp_path / "w-2-2-b").write_bytes(real_files()[0])
        for _ in range(2):
            assert reader.page()["orders"] == 1005
        assert reader.page()["pyvars.workers"]["retired"] == 1
        assert not (tmp_path / "w-2-2-b").exists()


@pytest.mark.parametrize("lives", [True, False])
def test_a_peer_of_another_version_is_left_alone(lives: bool, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    small = real_files()[0]
    other = with_word(small, H_MAGIC, MAGIC + (1 << 56))
    assert other[7] == small[7] + 1
    with program(READER, PYVARS_SHARE=tmp_path) as reader:
        alone = reader.page()
        with file(tmp_path / "w-1-1-a", other, lives=lives):
            page = reader.page()
            check(page, alone)
            assert is_alone(page)
            status = page["pyvars.workers"]
            assert status["reason"] == "w-1-1-a: it is no segment of this version of pyvars"
            assert (status["live"], status["retired"]) == (1, 0)
            (tmp_path / "w-2-2-b").write_bytes(small)
            assert [reader.page()["orders"] for _ in range(2)] == [1005, 1005]
            assert (tmp_path / "w-1-1-a").read_bytes() == other


def link(path: Path) -> None:
    (path.parent / "good").mkdir(mode=0o700)
    path.symlink_to("good")


def open_to_all(path: Path) -> None:
    path.mkdir()
    path.chmod(0o755)


def of_another_user(path: Path) -> None:
    path.mkdir(mode=0o700)
    os.chown(path, 12345, -1)


FOREIGN = {make.__name__: make for make in (link, open_to_all, Path.touch, of_another_user)}


@pytest.mark.parametrize("kind", [*FOREIGN, "missing", "off", "0", "no", "dir/shared"])
def test_a_strange_directory_is_not_used(kind: str, tmp_path: Path) -> None:
    """The process counts for itself, and the page says why."""
    if kind == "of_another_user" and os.geteuid() != 0:
        pytest.skip("only root gives a directory to another user")
    path = tmp_path / "shared"
    reason = "must be a directory of user"
    if kind in FOREIGN:
        FOREIGN[kind](path)
    elif kind == "missing":
        path, reason = tmp_path / "missing" / "shared", str(tmp_path / "missing")
    else:
        path, reason = Path(kind), f"PYVARS_SHARE is {kind}"
        if kind not in ("off", "0"):
            reason = f"PYVARS_SHARE is an absolute path, or off; got {kind!r}"
    before = sorted(map(str, tmp_path.rglob("*")))
    with measured(READER, PYVARS_SHARE=path) as reader, measured(READER, PYVARS_SHARE=path) as other:
        for page in (reader.page(), other.page(), reader.page()):
            assert is_alone(page)
            status = page["pyvars.workers"]
            assert (status["live"], status["retired"], status["shared"]) == (1, 0, False)
            assert reason in status["reason"]
    assert sorted(map(str, tmp_path.rglob("*"))) == before
    assert not (ROOT / kind).exists()


FULL = f"""{PRELUDE}
def fill():
    # Until the disk is full, or no larger file is allowed.
    if limit == "limit":
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        return
    with open(os.path.join(os.path.dirname(directory), "filler"), "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass

def make_room():
    if limit == "limit":
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    else:
        os.unlink(os.path.join(os.path.dirname(directory), "filler"))

def page():
    status, body = ask()
    assert status == 200
    return json.loads(body)

directory, limit = os.environ["PYVARS_SHARE"], sys.argv[1]
orders = pyvars.publish("orders", pyvars.Int())
states = pyvars.publish("states", pyvars.Map())
halves = pyvars.publish("halves", pyvars.Float())
def count():
    orders.add()
    states.add("paid")
    halves.add(0.5)
def counted():
    shown = page()
    assert shown["states"] == {{"paid": shown["orders"]}} and shown["halves"] == shown["orders"] / 2, shown
    return shown["orders"]
"""

FULL_AT_FIRST = f"""{FULL}
fill()
count()
integration()
count()
pyvars.publish("more", pyvars.Int()).add()
status = page()["pyvars.workers"]
print(json.dumps([counted(), page()["more"], status["shared"], status["reason"], sorted(os.listdir(directory))]))
size = lambda: [os.stat(os.path.join(directory, file)).st_size for file in os.listdir(directory) if file[:2] == "w-"]
print(json.dumps([page()["pyvars.errors"]["pyvars.workers"]["workers"] == str(os.getpid()), size()]))
make_room()
count()
shown = page()
print(json.dumps([counted(), shown["more"], shown["pyvars.workers"], "pyvars.errors" in shown, size()]))
"""

FULL_LATER = f"""{FULL}
def child():
    begin = os.environ["CODE"].rpartition("# the end")[0]
    code = f"{{begin}}late(7); integration(); count(); print(flush=True); sys.stdin.read()"
    environment = {{**os.environ, "COVERAGE_PROCESS_CONFIG": "", "COVERAGE_PROCESS_START": ""}}  # it is killed
    process = subprocess.Popen(
        [sys.executable, "-c", code, limit], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    process.stdout.readline()
    return process
def kill(process):
    process.kill()
    process.communicate()
def late(number):
    pyvars.publish("late", pyvars.Int(number))
    pyvars.publish("late_by", pyvars.Map()).add("a", number)
    pyvars.publish("late_float", pyvars.Float(number / 2))
# the end
integration()
count()
children = [child() for _ in range(2)]
told = [counted()]
fill()
kill(children[0])
told += [counted(), counted()]
numbers = [pyvars.publish(f"number_{{number}}", pyvars.Int(number)) for number in range(3000)]
for number in range(3000):
    states.add(f"key_{{number}}")
    count()
for number in numbers:
    number.add()
late(100)
shown = page()
told.append([shown["late"], shown["late_by"], shown["late_float"]])
told.append([shown["orders"], shown["states"]["paid"], shown["halves"], len(shown["states"])])
told.append(all(shown[f"number_{{number}}"] == number + 1 for number in range(3000)))
told.append(shown["pyvars.workers"])
for number in range(3000):
    states.delete(f"key_{{number}}")
states.delete("__other__")
kill(children[1])
files = len([file for file in os.listdir(directory) if file[:2] == "w-"])
told += [counted(), counted(), files, page()["pyvars.workers"]["retired"]]
make_room()
told += [counted(), counted(), page()["pyvars.workers"]["retired"]]
told.append(sorted(file[:2] for file in os.listdir(directory)))
print(json.dumps(told))
"""


FULL_OF_NUMBERS = f"""{FULL}
integration()
count()
few = pyvars.publish("few", pyvars.Map())
few.add("a", 40)
many = pyvars.publish("many", pyvars.Map(max_keys=2000))
fill()
for number in range(1500):
    many.add(str(number), number)
other = pyvars.Registry()
other.publish("number", pyvars.Int(7))
mine, site = site, debug(other, None, prefix="/debug")
print(json.dumps(page()))
site = mine
few.set("a", pyvars.Int(5))
few.add("a")
shown = page()
print(json.dumps([shown["few"], shown["many"], shown["pyvars.workers"], counted()]))
make_room()
few.set("a", pyvars.Int(9))
print(json.dumps([page()["few"], counted()]))
"""

FULL_OF_NAMES = f"""{FULL}
integration()
count()
fill()
names = [f"{{number:0200}}" for number in range(200)]
for number, name in enumerate(names):
    pyvars.publish(name, pyvars.Map()).add("k", number)
shown = page()
print(json.dumps([[shown[name] for name in names], shown["pyvars.workers"], counted()]))
make_room()
"""


def on_small_disk(directory: Path, code: str, limit: str) -> Any:
    """The output of a program with little room: on a small disk of its own, or with a limit on the size of files."""
    environment = {"DISK": str(directory), "PYVARS_SHARE": str(directory / "shared"), "CODE": code}
    if limit == "limit":
        done = run(code, limit, check=False, **environment)
    else:
        mount = 'mount -t tmpfs -o size=900k,mode=0700 tmpfs "$DISK" && exec "$0" -W error -c "$CODE" disk'
        done = subprocess.run(
            [tool("unshare"), "-m", "sh", "-c", mount, sys.executable],
            env={**os.environ, **environment},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=100,
        )
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


@cache
def can_mount() -> bool:
    command = [tool("unshare"), "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.fixture(params=["disk", "limit"])
def limit(request: pytest.FixtureRequest) -> str:
    if request.param == "disk" and not can_mount():
        pytest.skip("a disk cannot be mounted here")
    if request.param == "limit":
        assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    return str(request.param)


ERRORS = {"disk": "No space left on device", "limit": "File too large"}


def test_a_full_disk_at_the_start(limit: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    first, named, later = on_small_disk(tmp_path, FULL_AT_FIRST, limit)
    counted, more, shared, reason, files = first
    assert (counted, more, shared) == (2, 1, False)
    assert ERRORS[limit] in reason
    assert [file[:2] for file in files] == ["s-", "w-"]
    assert named == [True, [8 if limit == "limit" else 0]]
    assert later == [
        3,
        1,
        group_of(1),
        False,
        [CHUNK],
    ]


def test_a_disk_without_room_for_more_numbers(limit: str, tmp_path: Path) -> None:
    """Nor for a number that replaces another, nor for another registry."""
    tmp_path.chmod(0o700)
    other, (few, many, status, counted), *later = on_small_disk(tmp_path, FULL_OF_NUMBERS, limit)
    assert other.pop("pyvars.errors")["pyvars.workers"]["type"] == "incomplete"
    assert other == {"number": 7}
    assert few == {"a": 6}
    assert many == {str(number): number for number in range(1500)}
    assert not status["shared"]
    assert status["reason"].startswith("some numbers are private to this process: ")
    assert ERRORS[limit] in status["reason"]
    assert counted == 1
    assert later == [[{"a": 9}, 1]]


def test_a_disk_without_room_for_more_names(limit: str, tmp_path: Path) -> None:
    """There is room for a number, but not for its long name."""
    tmp_path.chmod(0o700)
    ((maps, status, counted),) = on_small_disk(tmp_path, FULL_OF_NAMES, limit)
    assert maps == [{"k": number} for number in range(200)]
    assert ERRORS[limit] in status["reason"]
    assert counted == 1


def test_a_disk_that_becomes_full(limit: str, tmp_path: Path) -> None:
    """While names are published, and while workers die: no count is lost, and numbers keep their place in memory."""
    tmp_path.chmod(0o700)
    (told,) = on_small_disk(tmp_path, FULL_LATER, limit)
    first, *dead, late, numbers, published, status = told[:7]
    assert (first, *dead) == (3, 3, 3)
    assert late == [114, {"a": 114}, 57]  # private counts of this process, and those of a live and a dead one
    assert numbers[:3] == [3003, 3003, 1501.5]
    assert numbers[3] == 1001  # keys, with `__other__`
    assert published
    assert not status["shared"]
    assert status["reason"].startswith("some numbers are private to this process: ")
    assert ERRORS[limit] in status["reason"]
    assert told[7:11] == [3003, 3003, 3, 2]  # there was no room to fold the dead workers
    assert told[11:14] == [3003, 3003, 2]
    assert [file for file in told[14] if file not in ("s-", "h-")] == ["re", "w-"]


INTERRUPTED = f"""{PRELUDE}
import gc
number, total, by = pyvars.Int(), pyvars.Float(), pyvars.Map(max_keys=100_000)
few = pyvars.Map(max_keys=20)
for name, var in (("number", number), ("total", total), ("by", by), ("few", few)):
    pyvars.publish(name, var)
integration()
fresh = itertools.count()
def count(times=1):
    for _ in range(times):
        key = next(fresh)
        number.add()
        total.add(0.5)
        by.add(f"new {{key}}")
        by.add(f"again {{key % 50}}", 0.5)
        few.add(f"some {{key % 30}}")
        name = f"v{{key % 40}}"
        pyvars.publish(name, pyvars.Int(), exist_ok=True).add()
        pyvars.publish(f"alias {{key % 7}}", number, exist_ok=True)
        if key % 3 == 0:
            pyvars.delete(name)
            by.delete(f"again {{key % 50}}")
            pyvars.delete(f"alias {{key % 7}}")
inside, main = [], 0
def handler(*about):
    inside.append(1)
    count()
{{interrupt}}
for _ in range(2):
    count(100)
    main += 100
while len(inside) < 1000 and main < 200_000:
    {{step}}
    count(3)
    main += 3
{{settle}}
kinds = (pyvars.Int, pyvars.Float, pyvars.Map)
values = {{name: var.snapshot() for name, var in pyvars.default_registry.items() if type(var) in kinds}}
print(json.dumps([main, len(inside), values]), flush=True)
sys.stdin.read()
"""
INTERRUPTS = {
    "signals": {
        "interrupt": "signal.signal(signal.SIGALRM, handler); signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)",
        "step": "pass",
        "settle": "signal.setitimer(signal.ITIMER_REAL, 0)",
    },
    "collections": {
        "interrupt": """
class Finalized:
    def __init__(self): self.me = self
    def __del__(self): handler()  # by a collection, wherever that happens
calls = itertools.count(1)
def callback(phase, info):
    if next(calls) % 20 == 0:  # oftener, and what is to be done grows faster than it is done
        handler()
gc.callbacks.append(callback)
gc.set_threshold(2, 2, 2)
""",
        "step": "Finalized()",
        "settle": "gc.callbacks.clear(); gc.set_threshold(700); gc.collect()",
    },
}


@pytest.mark.parametrize("kind", INTERRUPTS)
def test_what_interrupts_counting_may_count_and_publish(kind: str, tmp_path: Path) -> None:
    """Another process sees every number, and no name that was deleted."""
    tmp_path.chmod(0o700)
    code = INTERRUPTED
    for mark, text in INTERRUPTS[kind].items():
        code = code.replace(f"{{{mark}}}", text)
    with (
        program(READER, PYVARS_SHARE=tmp_path) as reader,
        program(code, PYVARS_SHARE=tmp_path) as counting,
    ):
        main, inside, values = json.loads(counting.line())
        assert inside >= 1000
        done = main + inside
        assert (values["number"], values["total"]) == (done, done / 2)
        assert sum(values["by"][f"new {key}"] for key in range(done)) == done
        assert sum(values["few"].values()) == done
        page = reader.page()
        assert page["pyvars.workers"]["reason"] == ""
        shown = {name: value for name, value in page.items() if name in values or name[0] == "v" or name[:5] == "alias"}
        assert shown == values
        os.kill(counting.process.pid, signal.SIGSTOP)  # the page must not need its code
        assert {name: page[name] for name in values} == {name: reader.page()[name] for name in values}
        os.kill(counting.process.pid, signal.SIGCONT)


def test_a_collection_may_come_at_the_end_of_an_update() -> None:
    """`with lock` ends with a call that is handed three Nones; CPython 3.11 may collect garbage when it makes the tuple
    for them. That needs a collection just before, whose callbacks made as much garbage as the next one waits for."""
    code = """
import faulthandler, gc, pyvars
faulthandler.dump_traceback_later(20, exit=True)
number, calls, held, garbage = pyvars.Int(), [], [], []
def callback(phase, info):
    number.add()
    calls.append(phase)
    garbage.append([[] for _ in range(20)])
    held.append((phase, info, garbage))  # it takes the tuple of three that the interpreter had ready
gc.callbacks.append(callback)
gc.set_threshold(10)
for n in range(3000):
    number.add()
    held.append((n, n, n))
    garbage.clear()
gc.callbacks.clear()
print(len(calls) > 100, number.value == 3000 + len(calls))
"""
    assert output(code, **UNMEASURED).split() == ["True", "True"]
