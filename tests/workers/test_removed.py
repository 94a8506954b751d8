"""The group directory, or a file in it, is removed or replaced while workers use it: they find each other again."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.workers import group_of
from tests.workers.test_membership import INTEGRATION, said
from tests.workers.test_segments import PEER, READER, Program, is_alone, measured, program

LIMIT_SECONDS = 60


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "shared"


@pytest.fixture
def reader(place: Path) -> Iterator[Program]:
    """One of two workers. All pages are requested from this one; the other one counts 1000 orders."""
    with measured(READER, PYVARS_SHARE=place) as reader, measured(PEER, 1, PYVARS_SHARE=place) as peer:
        peer.line()
        assert reader.page()["orders"] == 1005
        yield reader
        assert whole(reader)["orders"] == 1005


def whole(reader: Program) -> Any:
    """The page, once both workers are on it. Meanwhile no number counts twice, and the reader's own are on it."""
    until = time.monotonic() + LIMIT_SECONDS
    while True:
        page = reader.page()
        assert page["orders"] in (5, 1005)
        if (page["orders"], page["pyvars.workers"]["live"]) == (1005, 2):
            assert (page["pyvars.workers"]["shared"], page["pyvars.workers"]["reason"]) == (True, "")
            return page
        assert time.monotonic() < until, page


def names(place: Path) -> list[str]:
    return sorted(path.name[:2] for path in place.iterdir())


def removed(place: Path) -> None:
    shutil.rmtree(place)


def replaced(place: Path) -> None:
    place.rename(place.with_name("old"))
    place.mkdir(mode=0o700)


@pytest.mark.parametrize("remove", [removed, replaced])
def test_the_directory(remove: Callable[[Path], None], place: Path, reader: Program) -> None:
    for _ in range(2):
        remove(place)
        page = whole(reader)
        assert page["pyvars.workers"]["retired"] == 0
        shutil.rmtree(place.with_name("old"), ignore_errors=True)
    until = time.monotonic() + LIMIT_SECONDS
    while names(place) != ["s-", "s-", "w-", "w-"]:
        assert time.monotonic() < until


def test_the_directory_is_moved_away_and_back(place: Path, reader: Program) -> None:
    """The numbers in the old files do not count again."""
    replaced(place)
    whole(reader)
    removed(place)
    place.with_name("old").rename(place)
    whole(reader)


@pytest.mark.parametrize("prefix", ["w-", "s-", "w-,s-"])
def test_single_files(prefix: str, place: Path, reader: Program) -> None:
    for path in [path for path in place.iterdir() if path.name.startswith(tuple(prefix.split(",")))]:
        path.unlink()
    whole(reader)
    until = time.monotonic() + LIMIT_SECONDS
    while names(place) != ["s-", "s-", "w-", "w-"]:
        assert time.monotonic() < until


def test_the_retired_file(place: Path, reader: Program) -> None:
    """The numbers of the dead workers were only in this file."""
    with program(PEER, 1, PYVARS_SHARE=place) as dead:
        dead.line()
        assert reader.page()["orders"] == 2005
    assert reader.page()["orders"] == 2005
    (place / "retired").unlink()
    assert whole(reader)["pyvars.workers"]["retired"] == 0


@pytest.mark.parametrize("in_its_place", ["a file", "a directory that is open to all", "a directory of others"])
def test_something_else_is_in_its_place(in_its_place: str, place: Path, reader: Program) -> None:
    """Each worker counts for itself, and its page says why, until the other file is removed."""
    removed(place)
    while True:
        try:
            if in_its_place == "a file":
                place.touch()
            else:
                place.mkdir(mode=0o700)
                (place / "s-mydata.db").touch()
                place.chmod(0o755 if in_its_place == "a directory that is open to all" else 0o700)
        except FileExistsError:  # a worker has made the directory already
            removed(place)
        else:
            break
    until = time.monotonic() + LIMIT_SECONDS
    while (page := reader.page())["pyvars.workers"]["shared"] or not is_alone(page):
        assert time.monotonic() < until
    assert str(place) in page["pyvars.workers"]["reason"]
    time.sleep(1.1)  # longer than the time between two attempts, of which there are more
    place.unlink() if place.is_file() else removed(place)
    whole(reader)


