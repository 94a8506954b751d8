"""Workers without room for their numbers: with a limit on files, without file descriptors, or without permission.

Each page names the workers whose numbers are missing, and no sum falls. Once there is room, the sums include them.
"""

import sys
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from pyvars.workers.numbers.segment import CHUNK
from tests.tools import tool
from tests.workers.test_segments import PRELUDE, Program, can_mount, measured, program

# Each line of its input is a statement, which it runs before it prints a page.
TOLD = f"""{PRELUDE}
import psutil, resource, threading
def limit_files(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
def limit_descriptors(less=0):
    # No further one can be had, or all that there were.
    global many, held
    if less:
        resource.setrlimit(resource.RLIMIT_NOFILE, many)
    else:
        many = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, many[1]))
def publish(count, prefix="n"):
    for number in range(count):
        pyvars.publish(f"{{prefix}}{{number}}", pyvars.Int(1), exist_ok=True)
going, counted = True, [0, 0]
def count(which):
    few = [pyvars.get(f"n{{number}}") for number in range(0, 5000, 50)]
    while going:
        for var in few:
            var.add()
            counted[which] += 1
threads = [threading.Thread(target=count, args=(which,)) for which in (0, 1)]
n = pyvars.publish("n", pyvars.Int())
half = pyvars.publish("half", pyvars.Float())
by = pyvars.publish("by", pyvars.Map(max_keys=10_000))
print(flush=True)
for line in sys.stdin:
    exec(line)
    print(json.dumps(ask()), flush=True)
"""


def total(page: Any, prefix: str = "n") -> int:
    return sum(value for name, value in page.items() if name[:1] == prefix and name[1:].isdecimal())


def pids(page: Any) -> str:
    """The pids whose numbers are missing, by `pyvars.errors`. Checks that `shared` and `reason` agree."""
    entry = page.get("pyvars.errors", {}).get("pyvars.workers")
    status = page["pyvars.workers"]
    assert status["shared"] is (status["reason"] == "") is (entry is None)
    assert entry is None or entry["type"] == "incomplete"
    return "" if entry is None else str(entry.get("workers", ""))


def both(one: Program, other: Program) -> str:
    return ", ".join(map(str, sorted((one.process.pid, other.process.pid))))


def page_when(worker: Program, missing: str) -> Any:
    """The first page that names these pids; a worker tries to share its numbers for a page, at most every 100 ms."""
    until = monotonic() + 30
    while pids(page := worker.page("pass")) != missing:
        assert monotonic() < until, page["pyvars.workers"]
    return page


def started(worker: Program) -> Program:
    worker.line()
    worker.page("integration()")
    return worker


