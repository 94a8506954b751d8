"""Hostile files among the segments, made by a process of the same user: each costs little, once, and is named."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pyvars.workers.numbers.segment import CHUNK, COMPOSITE, H_CHUNKS, H_GENERATION, H_USED, INT, MAP, MAX_CHUNKS
from tests.workers.test_damage import ORDERS, ORDERS_WORD, ROOT, ROOT_WORD, record, segment
from tests.workers.test_names import TOLD
from tests.workers.test_segments import READER, Program, file, is_alone, measured, with_word

NAME = "w-1-1-a"
ENDLESS = "it has too many names"


def chain(levels: int, names: int, kind: int = COMPOSITE) -> bytes:
    """Nested containers, each with this number of names: names ** levels paths to one number."""
    words = [ROOT_WORD, *range(50, 50 + levels)]
    below = [
        record(f"n{name}".encode(), kind, parent, word) for parent, word in pairwise(words) for name in range(names)
    ]
    return segment(ROOT, ORDERS, *below, record(b"x", INT, words[-1], ORDERS_WORD))


def ring(size: int) -> bytes:
    """Containers, each of which contains all others."""
    words = [ROOT_WORD, *range(50, 50 + size)]
    return segment(
        ROOT, *(record(f"n{word}".encode(), COMPOSITE, parent, word) for parent in words for word in words[1:])
    )


def of_one_word() -> bytes:
    """As many names of one number as there is room for."""
    chunks = 12
    data = with_word(with_word(segment(ROOT), H_CHUNKS, chunks), H_USED, chunks * 1024)
    area = b"".join(record(f"{name:05}".encode(), INT, ROOT_WORD, ORDERS_WORD) for name in range(1792))
    return data + (bytes(8192) + area[: CHUNK - 8192]) * (chunks - 1)


BRANCHES: dict[str, Callable[[], bytes]] = {
    "two names at each of 20 levels": lambda: chain(20, 2),
    "two names at each of 60 levels, of Maps": lambda: chain(60, 2, MAP),
    "nine names at each of 90 levels": lambda: chain(90, 9),
    "a ring of ten": lambda: ring(10),
    "one number with 20,000 names": of_one_word,
}


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Program]:
    tmp_path.chmod(0o700)
    with measured(READER, PYVARS_SHARE=tmp_path) as reader:
        assert is_alone(reader.page())
        yield reader


def bytes_read(reader: Program) -> int:
    """The number of bytes that its system calls have read so far."""
    text = Path(f"/proc/{reader.process.pid}/io").read_text()
    return int(text.split()[1])


def is_named(page: Any, reason: str, name: str = NAME) -> bool:
    status = page["pyvars.workers"]
    assert (status["reason"], status["shared"]) == (f"{name}: {reason}", False)
    assert page["pyvars.errors"]["pyvars.workers"]["type"] == "incomplete"
    assert page["pyvars.errors"]["pyvars.workers"].get("workers") == ("1" if name == NAME else None)
    return is_alone(page)


@pytest.mark.parametrize("lives", [True, False])
@pytest.mark.parametrize("case", BRANCHES)
def test_more_paths_than_records(case: str, lives: bool, reader: Program, tmp_path: Path) -> None:
    """Nothing of it is on the page, and its records are not read again."""
    data = BRANCHES[case]()
    with file(tmp_path / NAME, data, lives=lives):
        assert is_named(reader.page(), ENDLESS)
        before = bytes_read(reader)
        for _ in range(3):
            assert is_named(reader.page(), ENDLESS)
        usual = bytes_read(reader) - before
    if len(data) > 4 * CHUNK:
        assert usual < len(data)


def test_a_number_with_several_names_is_read(reader: Program, tmp_path: Path) -> None:
    """As for a registry that is published in several others."""
    with file(tmp_path / NAME, chain(3, 4), lives=True):
        page = reader.page()
        assert page["orders"] == 1005
        assert page["n0"] == {f"n{one}": {f"n{two}": {"x": 1000} for two in range(4)} for one in range(4)}
        assert (page["pyvars.workers"]["reason"], "pyvars.errors" in page) == ("", False)


@pytest.mark.parametrize("size", [10 * 2**30, MAX_CHUNKS * CHUNK])
def test_a_file_that_is_a_hole(size: int, reader: Program, tmp_path: Path) -> None:
    """Its header claims the maximum number of words. Even if the file has that size, holes are not read."""
    data = with_word(with_word(segment(ROOT, ORDERS), H_CHUNKS, MAX_CHUNKS), H_USED, MAX_CHUNKS * 1024)
    with file(tmp_path / NAME, data, lives=True):
        os.truncate(tmp_path / NAME, size)
        before = bytes_read(reader)
        for _ in range(3):
            page = reader.page()
            if size > MAX_CHUNKS * CHUNK:
                assert is_named(page, "it is larger than a segment can be")
            else:
                assert (page["orders"], page["pyvars.workers"]["reason"]) == (1005, "")
        assert bytes_read(reader) - before < MAX_CHUNKS * CHUNK / 2


def test_a_damaged_file_is_read_again_when_it_has_changed(reader: Program, tmp_path: Path) -> None:
    """Whether it was repaired through a mapping or with write()."""
    with file(tmp_path / NAME, segment(ROOT, ORDERS)[:-100], lives=True) as opened:
        for _ in range(2):
            assert is_named(reader.page(), "it is cut short")
        opened.write(segment(ROOT, ORDERS))
        opened.flush()
        assert reader.page()["orders"] == 1005
        for generation in (4, 6):
            opened.seek(0)
            opened.write(with_word(chain(30, 2), H_GENERATION, generation))
            opened.flush()
            assert is_named(reader.page(), ENDLESS)
        os.replace(tmp_path / NAME, tmp_path / "other")
        (tmp_path / NAME).write_bytes(segment(ROOT, ORDERS, orders=7))
        assert reader.page()["orders"] == 12


def test_many_damaged_files(reader: Program, tmp_path: Path) -> None:
    """More files than pyvars remembers."""
    for number in range(300):
        (tmp_path / f"w-1-1-{number}").write_bytes(b"damaged")
    for _ in range(2):
        page = reader.page()
        assert is_alone(page)
        assert page["pyvars.workers"]["reason"].count("it is cut short") == 4


def as_fifo(path: Path) -> None:
    os.mkfifo(path)


def as_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def as_link(path: Path) -> None:
    other = path.with_name("elsewhere")
    other.write_bytes(segment(ROOT, ORDERS))
    path.symlink_to(other)


def as_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


STRANGE: dict[str, Callable[[Path], None]] = {
    "directory": Path.mkdir,
    "fifo": as_fifo,
    "socket": as_socket,
    "link": as_link,
    "link to a device": as_device,
}


@pytest.mark.parametrize("name", [NAME, "retired"])
@pytest.mark.parametrize("kind", STRANGE)
def test_what_is_no_regular_file(kind: str, name: str, reader: Program, tmp_path: Path) -> None:
    """It is never opened, since opening a FIFO would wait for its other end."""
    STRANGE[kind](tmp_path / name)
    for _ in range(2):
        assert is_named(reader.page(), "it is no regular file", name)
    (tmp_path / "w-1-1-b").write_bytes(segment(ROOT, ORDERS))
    page = reader.page()
    assert page["orders"] == 1005
    assert page["pyvars.workers"]["reason"] == f"{name}: it is no regular file"


def test_names_that_are_too_deep_are_left_out_by_all_alike(tmp_path: Path) -> None:
    """The page of the worker that has them shows them; each page says that the sums lack them."""
    tmp_path.chmod(0o700)
    deep = "inner = pyvars.publish('deep', pyvars.Registry()); inner.publish('high', pyvars.Int(1))"
    deeper = "; exec('for _ in range({}): inner = inner.publish(\"r\", pyvars.Registry())')"
    end = "; inner.publish('low', pyvars.Int(1))"
    with measured(TOLD, PYVARS_SHARE=tmp_path) as one, measured(TOLD, PYVARS_SHARE=tmp_path) as other:
        for worker in (one, other):
            page = worker.page(f"{deep}{deeper.format(40)}{end}")
        assert innermost(page["deep"]) == {"low": 2}
        assert (page["deep"]["high"], page["pyvars.workers"]["reason"]) == (2, "")
        other.page(f"{deeper.format(100)[2:]}{end}")
        for worker in (one, other):
            until = time.monotonic() + 30
            while not (page := worker.page("pass"))["pyvars.workers"]["reason"]:  # it may be 100 ms old
                assert time.monotonic() < until
            assert page["deep"]["high"] == 2
            assert page["pyvars.workers"]["reason"].endswith(": numbers below 100 levels of names are left out")
            assert page["pyvars.errors"]["pyvars.workers"]["workers"] == str(other.process.pid)
        assert innermost(page["deep"]) == {"low": 1}


def innermost(page: Any) -> Any:
    while "r" in page:
        page = page["r"]
    return page
