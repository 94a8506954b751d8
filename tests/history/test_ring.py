"""The file of a history: readers find the rows again after another writer, and after a change of the columns."""

import errno
import math
import os
from pathlib import Path

import pytest

from pyvars.core.own_file import OwnFile
from pyvars.history.ring import (
    COUNT,
    GAUGE,
    MISSING,
    REAL_COUNT,
    SAMPLES,
    SPANS,
    Column,
    Header,
    Mark,
    RingError,
    RingReader,
)
from pyvars.history.writer import Ring

COLUMNS = [Column("orders", COUNT, "", "Orders accepted"), Column("open", GAUGE), Column("eur", REAL_COUNT, "eur")]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "history")


def written(ring: Ring, samples: int, spans: int = 0) -> Ring:
    first = ring.current.samples
    for number in range(first, first + samples):
        ring.add_sample((number + 1.0, number, number / 2, number * 1.5), beat=number)
    for number in range(ring.current.spans, ring.current.spans + spans):
        ring.add_span((number * 10.0 + 1, number, 0.5, 2.5, number * 1.5))
    return ring


def reader(path: str) -> RingReader:
    return RingReader(OwnFile.open(path, os.O_RDWR))


@pytest.mark.parametrize("count", [0, 1, 599, 600, 601, 1500])
def test_the_last_samples_are_read(path: str, count: int) -> None:
    written(Ring(path, COLUMNS, Header()), count).publish()
    found = reader(path)
    assert [*found.columns] == COLUMNS
    rows = found.samples(found.header())
    # With a full ring the oldest row is left out, since it may be the one that is being written.
    kept = range(max(0, count - SAMPLES + (count >= SAMPLES)), count)
    assert rows == [(n + 1.0, n, n / 2, n * 1.5) for n in kept]
    assert found.samples(found.header(), newest=5) == rows[-5:]


def test_spans_hold_the_minimum_and_maximum_of_gauges(path: str) -> None:
    written(Ring(path, COLUMNS, Header()), 0, SPANS + 7).publish()
    found = reader(path)
    rows = found.spans(found.header())
    assert rows == [(n * 10.0 + 1, n, 0.5, 2.5, n * 1.5) for n in range(8, SPANS + 7)]


def test_marks(path: str) -> None:
    ring = Ring(path, COLUMNS, Header())
    ring.publish()
    ring.add_marks([Mark(float(number), "worker", f"worker {number} ended") for number in range(300)])
    reader(path).add_marks([Mark(1.5, "a kind that is far too long", "é" * 200)])
    found = ring.marks()
    assert len(found) == 256
    assert found[0] == Mark(45.0, "worker", "worker 45 ended")
    assert found[-1] == Mark(1.5, "a kind that is f", "é" * 52)


def test_other_columns_take_over_what_was_there(path: str) -> None:
    before = written(Ring(path, COLUMNS, Header()), 700, 3)
    before.add_marks([Mark(1.0, "start", "it starts")])
    before.publish()
    columns = [Column("new", COUNT), COLUMNS[1], Column("orders", GAUGE), COLUMNS[0], Column("level", GAUGE)]
    after = Ring(path, columns, before.current._replace(epoch=2), before.content())
    assert before.is_published
    after.publish()
    assert after.is_published
    assert not before.is_published
    found = reader(path)
    assert found.header().samples == 700
    *_, row = found.samples(found.header())
    assert row[:3] == (700.0, MISSING, 349.5)
    assert math.isnan(row[3])
    assert row[4] == 699
    *_, span = found.spans(found.header())
    assert span[:4] == (21.0, MISSING, 0.5, 2.5)
    assert math.isnan(span[4])
    assert math.isnan(span[5])
    assert found.marks() == [Mark(1.0, "start", "it starts")]
    after.add_sample((701.0, 1, 2.0, 3.0, 4, 5.0), beat=1)
    assert found.samples(found.header())[-1] == (701.0, 1, 2.0, 3.0, 4, 5.0)


def test_without_a_path_it_goes_with_the_process() -> None:
    ring = written(Ring("", COLUMNS, Header()), 3)
    assert ring.is_published
    assert len(ring.samples(ring.header())) == 3
    ring.close()


@pytest.mark.parametrize("damage", [b"", b"x", b"x" * 100_000, b"pyvarsH\x01" + b"\xff" * 4088])
def test_a_file_that_is_no_history(path: str, damage: bytes) -> None:
    Path(path).write_bytes(damage)
    with pytest.raises(RingError):
        reader(path)


def test_a_file_that_is_cut_or_damaged(path: str) -> None:
    ring = written(Ring(path, COLUMNS, Header()), 3)
    ring.publish()
    os.pwrite(ring.file.number, b"?", 4110)
    with pytest.raises(RingError, match="damaged"):
        reader(path)
    os.truncate(path, 50_000)
    with pytest.raises(RingError, match="truncated"):
        reader(path)


def test_a_header_that_does_not_fit_the_columns(path: str) -> None:
    ring = written(Ring(path, COLUMNS, Header()), 3)
    ring.publish()
    ring.note(row_bytes=8)
    with pytest.raises(RingError, match="damaged"):
        reader(path)


def test_a_file_system_that_cannot_reserve(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The space is reserved by writing zeros."""

    def refuse(*arguments: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    ring = written(Ring(path, COLUMNS, Header()), 3)
    assert os.fstat(ring.file.number).st_blocks * 512 >= os.fstat(ring.file.number).st_size
    assert len(ring.samples(ring.header())) == 3
    ring.close()


def test_it_takes_no_more_than_14_kilobytes_a_series(path: str) -> None:
    columns = [Column(f"a_name_of_a_variable_{number:03}", COUNT, "seconds", "x" * 100) for number in range(100)]
    ring = Ring(path, columns, Header())
    assert os.fstat(ring.file.number).st_blocks * 512 <= 14_000 * 100
    ring.close()
    assert not os.listdir(os.path.dirname(path))
