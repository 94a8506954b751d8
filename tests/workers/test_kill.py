"""The kill test: workers and readers are killed at random moments, and readers in the middle of a fold.

Workers are also stopped for a while, and close all their files: files that they then open must stay unchanged. Others
end normally and are replaced, as in a reload. On a small disk that is sometimes full, new workers count privately.

Every count on a page must lie between the counting that had ended before the page, and that which had started before
its end. Each process records both in its row of a table, in memory that all processes map and that outlives them. If
there is no room, a page may lack the counts of the workers that it names; with room again it must show all of them.

`make stress` runs it for minutes.
"""

import json
import mmap
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.programs import ROOT, UNMEASURED
from tests.tools import tool
from tests.workers.test_segments import can_mount

SECONDS = float(os.environ.get("PYVARS_STRESS_SECONDS") or 4)
HANG_SECONDS = 60

WORKERS = 4
READERS = 3
LAST_READERS = 4
LAST_PAGES = 5
SLOTS = WORKERS + READERS + 1
"""The slots of the processes: the workers first, then the readers, then those of the end."""

MOMENTS = ("made", "before", "after", "between")
"""Where in a fold a reader dies: the retired file is made; before its rename; after it, when no segment is removed
yet; and when the segment of the first dead worker is removed, but not its socket."""

