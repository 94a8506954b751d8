"""Damaged files of peers, case by case: each kind of damage, and each invalid number and name.

test_segments tests random damage; here are the known cases.
"""

import fcntl
import json
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from math import fsum
from pathlib import Path
from zlib import crc32

import pytest

from pyvars.workers.numbers.segment import (
    CHUNK,
    COMPOSITE,
    FIGURES,
    FIGURES_SIZE,
    FIRST_RECORD,
    FLOAT,
    H_FIGURES,
    H_GENERATION,
    H_MAGIC,
    H_RETIRED,
    H_USED,
    INT,
    MAGIC,
    RECORD,
)
from pyvars.workers.together.group import start_of
from tests.workers import group_of
from tests.workers.test_segments import READER, Program, file, is_alone, measured, real_files, with_word

ROOT_WORD, ORDERS_WORD, HALVES_WORD = 32, 40, 41
MEMSTATS = "pyvars.runtime.memstats:MemStats"


def record(key: bytes, kind: int, parent: int, word: int, *, size: int = 0, flip: int = 0) -> bytes:
    """A record; with another size than it needs, or bits of its checksum flipped."""
    needed = -(-(RECORD.size + len(key)) // 16) * 16
    text = RECORD.pack(0, size or needed, kind, 0, parent, word, len(key))[4:] + key
    return ((crc32(text) ^ flip).to_bytes(4, "little") + text).ljust(needed, b"\0")


ROOT = record(b"default", COMPOSITE, 0, ROOT_WORD)
ORDERS = record(b"orders", INT, ROOT_WORD, ORDERS_WORD)
HALVES = record(b"halves", FLOAT, ROOT_WORD, HALVES_WORD)


def segment(*records: bytes, generation: int = 2, orders: int = 1000, halves: float = 0.0) -> bytes:
    """A file with these contents; if the generation is odd, its owner died during a change."""
    (bits,) = struct.unpack("<Q", struct.pack("<d", halves))
    data = with_word(real_files()[0], H_GENERATION, generation)
    data = with_word(with_word(data, ORDERS_WORD, orders), HALVES_WORD, bits)
    data = with_word(data, H_USED, 1000)
    return data[:FIRST_RECORD] + b"".join(records).ljust(CHUNK - FIRST_RECORD, b"\0")


def with_figures_of(data: bytes, text: bytes, *, flip: int = 0) -> bytes:
    half = struct.pack("<II", crc32(text) ^ flip, len(text)) + text
    data = with_word(data, H_FIGURES, 2)
    return data[:FIGURES] + half.ljust(FIGURES_SIZE, b"\0") + data[FIGURES + FIGURES_SIZE :]


def with_figures(**figures: object) -> bytes:
    """The file of a process with these memory figures."""
    others = dict[str, object].fromkeys(("pyvars.runtime.gc:GC", "pyvars.runtime.process:Process"), {})
    text = json.dumps({MEMSTATS: figures, **others}, separators=(",", ":")).replace("e+308", "e308").encode()
    assert len(text) <= FIGURES_SIZE - 8
    return with_figures_of(segment(ROOT, ORDERS), text)


def of_words(*words: int) -> list[bytes]:
    return [record(f"k{word}".encode(), COMPOSITE, parent, word) for parent, word in pairwise(words)]


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "it is cut short"),
    "half of a file": (lambda: segment(ROOT, ORDERS)[:-100], "it is cut short"),
    "a file of another version": (
        lambda: with_word(segment(ROOT, ORDERS), H_MAGIC, MAGIC + (1 << 56)),
        "it is no segment of this version of pyvars",
    ),
    "fewer words than a header has": (
        lambda: with_word(segment(ROOT, ORDERS), H_USED, 5),
        "its header is damaged",
    ),
    "a record that is smaller than a record": (
        lambda: segment(ROOT, record(b"orders", INT, ROOT_WORD, ORDERS_WORD, size=8)),
        "a record has an impossible size",
    ),
    "a record with a wrong checksum": (
        lambda: segment(ROOT, record(b"orders", INT, ROOT_WORD, ORDERS_WORD, flip=1)),
        "the checksum of a record is wrong",
    ),
    "a record of a kind to come": (
        lambda: segment(ROOT, ORDERS, record(b"new", 200, ROOT_WORD, ORDERS_WORD)),
        "a record is of an unknown kind",
    ),
    "a number outside of the file": (
        lambda: segment(ROOT, ORDERS, record(b"far", INT, ROOT_WORD, 5000)),
        "a record points outside of the file",
    ),
    "a name that is no text": (
        lambda: segment(ROOT, ORDERS, record(b"\xff", INT, ROOT_WORD, ORDERS_WORD)),
        "a name is not valid UTF-8",
    ),
    "figures that are no JSON": (
        lambda: with_figures_of(segment(ROOT, ORDERS), b"{"),
        "its runtime figures are damaged",
    ),
    "figures that are no object": (
        lambda: with_figures_of(segment(ROOT, ORDERS), b"[]"),
        "its runtime figures are damaged",
    ),
}