def test_a_process_that_has_forked_and_cannot_join_again(place: Path) -> None:
    """Its thread also looks for dead children, and finds no group."""
    lines = said(
        f"""
import shutil
from contextlib import suppress
{INTEGRATION}
n.add(3)
if os.fork() == 0: os._exit(0)
os.wait()
place = os.environ["PYVARS_SHARE"]
while not os.path.isfile(place):  # its thread may make the directory again before the file is there
    shutil.rmtree(place, ignore_errors=True)
    with suppress(OSError): open(place, "x").close()
until = time.monotonic() + 30
while MEMBER.shared: assert time.monotonic() < until  # no page is asked for
shared = [MEMBER.shared]
time.sleep(0.1)
os.unlink(place)
while not MEMBER.shared: assert time.monotonic() < until
print(json.dumps([*shared, page()["n"], MEMBER.shared]))
""",
        PYVARS_SHARE=str(place),
    )
    assert lines == [[False, 3, True]]


def test_workers_that_count_while_their_directory_is_removed() -> None:
    """Forks of one program: each count appears once, whatever is removed at any time."""
    counts, page = said(
        f"""
import shutil, signal
{INTEGRATION}
m = pyvars.publish("m", pyvars.Map())
place = MEMBER.group.directory
ended, end = os.pipe()
counted, tell = os.pipe()
children = []
for child in range(2):
    if (pid := os.fork()) == 0:
        os.close(end)
        os.set_blocking(ended, False)
        while True:
            for _ in range(100):
                n.add()
                m.add(f"key {{n.value % 50}}")
            name = f"name {{n.value % 700}}"
            pyvars.publish(name, pyvars.Int(), exist_ok=True)
            try:
                if not os.read(ended, 1): break
            except BlockingIOError: pass
        os.write(tell, b"%d\\n" % n.value)
        signal.pause()
    children.append(pid)
for _ in range(4):
    page()
    shutil.rmtree(place, ignore_errors=True)
    time.sleep(0.3)
os.close(ended)
os.close(end)
counts = [int(line) for line in os.read(counted, 100).split()]
while len(counts) < 2: counts += [int(line) for line in os.read(counted, 100).split()]
until = time.monotonic() + 30
def is_whole(group): return group["live"] == 3 and group["shared"]  # a thread may just be joining again
while not is_whole((found := page())["pyvars.workers"]): assert time.monotonic() < until
print(json.dumps(counts))
print(json.dumps([found["n"], sum(found["m"].values()), found["pyvars.workers"]]))
for pid in children: os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0)
"""
    )
    assert page[:2] == [sum(counts), sum(counts)]
    assert page[2] == group_of(3)


def test_another_thread_has_joined_again_just_before() -> None:
    """Here when a page is about to do it, and takes the lock."""
    (told,) = said(
        f"""
import shutil, threading
{INTEGRATION}
n.add(3)
page()
shutil.rmtree(MEMBER.group.directory)
named = []
def meanwhile(frame, event, function):
    if event == "c_call" and function.__name__ == "acquire" and frame.f_code is MEMBER._catch_up.__func__.__code__:
        sys.setprofile(None)
        thread = threading.Thread(target=page)
        thread.start()
        thread.join()
        named.append(MEMBER.name)
sys.setprofile(meanwhile)
found = page()
print(json.dumps([found["n"], found["pyvars.workers"]["live"], named == [MEMBER.name]]))
"""
    )
    assert told == [3, 1, True]


def test_many_pages_notice_it_at_once() -> None:
    """One of them joins again, and the others wait for it."""
    (told,) = said(
        f"""
import shutil, threading
{INTEGRATION}
n.add(3)
told = set()
start = threading.Barrier(8)
def render():
    start.wait()
    while (answer := site.respond(ask())).status == 503: pass  # busy with the pages of the others
    told.add(json.loads(answer.body)["n"])
for _ in range(20):
    shutil.rmtree(MEMBER.group.directory)
    threads = [threading.Thread(target=render) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    page()
until = time.monotonic() + 30
while len(os.listdir(MEMBER.group.directory)) < 2: assert time.monotonic() < until  # its thread makes the socket again
print(json.dumps([*told, MEMBER.shared, len(os.listdir(MEMBER.group.directory))]))
"""
    )
    assert told == [3, True, 2]
