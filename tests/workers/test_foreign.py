"""Files of other programs in the group directory: pyvars never opens, changes or removes them."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from pyvars.workers.asking.wire import short_path
from pyvars.workers.together.directory import UnsharedError, find_group_directory, sweep
from pyvars.workers.together.group import Process, name_of
from tests.programs import output
from tests.workers.test_damage import ORDERS, ROOT, segment
from tests.workers.test_membership import INTEGRATION, said
from tests.workers.test_segments import READER, is_alone, measured

TEXT = "what took somebody a week\n"


def a_file(name: str) -> Callable[[Path], object]:
    return lambda place: (place / name).write_text(TEXT)


def of_another_user(place: Path) -> None:
    path = place / "w-1-1-f"
    path.write_bytes(segment(ROOT, ORDERS, orders=0))
    os.chown(path, 12345, -1)


def a_socket(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        with short_path(str(place / "s-other.sock")) as path:
            listener.bind(path)


FOREIGN: dict[str, Callable[[Path], object]] = {
    **{name: a_file(name) for name in ("s-mydata.db", "w-notes.txt", "w-1-2-3", ".w-1-1-3", "s-1-2-3", "p-80-::")},
    **{
        name: a_file(name)
        for name in ("w-1-2-3\n", "w-1-2-3.bak", ".w-notes.swp", "w-\u0661-2-3", ".hidden", "p-80-localhost")
    },
    "data": lambda place: (place / "data" / "within").mkdir(parents=True),
    "w-1-1-d": lambda place: (place / "w-1-1-d").mkdir(),
    "w-1-1-e": lambda place: (place / "w-1-1-e").symlink_to("../elsewhere"),
    "w-1-1-c": lambda place: os.mkfifo(place / "w-1-1-c"),
    "w-1-1-b": lambda place: (place / "w-1-1-b").touch(),
    "s-1-1-e": lambda place: (place / "s-1-1-e").symlink_to("../elsewhere"),
    "p-1-e": lambda place: (place / "p-1-e").symlink_to("../elsewhere"),
    "s-other.sock": a_socket,
    "w-1-1-f": of_another_user,
}
IN_PLACE_OF_THE_RETIRED: dict[str, Callable[[Path], object]] = {
    "retired": a_file("retired"),
    "empty": lambda place: (place / "retired").touch(),
    "link": lambda place: (place / "retired").symlink_to("../elsewhere"),
}


def make_all(place: Path) -> None:
    for make in FOREIGN.values():
        if make is not of_another_user or os.geteuid() == 0:
            make(place)


def tree(place: Path) -> dict[str, object]:
    """The entries of the directory, each with its mode, owner, time and content."""
    found: dict[str, object] = {}
    for path in place.rglob("*"):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found[str(path.relative_to(place))] = status.st_mode, status.st_uid, status.st_ino, status.st_mtime_ns, content
    return found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "elsewhere").write_bytes(segment(ROOT, ORDERS))
    (tmp_path / "shared").mkdir(mode=0o700)
    return tmp_path / "shared"


REFUSED = "which is no file of pyvars; set PYVARS_SHARE to a directory that is empty, or does not exist yet"


@pytest.mark.parametrize("kind", [*FOREIGN, *IN_PLACE_OF_THE_RETIRED])
def test_what_is_foreign(kind: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "w-1-1-f" and os.geteuid() != 0:
        pytest.skip("only root gives a file to another user")
    monkeypatch.setenv("PYVARS_SHARE", str(place))
    assert find_group_directory(None) == str(place)
    {**FOREIGN, **IN_PLACE_OF_THE_RETIRED}[kind](place)
    (place / "w-1-1-a").write_bytes(segment(ROOT, ORDERS))  # and a file of a worker that has died
    before = tree(place)
    with pytest.raises(UnsharedError, match=REFUSED):
        find_group_directory(None)
    assert tree(place) == before


def test_a_directory_with_files_of_others_is_refused(place: Path) -> None:
    """The page names the first of them, and says what to do."""
    (place / "s-mydata.db").write_text(TEXT)
    before = tree(place)
    with measured(READER, PYVARS_SHARE=place) as reader:
        page = reader.page()
        assert is_alone(page)
        status = page["pyvars.workers"]
        assert (status["live"], status["retired"], status["shared"]) == (1, 0, False)
        assert status["reason"] == f"{place} holds 's-mydata.db', {REFUSED}"
    assert tree(place) == before


def test_files_of_others_in_a_directory_in_use_stay_as_they_are(place: Path) -> None:
    """While workers start, are killed, are folded and end."""
    with measured(READER, PYVARS_SHARE=place) as reader:
        assert reader.page()["orders"] == 5
        own = set(os.listdir(place))
        make_all(place)
        before = {name: about for name, about in tree(place).items() if name not in own}
        for deaths in range(1, 3):
            (place / f"w-2-2-{deaths}").write_bytes(segment(ROOT, ORDERS))
            with measured(READER, PYVARS_SHARE=place) as other:
                assert other.page()["pyvars.workers"]["live"] == 2
                page = reader.page()
                assert page["orders"] == 5 + 1005 * deaths
                assert page["pyvars.workers"]["live"] == 2
        assert not [name for name in os.listdir(place) if name.startswith("w-2-2-")]
    after = tree(place)
    assert {name: after.get(name) for name in before} == before


@pytest.mark.parametrize("kind", IN_PLACE_OF_THE_RETIRED)
def test_a_file_of_another_program_in_place_of_the_retired_file(kind: str, place: Path) -> None:
    """The counts of dead workers stay in their segments."""
    with measured(READER, PYVARS_SHARE=place) as reader:
        assert reader.page()["orders"] == 5
        own = set(os.listdir(place))
        IN_PLACE_OF_THE_RETIRED[kind](place)
        for number in range(6):
            (place / f"w-2-2-{number}").write_bytes(segment(ROOT, ORDERS))
        before = {name: about for name, about in tree(place).items() if name not in own}
        for _ in range(2):
            page = reader.page()
            assert (page["orders"], page["pyvars.workers"]["retired"]) == (6005, 6)
            assert page["pyvars.workers"]["reason"].startswith("retired: ")
    assert {name: about for name, about in tree(place).items() if name not in own} == before


def test_what_others_put_in_place_of_the_files_of_a_worker(place: Path) -> None:
    """The worker makes new files with other names, and does not remove the foreign ones when it ends."""
    lines = said(
        f"""
{INTEGRATION}
n.add(3)
page()
place = os.environ["PYVARS_SHARE"]
files = sorted(os.listdir(place))
for name in files:
    os.unlink(os.path.join(place, name))
    with open(os.path.join(place, name), "w") as file: file.write({TEXT!r})