PROGRAM = """
import json, mmap, os, random, signal, sys, time
import pyvars
from pyvars.site.default import debug
from pyvars.access.request import Request, deadline

directory, role, *arguments = sys.argv[1:]
ROW, SLOTS, WORKERS = 16, 8, 4
STARTED, DONE, LIFE, BORN, READY, DOOMED, CRASHED, PAGES, ORDERS, STATES, HALVES, RETIRED, NUM_GC = range(13)
PID, BEFORE, PARTIAL = range(13, ROW)
CERTAIN, POSSIBLE, FULL = range(SLOTS * ROW, SLOTS * ROW + 3)
MARKS = ORDERS, STATES, HALVES, RETIRED, NUM_GC  # what must never fall: the most that the process in this row has seen
KEYS = ("paid", "open", "lost", "sent")
table = memoryview(mmap.mmap(os.open(f"{directory}/table", os.O_RDWR), 0)).cast("q")
errors = os.open(f"{directory}/errors", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
at = life = moment = None
steps = []

def column(word):
    return table[word : SLOTS * ROW : ROW].tolist()

def write_down(event, args):
    # Said before the system call is made. A death here is a death at its boundary.
    if event == "os.rename" and at is not None:
        name = os.path.basename(args[1])
        if name.startswith("w-"):
            table[at + BORN] = life
        elif name == "retired":
            if moment == "before":
                die()
            steps.append(event)
    elif event == "os.remove" and steps:
        steps.append(event)
        if moment == ("after" if len(steps) == 2 else "between"):
            die()
    elif event == "mmap.__new__" and moment == "made" and table[at + READY] == life:
        die()

def die():
    table[at + CRASHED] += 1
    os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(write_down)

def begin(slot, number):
    global at, life
    at, life = int(slot) * ROW, int(number)

if role != "master":
    begin(*arguments[:2])
orders = pyvars.publish("orders", pyvars.Int())
states = pyvars.publish("states", pyvars.Map())
halves = pyvars.publish("halves", pyvars.Float())
level = pyvars.publish("level", pyvars.Int(gauge=True))
site = debug(pyvars.default_registry, None, prefix="/debug")

def page():
    request = Request("GET", "/debug/vars", "", None, "", (("host", "localhost"),), "127.0.0.1", "1.1", deadline())
    answer = site.respond(request)
    shown = json.loads(answer.body)
    assert answer.status == 200, answer
    return shown

def close_all():
    # Files of the program get all the numbers; each holds a text of its own.
    os.closerange(3, 64)
    taken.clear()
    while not taken or max(taken) < 32:
        taken[os.memfd_create("log") if len(taken) % 2 else os.open(f"{directory}/table", os.O_RDONLY)] = len(taken)
    for number, text in taken.items():
        if text % 2: os.write(number, str(text).encode())

def check_taken():
    for number, text in taken.items():
        try:
            if text % 2: assert os.pread(number, 100, 0) == str(text).encode(), os.fstat(number)
            else: assert os.fstat(number).st_ino == os.stat(f"{directory}/table").st_ino
        except (AssertionError, OSError) as error:
            with open(f"{directory}/errors", "a") as file: print("a file of the program", number, error, file=file)

def worker():
    global taken
    taken, leaving = {}, []
    signal.signal(signal.SIGHUP, lambda *_: leaving.append(True))
    table[at + BEFORE], table[at + PID] = table[at + DONE], os.getpid()
    level.set(7)
    table[at + READY] = life
    rounds, closes_at = 0, random.randrange(200)
    while os.getppid() == parent and not leaving:
        rounds += 1
        if rounds % 200 == closes_at:
            check_taken()
            close_all()
        for number in range(256):
            table[at + STARTED] += 1
            orders.add()
            states.add(KEYS[number % 4])
            halves.add(0.5)
            table[at + DONE] += 1
            if number % 16 == 0:  # names come and go meanwhile
                name = f"name {number % 7}"
                pyvars.delete(name) if name in pyvars.default_registry else pyvars.publish(name, pyvars.Int(number))
        time.sleep(0.0005)
    check_taken()

def alive():
    # The slots of workers that count, and are not about to be killed, each with the number of its process.
    columns = (column(word)[:WORKERS] for word in (LIFE, READY, DOOMED))
    return {(slot, life) for slot, (life, ready, doomed) in enumerate(zip(*columns)) if life == ready != doomed}

def figures(shown):
    counts = shown["orders"], sum(shown["states"].values()), 2 * shown["halves"]
    return *counts, shown["pyvars.workers"]["retired"], shown["memstats"]["NumGC"]

def check():
    full, done, dead, before = table[FULL], column(DONE), table[CERTAIN], alive()
    marks = [max(column(word)) for word in MARKS]
    shown = page()
    started, dying, after = sum(column(STARTED)), table[POSSIBLE] + sum(column(CRASHED)), alive()
    full |= table[FULL]
    counted = figures(shown)
    status, errors = shown["pyvars.workers"], shown.get("pyvars.errors", {})
    missing = errors.get("pyvars.workers", {"workers": ""})["workers"].split(", ")
    named = [slot for slot, pid in enumerate(column(PID)) if str(pid) in missing]
    private = [max(0, done[slot] - table[slot * ROW + BEFORE]) for slot in named]
    done = sum(done) - sum(private)
    least, most = (done, done, done, dead, 0), (started, started, started, dying, 2**32)
    workers = len(before & after)
    shared = sum(slot not in named for slot, life in before & after)
    if not all(low <= number <= high for low, number, high in zip(least, counted, most)):
        yield "bounds", least, counted, most
    if errors:  # the collections of this process are private, too
        marks.pop()
    if not all(mark <= number for mark, number in zip(marks, counted)):
        yield "a count fell", marks, counted
    if shown["level"] % 7 or not 7 * shared <= shown["level"] <= 7 * WORKERS:
        yield "gauge", shared, shown["level"]
    if not workers < status["live"] <= SLOTS + 1 or status["shared"] is bool(status["reason"]):
        yield "workers", workers, status
    if shown["memstats"]["Sys"] <= 0 or not shown["cmdline"] or {*errors} - {"pyvars.workers"}:
        yield "page", shown
    if status["shared"] is bool(errors) or errors and not full:
        yield "incomplete", full, status, errors
    for word, mark, number in zip(MARKS, marks, counted):
        table[at + word] = max(int(number), table[at + word])
    table[at + (PARTIAL if errors else PAGES)] += 1

def reader(death=None):
    global moment
    table[at + READY] = life
    moment = death
    while os.getppid() == parent:
        for error in check():
            os.write(errors, (json.dumps(error) + "\\n").encode())
        time.sleep(random.random() / 200)

def last(file, pages):
    for number in range(int(pages)):
        shown = page()
        status = shown["pyvars.workers"]
        files = sorted(os.listdir(pyvars.workers.MEMBER.group.directory))
        with open(file, "a") as told:
            print(json.dumps([*figures(shown), shown["level"], status["live"], status["reason"], files]), file=told)

ROLES = {"worker": worker, "reader": reader, "last": last}
parent = os.getppid()
if role != "master":
    arguments = arguments[2:]
    ROLES[role](*arguments)
    sys.exit()
print(flush=True)
for line in sys.stdin:
    role, *arguments = line.split()
    if role == "dead":
        pid = os.waitpid(int(arguments[0]), int(arguments[1]))[0]
        print(pid, flush=True)
        continue
    begin(*arguments[:2])
    pid = os.fork()
    if not pid:
        try:
            parent = os.getppid()
            ROLES[role](*arguments[2:])
            sys.exit()
        except SystemExit:
            raise
        except BaseException as error:
            print(error, file=sys.stderr, flush=True)
        os._exit(1)
    print(pid, flush=True)
"""
assert f"ROW, SLOTS, WORKERS = 16, {SLOTS}, {WORKERS}" in PROGRAM
ROW = 16
STARTED, DONE, LIFE, BORN, READY, DOOMED, CRASHED, PAGES = range(8)
PARTIAL = ROW - 1
CERTAIN, POSSIBLE, FULL = range(SLOTS * ROW, SLOTS * ROW + 3)


