"""The file that PYVARS_HISTORY names: its owner, files in its place, and other programs that write it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.history.test_sampler import PRELUDE, said
from tests.programs import ROOT

SAYS = """
found = until(lambda found: found.get("reason"))
print(json.dumps(found["reason"]))
"""
KEEPS = """
found = until(points(1))
print(json.dumps([found["t"], found["id"], [mark["text"].partition(":")[0] for mark in found["marks"]]]))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history"


def test_it_goes_on_in_the_next_life(path: Path) -> None:
    first = said(KEEPS, PYVARS_HISTORY=str(path))
    second = said(KEEPS, PYVARS_HISTORY=str(path))
    assert second[0][: len(first[0])] == first[0]
    assert first[1].endswith("-1")
    assert second[1].endswith("-2")
    assert second[2] == ["the program has started", "the program has started again"]
    assert os.stat(path).st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"pyvarsH\x01", b"pyvarsH\x01" + bytes(40_000)])
def test_one_that_is_empty_or_damaged_is_replaced(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    assert said(KEEPS, PYVARS_HISTORY=str(path))[2] == ["the program has started"]


def test_files_of_others_stay(path: Path) -> None:
    path.write_bytes(b"x" * 9000)
    path.chmod(0o600)
    reason = said(SAYS, PYVARS_HISTORY=str(path))
    assert reason.endswith(f"{path} is not a history of this version of pyvars; remove it, or name another file")
    assert path.read_bytes() == b"x" * 9000
    path.chmod(0o644)
    assert "must be a file of user" in said(SAYS, PYVARS_HISTORY=str(path))


def test_a_symbolic_link_a_directory_and_a_path_that_leads_nowhere(path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"")
    path.symlink_to(tmp_path / "elsewhere")
    assert "Too many levels of symbolic links" in said(SAYS, PYVARS_HISTORY=str(path))
    assert (tmp_path / "elsewhere").read_bytes() == b""
    assert "Is a directory" in said(SAYS, PYVARS_HISTORY=str(tmp_path))
    assert "No such file or directory" in said(SAYS, PYVARS_HISTORY=str(tmp_path / "no" / "history"))


def test_two_programs_do_not_write_one_file(path: Path) -> None:
    code = f"{PRELUDE}\nuntil(points(1))\nprint(flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYVARS_HISTORY": str(path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as first:
        assert first.stdout
        first.stdout.readline()
        assert said(SAYS, PYVARS_HISTORY=str(path)) == f"another program writes the history in {path}"
        first.kill()
        first.wait()
    assert len(said(KEEPS, PYVARS_HISTORY=str(path))[2]) == 2


def test_what_a_killed_process_left_beside_it_is_removed(path: Path) -> None:
    said(KEEPS, PYVARS_HISTORY=str(path))
    old, new, other = (path.with_name(f".history-{end}") for end in ("0123abcd", "0123abce", "mine"))
    for each in (old, new, other):
        each.write_bytes(b"")
    os.utime(old, (1, 1))
    said(KEEPS, PYVARS_HISTORY=str(path))
    assert sorted(os.listdir(path.parent)) == sorted([new.name, other.name, "history"])


def test_another_program_that_writes_into_it(path: Path) -> None:
    """Only the history is lost. A new one begins, and the program goes on."""
    told = said(
        f"""
first = until(points(1))
os.truncate({str(path)!r}, 4000)
until(lambda found: points(1)(found) and found["t"][0] > first["t"][0])
print(json.dumps([len(ask()["marks"]), names()]))
""",
        PYVARS_HISTORY=str(path),
    )
    assert told == [1, 1]


def test_a_relative_path_is_that_of_the_beginning(tmp_path: Path) -> None:
    told = said(
        f"""
os.chdir("/")
until(points(1))
print(json.dumps(os.path.exists({str(tmp_path / "mine")!r})))
""",
        PYVARS_HISTORY=os.path.relpath(tmp_path / "mine", ROOT),
    )
    assert told is True
    assert json.dumps(told) == "true"


@pytest.mark.parametrize("there", [True, False])
def test_another_process_that_is_quicker(path: Path, tmp_path: Path, there: bool) -> None:
    """Another process puts a file at the path while this process makes its own. Its rows are kept."""
    first = said(KEEPS, PYVARS_HISTORY=str(path))
    path.rename(tmp_path / "other")
    if there:
        path.write_bytes((tmp_path / "other").read_bytes())
        path.chmod(0o600)
    told = said(
        f"""
done = []
def quicker(event, about):
    if event == "open" and "/.history-" in str(about[0]) and not done:
        done.append(about)
        os.rename({str(tmp_path / "other")!r}, {str(path)!r})
sys.addaudithook(quicker)
found = until(points({len(first[0]) + 1}))
print(json.dumps([found["t"], [mark["text"].partition(":")[0] for mark in found["marks"]], len(done)]))
""",
        PYVARS_HISTORY=str(path),
    )
    assert told[0][: len(first[0])] == first[0]
    assert told[1:] == [["the program has started", "the program has started again"], 1]
    assert os.listdir(tmp_path) == ["history"]