def test_numbers_without_room_are_named_and_come_in(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with (
        measured(TOLD, PYVARS_SHARE=tmp_path) as full,
        measured(TOLD, PYVARS_SHARE=tmp_path) as other,
    ):
        started(full).page("publish(500); by.add('a'); half.add(0.5)")
        started(other).page("publish(3000); by.add('a'); half.add(0.5)")
        assert total(other.page("pass")) == 3500
        page = full.page("limit_files(1000); publish(3000); [by.add(f'k{key}') for key in range(100)]")
        pid = str(full.process.pid)
        assert (total(page), len(page["by"]), page["half"]) == (6000, 101, 1.0)  # all numbers, with its own
        assert pids(page) == pid
        assert page["pyvars.workers"]["reason"] == "some numbers are private to this process: File too large"
        for _ in range(2):
            page = other.page("n0 = pyvars.get('n0'); n0.add()")
            assert pids(page) == pid
            assert page["pyvars.workers"]["reason"].startswith(f"w-{pid}-")
            assert page["pyvars.workers"]["reason"].endswith(": numbers are private to the process: File too large")
            assert 3500 < total(page) < 6000
            assert page["by"]["a"] == 2
        before = total(page)
        page = full.page("[pyvars.get(f'n{number}').add() for number in range(3000)]; half.add(1); n.add(7)")
        assert (total(page), page["half"], page["n"]) == (9002, 2.0, 7)
        page = other.page("pass")  # numbers that were on the page stay on it
        assert total(page) >= before + 500
        assert (page["half"], page["n"]) == (2.0, 7)
        full.page("by.add('a', 0.5); n0 = pyvars.get('n0'); by.set('k1', n0)")
        assert other.page("pass")["by"]["a"] == 2.5  # although it is a Float now
        # Its name is in the place of another number, and its word is in private memory.
        full.page("pyvars.delete('n1'); by.set('k1', pyvars.Int(3)); pyvars.publish('zz', pyvars.get('n2999'))")
        assert "zz" not in other.page("pass")
        full.page("pyvars.publish('n1', pyvars.Int(2)); limit_files(resource.RLIM_INFINITY)")
        for worker in (other, full):
            page = page_when(worker, "")
            assert (total(page), len(page["by"]), page["half"], page["n"]) == (9002, 101, 2.0, 7)
            assert (page["by"]["a"], page["by"]["k1"], page["zz"]) == (2.5, 3, 2)
        full.page("[pyvars.get(f'n{number}').add() for number in range(3000)]")
        assert total(other.page("pass")) == 12002
        full.page("[pyvars.delete(f'n{number}') for number in range(3000)]; by.clear(); publish(100, 'm')")
        page = other.page("pass")
        assert (total(page), page["by"], total(page, "m")) == (3002, {"a": 1}, 100)


def test_a_worker_without_any_room_is_not_forgotten(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with (
        measured(TOLD, PYVARS_SHARE=tmp_path) as full,
        measured(TOLD, PYVARS_SHARE=tmp_path) as other,
    ):
        started(other).page("publish(10); n.add(100)")
        full.line()
        page = full.page("limit_files(0); n.add(5); integration(); n.add()")
        assert (page["n"], total(page)) == (106, 10)  # it still reads the others
        assert pids(page) == str(full.process.pid)
        for _ in range(2):
            page = other.page("pass")
            assert (page["n"], page["pyvars.workers"]["live"]) == (100, 2)
            assert pids(page) == str(full.process.pid)
        page = other.page("limit_files(1000); publish(2000)")
        assert pids(page) == pids(full.page("pass")) == both(full, other)
        full.page("limit_files(resource.RLIM_INFINITY)")
        page = page_when(other, str(other.process.pid))
        assert page["n"] == 106
        other.page("limit_files(resource.RLIM_INFINITY)")
        for worker in (other, full):
            page = page_when(worker, "")
            assert (page["n"], total(page)) == (106, 2000)


@pytest.mark.parametrize("room", ["none", "some"])
def test_what_was_in_the_file_is_kept_of_a_worker_that_had_no_room_for_all(room: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with measured(TOLD, PYVARS_SHARE=tmp_path) as other:
        started(other).page("n.add(); publish(3000)")
        with program(TOLD, PYVARS_SHARE=tmp_path) as full:
            full.line()
            if room == "some":
                full.page("integration(); n.add(10)")
            full.page(f"limit_files({1000 * (room == 'some')}); integration(); n.add(100); publish(3000)")
            page = other.page("pass")
            assert pids(page) == str(full.process.pid)
            seen = page["n"], total(page)
        for _ in range(2):
            page = other.page("pass")
            assert (page["n"], total(page)) == seen
            assert (pids(page), page["pyvars.workers"]["retired"]) == ("", 1)
        assert seen[0] == (111 if room == "some" else 1)
        assert len([*tmp_path.glob("w-*")]) == 1


def test_a_worker_that_gets_room_as_it_ends(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with measured(TOLD, PYVARS_SHARE=tmp_path) as other:
        started(other)
        with measured(TOLD, PYVARS_SHARE=tmp_path) as full:
            started(full).page("n.add(); limit_files(1000); publish(3000)")
            full.page("import atexit; atexit.register(limit_files, resource.RLIM_INFINITY)")
        page = other.page("publish(3000)")
        assert (page["n"], total(page)) == (1, 6000)


def test_counting_goes_on_while_numbers_move_to_the_file(tmp_path: Path) -> None:
    """And no page shows less than the one before."""
    tmp_path.chmod(0o700)
    with measured(TOLD, PYVARS_SHARE=tmp_path) as full, measured(TOLD, PYVARS_SHARE=tmp_path) as other:
        started(other)
        full.line()
        full.page("limit_files(0); integration(); publish(5000)")
        full.page("[thread.start() for thread in threads]")
        last = total(full.page("pass"))
        full.page("limit_files(3 * 65536)")
        for limit in ("pass", "limit_files(resource.RLIM_INFINITY)", *["pass"] * 20):
            page = full.page(limit)
            assert total(page) >= last
            last = total(page)
        page = full.page("going = False; [thread.join() for thread in threads]; n.set(sum(counted))")
        assert total(page) == 5000 + page["n"]
        page = page_when(other, "")
        assert total(page) == 5000 + page["n"]


def test_a_worker_out_of_descriptors_shows_its_peers_as_it_last_saw_them(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with measured(TOLD, PYVARS_SHARE=tmp_path) as one, measured(TOLD, PYVARS_SHARE=tmp_path) as other:
        started(other).page("n.add(62)")
        with program(TOLD, PYVARS_SHARE=tmp_path) as dead:
            started(dead).page("n.add(1000)")
        started(one)
        assert one.page("pass")["n"] == 1062
        for _ in range(3):
            page = one.page("many = globals().get('many') or limit_descriptors() or many; n.add()")
            assert pids(page) == str(other.process.pid)
            assert "Too many open files" in page["pyvars.workers"]["reason"]
            assert (page["pyvars.workers"]["live"], page["pyvars.workers"]["retired"]) == (2, 1)
        assert page["n"] == 1065
        other.page("n.add(10)")
        assert one.page("publish(3000)")["n"] == 1065
        page = one.page("limit_descriptors(1)")
        for worker in (one, other):
            page = page_when(worker, "")
            assert (page["n"], total(page)) == (1075, 3000)


def test_a_worker_that_may_not_write_reads_its_peers(tmp_path: Path) -> None:
    if not can_mount():
        pytest.skip("a disk cannot be mounted here")
    tmp_path.chmod(0o700)
    mount = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    inside = [tool("unshare"), "-m", "sh", "-c", mount, str(tmp_path), sys.executable, "-W", "error", "-c", TOLD]
    code = f"import os; os.execv({inside[0]!r}, {inside!r})"
    with measured(TOLD, PYVARS_SHARE=tmp_path) as other, measured(code, PYVARS_SHARE=tmp_path) as reader:
        started(other).page("n.add(62)")
        page = started(reader).page("n.add()")
        assert page["n"] == 63
        assert pids(page) == str(reader.process.pid)
        assert "Read-only file system" in page["pyvars.workers"]["reason"]
        page = other.page("n.add()")
        assert (page["n"], pids(page)) == (63, "")
        page = reader.page("subprocess.run(['mount', '-o', 'remount,bind,rw', os.environ['PYVARS_SHARE']], check=True)")
        for worker in (reader, other):
            page = page_when(worker, "")
            assert (page["n"], page["pyvars.workers"]["live"]) == (64, 2)


def test_a_directory_that_is_gone_when_the_file_is_made(tmp_path: Path) -> None:
    """As if a worker that ends takes the directory for an empty one and removes it. It is made again."""
    hook = """
gone = []
def remove(event, about):
    if event == "open" and ".w-" in str(about[0]) and not gone:
        gone.append(os.rmdir(os.path.dirname(about[0])))
sys.addaudithook(remove)
"""
    with measured(TOLD.replace("\nn = ", f"{hook}\nn = "), PYVARS_SHARE=tmp_path / "shared") as worker:
        page = started(worker).page("n.add()")
        assert (page["n"], pids(page)) == (1, "")
        assert len([*(tmp_path / "shared").glob("w-*")]) == 1


def test_a_system_that_cannot_reserve_a_file_and_finds_half_of_a_chunk(tmp_path: Path) -> None:
    """As on macOS, where pyvars extends a file by writing to it."""
    tmp_path.chmod(0o700)
    code = f"import os\ndel os.posix_fallocate\n{TOLD}"
    with measured(code, PYVARS_SHARE=tmp_path) as full, measured(TOLD, PYVARS_SHARE=tmp_path) as other:
        started(other)
        started(full).page(f"n.add(); limit_files({CHUNK + 4096}); publish(3000)")
        page = other.page("pass")
        assert (page["n"], pids(page)) == (1, str(full.process.pid))
        assert page["pyvars.workers"]["reason"].endswith("No space left on device")
        full.page("limit_files(resource.RLIM_INFINITY)")
        assert total(page_when(other, "")) == 3000