class Family(Protocol):
    """How the processes are started."""

    def start(self, *arguments: object) -> Any: ...

    def is_dead(self, process: Any, *, wait: bool = False) -> bool: ...

    def kill(self, process: Any) -> None: ...

    def signal(self, process: Any, number: int) -> None: ...

    def end(self) -> None: ...


class Programs:
    """Each process is a separate program; PYVARS_SHARE names their group directory."""

    def __init__(self, directory: Path, errors: Any) -> None:
        (directory / "shared").mkdir(mode=0o700)
        self._directory = directory
        self._errors = errors

    def start(self, *arguments: object) -> subprocess.Popen[bytes]:
        return program(self._directory, *arguments, stderr=self._errors, PYVARS_SHARE=str(self._directory / "shared"))

    def is_dead(self, process: subprocess.Popen[bytes], *, wait: bool = False) -> bool:
        return (process.wait(HANG_SECONDS) if wait else process.poll()) is not None

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()

    def signal(self, process: subprocess.Popen[bytes], number: int) -> None:
        process.send_signal(number)

    def end(self) -> None:
        pass


class Forks:
    """All processes are forked by one program with an integration; pyvars finds their group."""

    def __init__(self, directory: Path, errors: Any, *below: str) -> None:
        pipes = {"stderr": errors, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._master = program(directory, "master", below=below, PYVARS_SHARE="", **pipes)
        assert self._ask() == "\n"

    def _ask(self, *words: object) -> str:
        assert self._master.stdin
        assert self._master.stdout
        if words:
            self._master.stdin.write(f"{' '.join(map(str, words))}\n".encode())
            self._master.stdin.flush()
        return self._master.stdout.readline().decode()

    def start(self, *arguments: object) -> int:
        return int(self._ask(*arguments))

    def is_dead(self, process: int, *, wait: bool = False) -> bool:
        return int(self._ask("dead", process, 0 if wait else os.WNOHANG)) == process

    def kill(self, process: int) -> None:
        self.signal(process, signal.SIGKILL)

    def signal(self, process: int, number: int) -> None:
        os.kill(process, number)  # its pid is not reused before its parent has waited for it

    def end(self) -> None:
        assert self._master.stdin
        self._master.stdin.close()
        assert self._master.wait(HANG_SECONDS) == 0
        assert self._master.stdout
        self._master.stdout.close()


class SmallDisk(Forks):
    """The group directory is on a small disk, which can be full."""

    def __init__(self, directory: Path, errors: Any) -> None:
        mount = 'mount -t tmpfs -o size=4m none /dev/shm && exec "$0" "$@"'
        super().__init__(directory, errors, tool("unshare"), "-m", "sh", "-c", mount)
        self._file = Path(f"/proc/{self._master.pid}/root/dev/shm/full")

    def fill(self) -> None:
        """Fill the disk, also with the room that was freed since the last time."""
        with suppress(OSError), self._file.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(mmap.PAGESIZE))

    def empty(self) -> None:
        self._file.unlink()


def program(
    directory: Path, *arguments: object, PYVARS_SHARE: str, below: tuple[str, ...] = (), **pipes: Any
) -> subprocess.Popen[bytes]:
    command = [*below, sys.executable, "-W", "error", "-c", PROGRAM, str(directory), *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, **UNMEASURED, "PYVARS_SHARE": PYVARS_SHARE}, **pipes)


