"""`pyvars history` for a program that runs, and for the file that a program has left."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyvars.cli import main
from pyvars.history.ring import COUNT, GAUGE, Column, Header, Mark
from pyvars.history.writer import Ring
from tests.cli.test_reading import answering
from tests.programs import output

Run = Callable[..., tuple[int, str, str]]
COLUMNS = [Column("open", GAUGE, "", "Orders open"), Column("orders", COUNT), Column("orders_late", COUNT)]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("PYVARS_TOKEN", raising=False)
    return lambda *arguments: (main(["history", *arguments]), *capsys.readouterr())


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A file that a program has left."""
    path = str(tmp_path / "history")
    ring = Ring(path, COLUMNS, Header(group=1))
    for number in range(4):
        ring.add_sample((1_800_000_000.0 + number, float(number % 3), number, -(2**63)), beat=number)
    ring.add_span((1_800_000_003.0, 0.0, 2.0, 3, -(2**63)))
    ring.add_marks([Mark(1_800_000_000.5, "start", "the program has started: process 7")])
    ring.publish_first()
    ring.close()
    return path


def test_a_table(run: Run, file: str) -> None:
    assert run(file) == (
        0,
        """\
4 points from 2027-01-15T08:00:00.000Z to 2027-01-15T08:00:03.000Z
name         first  last  lowest  highest
open             0     0       0        2
orders           0     3       0        3
orders_late      -     -       -        -
2027-01-15T08:00:00.500Z  the program has started: process 7
""",
        "",
    )
    assert run(file, "--step", "10", "open")[1].splitlines()[1:3] == [
        "name  first  last  lowest  highest",
        "open      2     2       0        2",
    ]


def test_csv(run: Run, file: str) -> None:
    assert run("--csv", file, "orders") == (
        0,
        """\
time,orders,orders_late
2027-01-15T08:00:00.000Z,0,
2027-01-15T08:00:01.000Z,1,
2027-01-15T08:00:02.000Z,2,
2027-01-15T08:00:03.000Z,3,
""",
        "",
    )


def test_json_and_a_name_that_is_missing(run: Run, file: str) -> None:
    status, out, error = run(file, "--json", "orders", "none")
    assert (status, error) == (1, f"pyvars: {file}: no series begins with 'none'\n")
    assert json.loads(out)["series"] == {"orders": [0, 1, 2, 3], "orders_late": [None] * 4}


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "the file is not a history"), (b"x" * 9000, "the file is not a history of this version")],
)
def test_files_that_are_no_history(run: Run, tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    assert run(str(path)) == (1, "", f"pyvars: {path}: {reason}\n")
    missing = str(tmp_path / "missing")
    assert run(missing) == (1, "", f"pyvars: {missing}: No such file or directory\n")


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ({}, "the response is not a history"),
        ({"series": 5, "t": []}, "the response is not a history"),
        ({"series": {"a": "b"}, "t": [1], "marks": []}, "the response is not a history"),
        ({"series": {}, "t": [], "reason": "PYVARS_HISTORY is off"}, "there is no history: PYVARS_HISTORY is off"),
    ],
)
def test_responses_that_are_no_history(run: Run, page: Any, reason: str) -> None:
    with answering(json.dumps(page).encode()) as url:
        status, out, error = run(url)
    assert (status, out) == (1, "")
    assert error == f"pyvars: {url}: {reason}\n"


def test_an_empty_history(run: Run) -> None:
    with answering(b'{"series": {}, "t": [], "marks": []}') as url:
        assert run(f"{url}/debug/vars") == (0, "name  first  last  lowest  highest\n", "")


def test_a_program_that_runs() -> None:
    code = """
import io, sys, time, pyvars
from contextlib import redirect_stderr, redirect_stdout
from pyvars.cli import main
pyvars.publish("orders", pyvars.Int(7))
with pyvars.serve(0) as server:
    out = io.StringIO()
    while "orders" not in out.getvalue():
        time.sleep(0.05)
        with redirect_stdout(out), redirect_stderr(io.StringIO()):
            main(["history", f"{server.url}/debug/vars", "orders", "--csv"])
    print(out.getvalue().split()[-2:][0].partition(",")[2], out.getvalue().split()[-1].partition(",")[2])
"""
    assert output(code) in ("orders 7\n", "7 7\n")