print(json.dumps([page()["n"], files, MEMBER.shared]))
os.unlink(os.path.join(place, files[1]))
print(json.dumps([page()["n"], MEMBER.shared]))
""",
        PYVARS_SHARE=str(place),
        PYVARS_HISTORY="off",  # whose file may come in between
    )
    (count, files, shared), *after = lines
    assert (count, [name[:2] for name in files], shared) == (3, ["s-", "w-"], False)
    assert (place / files[0]).read_text() == TEXT
    assert after == [[3, False]]  # until it tries again, a second later
    assert len(list(place.iterdir())) == 1


def test_a_group_that_has_ended_with_files_of_others(tmp_path: Path) -> None:
    """The files of pyvars are removed."""
    group = tmp_path / name_of(Process(2**22 + 1, 1))
    group.mkdir()
    make_all(group)
    before = tree(group)
    (group / "w-1-1-a").write_bytes(segment(ROOT, ORDERS))
    (group / "retired").write_bytes(segment(ROOT, ORDERS))
    for name in (".w-1-1-a", "p-80-127.0.0.1"):
        (group / name).touch()
    sweep(str(tmp_path))
    assert tree(group) == before


def test_a_file_that_cannot_be_opened_may_be_of_a_live_worker(tmp_path: Path) -> None:
    """As under a security policy of the system."""
    group = tmp_path / name_of(Process(2**22 + 1, 1))
    group.mkdir()
    (group / "p-80-127.0.0.1").touch()
    code = """
import sys
from pyvars.workers.together.directory import sweep
def policy(event, about):
    if event == "open" and "p-80" in str(about[0]): raise PermissionError(13, "Permission denied")
sys.addaudithook(policy)
sweep(sys.argv[1])
"""
    output(code, str(tmp_path))
    assert os.listdir(group) == ["p-80-127.0.0.1"]
    sweep(str(tmp_path))
    assert os.listdir(tmp_path) == []