@contextmanager
def mapped(path: Path) -> Iterator[Any]:
    path.write_bytes(bytes(mmap.PAGESIZE))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory, memoryview(memory) as data:
        with data.cast("q") as table:
            yield table


class Chaos:
    """Keeps workers and readers running by killing them."""

    def __init__(self, family: Family, table: Any, dice: random.Random) -> None:
        self._family = family
        self._table = table
        self._dice = dice
        self._processes: dict[int, Any] = {}
        self.kills = 0
        self.reloads = 0
        self.fills = 0
        self.crashes = dict.fromkeys(MOMENTS, 0)
        self._moments: dict[int, str] = {}
        self._crashed = [0] * SLOTS

    def column(self, word: int) -> list[int]:
        return self._table[word : SLOTS * ROW : ROW].tolist()

    def start(self, slot: int) -> None:
        """Start a process in the slot. Most readers kill themselves in their first fold."""
        self._table[slot * ROW + LIFE] += 1
        life = self._table[slot * ROW + LIFE]
        self._moments.pop(slot, None)
        if slot < WORKERS:
            self._processes[slot] = self._family.start("worker", slot, life)
        elif self._dice.random() < 0.3:
            self._processes[slot] = self._family.start("reader", slot, life)
        else:
            self._moments[slot] = min(MOMENTS, key=lambda moment: (self.crashes[moment], self._dice.random()))
            self._processes[slot] = self._family.start("reader", slot, life, self._moments[slot])

    def is_ready(self, slot: int) -> bool:
        return self._table[slot * ROW + READY] == self._table[slot * ROW + LIFE]

    def kill(self, slot: int, by: int = signal.SIGKILL) -> None:
        """Kill the process of the slot, and record whether it had a segment that the others could see.

        By SIGHUP a worker ends as it should.
        """
        self._table[slot * ROW + DOOMED] = self._table[slot * ROW + LIFE]
        self._table[POSSIBLE] += 1
        self._family.signal(self._processes[slot], by)
        assert self._family.is_dead(self._processes.pop(slot), wait=True)
        if by == signal.SIGHUP:
            self.reloads += 1
        else:
            self.kills += 1
        crashed = self._took_its_life(slot)
        if self.is_ready(slot):
            self._table[CERTAIN] += 1
        if crashed or self._table[slot * ROW + BORN] != self._table[slot * ROW + LIFE]:
            self._table[POSSIBLE] -= 1

    def _took_its_life(self, slot: int) -> bool:
        crashed = self._table[slot * ROW + CRASHED] - self._crashed[slot]
        self._crashed[slot] += crashed
        return crashed > 0

    def stop_for_a_while(self) -> None:
        """Stop a worker at any point; pages are rendered meanwhile."""
        process = self._processes[self._dice.randrange(WORKERS)]
        self._family.signal(process, signal.SIGSTOP)
        time.sleep(self._dice.random() / 10)
        self._family.signal(process, signal.SIGCONT)

    def replace(self, slot: int) -> None:
        is_reload = slot < WORKERS and self.is_ready(slot) and self._dice.random() < 0.3
        self.kill(slot, signal.SIGHUP if is_reload else signal.SIGKILL)
        self.start(slot)

    def fill_for_a_while(self, disk: SmallDisk) -> None:
        """Start workers while there is no room; they live until a page has all their counts."""
        self._table[FULL] = 1
        roomy = [*filter(self.is_ready, self._dice.sample(range(WORKERS), WORKERS))]
        pages = sum(self.column(PARTIAL)) + 5
        for _ in self._until(lambda: sum(self.column(PARTIAL)) >= pages):
            disk.fill()
            slot = roomy.pop() if roomy else self._dice.randrange(WORKERS, WORKERS + READERS)
            if self.is_ready(slot):
                self.replace(slot)
        disk.empty()
        for _ in self._until(lambda: all(map(self.is_ready, range(WORKERS)))):
            pass
        pages = sum(self.column(PAGES)) + READERS + 1  # at least one of these began after that
        for _ in self._until(lambda: sum(self.column(PAGES)) >= pages):
            pass
        self._table[FULL] = 0
        self.fills += 1

    def _until(self, condition: Callable[[], bool]) -> Iterator[None]:
        until = time.monotonic() + HANG_SECONDS
        while not condition():
            assert time.monotonic() < until, (self.fills, self.column(PARTIAL), self.column(PAGES))
            yield
            time.sleep(self._dice.random() / 20)
            self.renew()

    def renew(self) -> None:
        """Start the processes again that killed themselves; no other process ends."""
        for slot, process in list(self._processes.items()):
            if self._family.is_dead(process):
                assert self._took_its_life(slot), f"the process in slot {slot} ended"
                self.crashes[self._moments[slot]] += 1
                self._table[CERTAIN] += 1
                self.start(slot)

    def run(self, seconds: float, enough: Callable[[], bool]) -> None:
        for slot in range(WORKERS + READERS):
            self.start(slot)
        began = time.monotonic()
        while (passed := time.monotonic() - began) < seconds or not enough():
            assert passed < seconds + HANG_SECONDS, (self.kills, self.crashes, self.column(PAGES))
            time.sleep(self._dice.random() / 20)  # at random moments
            self.renew()
            if self._dice.random() < 0.1:
                self.stop_for_a_while()
            if isinstance(self._family, SmallDisk) and self._dice.random() < 0.05:
                self.fill_for_a_while(self._family)
            slot = self._dice.choice([*range(WORKERS), *range(WORKERS), *range(WORKERS + READERS)])
            if self.is_ready(slot) or self._dice.random() < 0.02:  # kill only a few before they have a segment
                self.replace(slot)
        for slot in list(self._processes):
            self.kill(slot)

    def end(self) -> None:
        for process in self._processes.values():
            if not self._family.is_dead(process):
                self._family.kill(process)
                self._family.is_dead(process, wait=True)