READ: dict[str, Callable[[], bytes]] = {
    "half a record of an owner that was killed": lambda: segment(
        ROOT, ORDERS, record(b"half", INT, ROOT_WORD, 42, size=8), generation=3
    ),
    "a record without its checksum of an owner that was killed": lambda: segment(
        ROOT, record(b"half", INT, ROOT_WORD, 42, flip=1), ORDERS, generation=3
    ),
    "records to the last byte": lambda: segment(
        ROOT, ORDERS, *(record(f"k{number}".encode(), INT, ROOT_WORD, 42) for number in range(1022))
    ),
    "a registry that holds itself": lambda: segment(ROOT, record(b"me", COMPOSITE, ROOT_WORD, ROOT_WORD), ORDERS),
    "a number in place of a registry": lambda: segment(record(b"orders", INT, 0, ORDERS_WORD), ROOT, ORDERS),
    "registries that are too deep": lambda: segment(ROOT, ORDERS, *of_words(ROOT_WORD, *range(50, 90))),
    "figures that are not whole": lambda: with_figures_of(segment(ROOT, ORDERS), b"{}", flip=1),
    "no figures": lambda: with_word(segment(ROOT, ORDERS), H_FIGURES, 0),
    "figures without pauses": lambda: with_figures(Sys=1),
}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Program]]:
    place = tmp_path_factory.mktemp("shared")  # pytest makes it with mode 0700
    with measured(READER, PYVARS_SHARE=place) as reader:
        reader.page()
        yield place, reader


@pytest.fixture
def place(programs: tuple[Path, Program]) -> Iterator[Path]:
    """The directory of the reader, which has no peers there before and after the test."""
    place, reader = programs
    own = set(os.listdir(place))
    yield place
    for name in set(os.listdir(place)) - own:
        (place / name).unlink()
    page = reader.page()
    assert is_alone(page)
    assert (page["pyvars.workers"]["live"], page["pyvars.workers"]["retired"]) == (1, 0)
    assert page["pyvars.workers"]["reason"] == ""


@pytest.fixture
def reader(programs: tuple[Path, Program]) -> Program:
    return programs[1]


@pytest.mark.parametrize("lives", [True, False])
def test_what_cannot_be_read_is_named(lives: bool, reader: Program, place: Path) -> None:
    """The page names the file, and shows nothing of it."""
    for number, (case, (make, reason)) in enumerate(REFUSED.items()):
        name = f"w-1-1-{number}"
        with file(place / name, make(), lives=lives):
            page = reader.page()
            assert page["pyvars.workers"]["reason"] == f"{name}: {reason}", case
            assert is_alone(page), case
        (place / name).unlink()
    assert reader.page()["pyvars.workers"]["reason"] == ""


