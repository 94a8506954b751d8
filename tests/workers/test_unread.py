"""Groups without readers: workers that start or end fold dead workers, so that few files are left."""

import os
import socket
from pathlib import Path

import pytest

from tests.workers.test_damage import ORDERS, ROOT, segment
from tests.workers.test_membership import INTEGRATION, said
from tests.workers.test_segments import READER, measured

FORKS = int(os.environ.get("PYVARS_STRESS_FORKS") or 60)
MOST = 8
"""The maximum number of segments, including that of the program."""

PROGRAM = f"""
import signal
{INTEGRATION}
n.add(1000)
place = MEMBER.group.directory
def left():
    names = os.listdir(place)
    return [sum(name.startswith(prefix) for name in names) for prefix in ("w-", "s-", ".w-")]
def end():
    until = time.monotonic() + 30  # of those that end all at once the last ones are folded a moment later
    while max(left()) > {MOST} and time.monotonic() < until: time.sleep(0.01)
    print(json.dumps(left()))
    found = page()
    print(json.dumps([found["n"], found["pyvars.workers"]["retired"], found["pyvars.workers"]["reason"]]))
"""
WAYS = {
    "ends": "os._exit(0)",
    "exits": "sys.exit()",
    "is killed": "os.kill(os.getpid(), signal.SIGKILL)",
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("at_once", [1, 20])
def test_forks_that_nobody_reads(way: str, at_once: int) -> None:
    """One after the other, and many at a time, which all live before the first of them ends."""
    rounds = FORKS // at_once // (3 if way == "exits" else 1)  # that takes longest
    files, page = said(
        f"""{PROGRAM}
for _ in range({rounds}):
    reader, writer = os.pipe()
    ended, end_all = os.pipe()
    children = []
    for _ in range({at_once}):
        if (pid := os.fork()) == 0:
            os.close(end_all)
            n.add()
            os.write(writer, b".")
            os.read(ended, 1)
            {WAYS[way]}
        children.append(pid)
    begun = 0
    while begun < {at_once}: begun += len(os.read(reader, 100))
    os.close(end_all)
    for pid in children: os.waitpid(pid, 0)
    for file in (reader, writer, ended): os.close(file)
end()
"""
    )
    assert page == [1000 + rounds * at_once, rounds * at_once, ""]
    assert max(files) <= MOST


@pytest.mark.parametrize("moment", ["made", "before", "after", "between"])
def test_a_fork_that_is_killed_while_it_folds(moment: str) -> None:
    """When it has made the retired file, before and after its rename, and between the removals of two files."""
    files, page, told = said(
        f"""{PROGRAM}
parent, steps, killed = os.getpid(), [], 0
def kill(event, about):
    if os.getpid() == parent: return
    if event == "os.rename": steps.append(os.path.basename(about[1]))
    if event == "os.remove" and "retired" in steps: steps.append("removed")
    moment = {{
        "made": event == "mmap.__new__" and bool(steps),
        "before": event == "os.rename" and steps[-1] == "retired",
        "after": event == "os.remove" and steps.count("removed") == 1,
        "between": event == "os.remove" and steps.count("removed") == 2,
    }}
    if moment[{moment!r}] and os.read(tokens, 1):
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(kill)
tokens, give = os.pipe()  # three are killed, if so many fold: the program itself does, too
os.write(give, b"...")
os.close(give)
reader, writer = os.pipe()
forks, until = 0, time.monotonic() + 20
while forks < 20 or (killed < 3 and time.monotonic() < until):
    forks += 1
    if os.fork() == 0:
        n.add()
        os.write(writer, b".")
        os._exit(0)
    killed += os.waitstatus_to_exitcode(os.wait()[1]) != 0
os.close(writer)
counted = len(os.read(reader, 100_000))
end()
print(json.dumps([killed, counted, forks]))
"""
    )
    killed, counted, forks = told
    assert killed
    assert page == [1000 + counted, forks, ""]
    assert max(files) <= MOST


def test_a_worker_that_ends_folds(tmp_path: Path) -> None:
    """Also files of workers that were killed while they joined, or while they removed files of a dead worker."""
    tmp_path.chmod(0o700)
    with measured(READER, PYVARS_SHARE=tmp_path) as reader:
        assert reader.page()["orders"] == 5
        for number in range(3):
            (tmp_path / f"w-1-1-{number}").write_bytes(segment(ROOT, ORDERS))
        (tmp_path / ".w-1-1-a").touch()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "s-1-1-b"))
    assert len(os.listdir(tmp_path)) == 2  # the retired file and the worker's own segment
    with measured(READER, PYVARS_SHARE=tmp_path) as reader:
        assert reader.page()["orders"] == 3010


def test_few_dead_are_left_to_the_next_reader(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with measured(READER, PYVARS_SHARE=tmp_path) as reader:
        assert reader.page()["orders"] == 5
        for number in range(4):
            (tmp_path / f"w-1-1-{number}").write_bytes(segment(ROOT, ORDERS))
    assert len(os.listdir(tmp_path)) == 5


def test_of_very_many_files_only_some_are_looked_at(tmp_path: Path) -> None:
    """Each worker looks at different ones, so that finally all are folded."""
    tmp_path.chmod(0o700)
    for number in range(200):
        (tmp_path / f"w-1-1-{number}").write_bytes(segment(ROOT, ORDERS, orders=1))
    for _ in range(2):
        with measured(READER, PYVARS_SHARE=tmp_path):
            pass
    assert len(os.listdir(tmp_path)) <= MOST
    with measured(READER, PYVARS_SHARE=tmp_path) as reader:
        assert reader.page()["orders"] == 200 + 3 * 5