@pytest.mark.parametrize("kind", [Programs, Forks, SmallDisk])
@pytest.mark.timeout(2 * SECONDS + 110)
def test_no_count_is_lost_and_none_comes_twice(kind: type[Programs] | type[Forks], tmp_path: Path) -> None:
    if kind is SmallDisk and not can_mount():
        pytest.skip("a disk cannot be mounted here")
    seed = random.randrange(2**32)
    print("seed", seed)
    with mapped(tmp_path / "table") as table, (tmp_path / "stderr").open("wb") as stderr:
        family = kind(tmp_path, stderr)
        chaos = Chaos(family, table, random.Random(seed))
        try:
            chaos.run(
                SECONDS,
                lambda: (
                    chaos.kills >= 10
                    and chaos.reloads >= 1
                    and chaos.fills >= (kind is SmallDisk)
                    and min(chaos.crashes.values()) >= 1
                    and sum(chaos.column(PAGES)) >= 50
                ),
            )
            print(chaos.kills, "kills", chaos.reloads, "reloads", chaos.fills, "times full", chaos.crashes)
            print(sum(chaos.column(PAGES)), "pages", sum(chaos.column(PARTIAL)), "more without private numbers")
            told = tmp_path / "told"
            for number in range(LAST_READERS):
                slot = SLOTS - 1
                table[slot * ROW + LIFE] += 1
                reader = family.start("last", slot, table[slot * ROW + LIFE], told, LAST_PAGES)
                assert family.is_dead(reader, wait=True), number
        finally:
            print((tmp_path / "stderr").read_text())
            chaos.end()
            family.end()
        errors = (tmp_path / "errors").read_text()
        assert (errors, (tmp_path / "stderr").read_text()) == ("", "")

        pages = [json.loads(line) for line in told.read_text().splitlines()]
        assert len(pages) == LAST_READERS * LAST_PAGES
        done, started = sum(chaos.column(DONE)), sum(chaos.column(STARTED))
        print("done", done, "started", started, "shown", pages[0])
        orders, states, halves = pages[0][:3]
        others = 1 if kind is Programs else 2  # the reader, and the process that forks
        for page, (*counts, retired, _, level, live, reason, files) in enumerate(pages):
            assert counts == [orders, states, halves]
            before = page // LAST_PAGES
            assert table[CERTAIN] + before <= retired <= table[POSSIBLE] + sum(chaos.column(CRASHED)) + before
            assert (level, live, reason) == (0, others, "")
            assert len([file for file in files if not file.startswith("s-")]) <= live + 2, files
        assert done <= orders <= started
        assert done <= states <= started
        assert done <= halves <= started
        assert started - done <= chaos.kills  # each killed process leaves at most one count unfinished