@pytest.mark.parametrize("lives", [True, False])
def test_what_can_be_read_counts(lives: bool, reader: Program, place: Path) -> None:
    """Also if other parts of the file are damaged."""
    for number, (case, make) in enumerate(READ.items(), 1):
        with file(place / f"w-1-1-{number}", make(), lives=lives):
            for page in (reader.page(), reader.page()):
                assert page["pyvars.workers"]["reason"] == "", case
                assert page["orders"] == 5 + 1000 * (1 if lives else number), case
                assert "pyvars.errors" not in page, case
        if lives:
            (place / f"w-1-1-{number}").unlink()


def test_figures_that_cannot_be_put_together(reader: Program, place: Path) -> None:
    """The page shows the figures of this process, and names the error."""
    with file(place / "w-1-1-a", with_figures(PauseNs=[1, 2], PauseEnd=["text", 1], NumGC=2), lives=True):
        page = reader.page()
        assert page["orders"] == 1005
        assert page["pyvars.errors"].keys() == {"memstats"}
        assert page["pyvars.errors"]["memstats"]["type"] == "TypeError"
        assert page["memstats"]["Sys"] > 1_000_000
    with locked(place):  # no figure of a dead worker in a segment is added
        page = reader.page()
        assert (page["orders"], page["pyvars.workers"]["retired"]) == (1005, 1)
        assert "pyvars.errors" not in page
        assert not (place / "retired").exists()
    assert reader.page()["orders"] == 1005
    assert (place / "retired").exists()


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Holds the lock, as another process does while it folds."""
    opened = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def test_figures_that_are_too_long_to_be_kept(reader: Program, place: Path) -> None:
    """Pauses with so many digits that there is no room: the counts are kept without them."""
    longest = [1.7976931348623157e308] * 256
    data = with_figures(PauseNs=longest, PauseEnd=longest, NumGC=2**31, Mallocs=2**62)
    with file(place / "w-1-1-a", data, lives=True):
        assert reader.page()["memstats"]["NumGC"] >= 2**31
    for _ in range(2):
        page = reader.page()
        assert page["orders"] == 1005
        assert page["memstats"]["NumGC"] < 2**31
        assert page["pyvars.workers"]["retired"] == 1


def test_numbers_beyond_their_kind(reader: Program, place: Path) -> None:
    """Integers are clamped to 64 bits; a float overflow is null, and so is the sum of both infinities."""
    far = segment(ROOT, ORDERS, HALVES, orders=2**63 - 1, halves=1.7e308)
    with file(place / "w-1-1-a", far, lives=True), file(place / "w-1-1-b", far, lives=True):
        page = reader.page()
        assert (page["orders"], page["halves"]) == (2**63 - 1, None)
    for _ in range(2):  # the second page has the folded counts
        page = reader.page()
        assert (page["orders"], page["halves"], page["level"]) == (2**63 - 1, None, 7)
    assert page["pyvars.workers"] == group_of(1, retired=2)


def test_what_a_sum_of_the_dead_was_rounded_by_is_kept(reader: Program, place: Path) -> None:
    """So that the sum neither falls nor depends on the order of folds."""
    for dead in range(1, 11):
        (place / f"w-1-1-{dead}").write_bytes(segment(ROOT, HALVES, halves=0.1))
        for _ in range(2):
            assert reader.page()["halves"] == fsum([0.25] + [0.1] * dead)


def test_the_file_of_one_that_was_counted_is_there_again(reader: Program, place: Path) -> None:
    """As if the process that folded it was killed before it removed the file."""
    path, other = place / "w-1-1-a", place / "w-1-1-b"
    path.write_bytes(segment(ROOT, ORDERS))
    assert reader.page()["orders"] == 1005
    path.write_bytes(segment(ROOT, ORDERS))
    assert reader.page()["orders"] == 1005
    other.write_bytes(segment(ROOT, ORDERS, orders=300))
    page = reader.page()
    assert (page["orders"], page["pyvars.workers"]["retired"]) == (1305, 2)
    assert not path.exists()
    assert not other.exists()


def test_figures_that_are_damaged_after_they_were_read(reader: Program, place: Path) -> None:
    """The numbers count, but are not folded, since a new reader cannot read the file."""
    good = with_figures_of(segment(ROOT, ORDERS), b"{}")
    with file(place / "w-1-1-a", good, lives=True) as opened:
        assert reader.page()["orders"] == 1005
        opened.write(with_figures_of(segment(ROOT, ORDERS), b"{"))
        opened.flush()
        assert reader.page()["orders"] == 1005
    for _ in range(2):
        page = reader.page()
        assert page["orders"] == 1005
        assert page["pyvars.workers"] == group_of(1, retired=1)
    assert (place / "w-1-1-a").exists()


def test_an_owner_that_stands_in_the_middle_of_a_change(reader: Program, place: Path) -> None:
    """The reader waits for it for a moment, and then reads the file as it is."""
    with file(place / "w-1-1-a", segment(ROOT, ORDERS, generation=3), lives=True):
        for _ in range(2):
            page = reader.page()
            assert page["orders"] == 1005
            assert page["pyvars.workers"]["reason"] == ""


def test_what_those_left_who_were_killed_at_birth_or_while_they_moved_the_dead(reader: Program, place: Path) -> None:
    """The next fold removes these files, but not those that a starting worker may need."""
    left, sockets = [f".w-{2**22 + 1}-1-a", ".w-0-0-a"], ["s-1-1-a", "s-1-1-b"]
    kept = [f".w-{os.getpid()}-{start_of(os.getpid())}-a", ".w-x-y-z", "s-1-1-c", "s-mydata.db", "other"]
    for name in (*left, *kept):
        (place / name).touch()
    for name in sockets:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(place / name))
    (place / "w-1-1-a").write_bytes(segment(ROOT, ORDERS))
    assert reader.page()["orders"] == 1005
    names = os.listdir(place)
    assert set(names) > {*kept, "retired"}
    assert not {*left, *sockets, "w-1-1-a"} & set(names)


def test_a_directory_in_place_of_what_is_kept_of_the_dead(reader: Program, place: Path) -> None:
    """The counts stay in the segments until the retired file can be written."""
    (place / "retired").mkdir()
    (place / "w-1-1-a").write_bytes(segment(ROOT, ORDERS))
    for _ in range(2):
        page = reader.page()
        assert page["orders"] == 1005
        assert page["pyvars.workers"]["reason"] == "retired: it is no regular file"
    assert len([name for name in os.listdir(place) if name.startswith(".")]) == 0
    (place / "retired").rmdir()
    for _ in range(2):
        page = reader.page()
        assert (page["orders"], page["pyvars.workers"]["reason"]) == (1005, "")
    assert (place / "retired").is_file()
    assert not (place / "w-1-1-a").exists()


def test_what_is_kept_of_the_dead_is_another_file_in_the_same_place(reader: Program, place: Path) -> None:
    """A new file may have the inode of an older one, and the same number of changes."""
    path = place / "retired"
    path.write_bytes(with_word(segment(ROOT, ORDERS), H_RETIRED, 1))
    assert reader.page()["orders"] == 1005
    path.write_bytes(with_word(segment(ROOT, HALVES, ORDERS, halves=0.5, orders=1300), H_RETIRED, 2))
    page = reader.page()
    assert (page["orders"], page["halves"], page["pyvars.workers"]["retired"]) == (1305, 0.75, 2)


def test_what_is_kept_of_the_dead_is_damaged(reader: Program, place: Path) -> None:
    """The next fold starts a new one."""
    (place / "retired").write_bytes(segment(ROOT, ORDERS)[:-100])
    page = reader.page()
    assert page["pyvars.workers"]["reason"] == "retired: it is cut short"
    assert is_alone(page)
    (place / "w-1-1-a").write_bytes(segment(ROOT, ORDERS))
    for _ in range(2):
        page = reader.page()
        assert (page["orders"], page["pyvars.workers"]["reason"]) == (1005, "")
