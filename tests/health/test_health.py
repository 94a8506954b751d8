"""Health and hardware: responses with and without access, checks that fail, hang and raise, limits of containers."""

import asyncio
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

import pyvars
from pyvars import DuplicateNameError, PyvarsWarning, Registry
from pyvars.access import token
from pyvars.health import HealthApp, check, checks, delete, hardware
from pyvars.health.checks import CHECKS
from pyvars.runtime import cgroup, reading
from pyvars.server import Server
from tests.conftest import logged
from tests.integrations.test_side_port import Answer, get
from tests.programs import output

TOKEN = "a-token-of-sixteen-characters"
OTHERS = {"X_Forwarded_For": "10.0.0.1"}
"""Headers of a request that the access rule refuses."""
MIB = 1024 * 1024


@pytest.fixture
def server(registry: Registry) -> Iterator[Server]:
    """A side port."""
    with pyvars.serve(0, registry=registry) as server:
        yield server


@pytest.fixture(autouse=True)
def _no_check_is_left() -> Iterator[None]:
    yield
    for name in list(CHECKS._checks):
        delete(name)


def health(server: Server, method: str = "GET", **headers: str) -> tuple[int, str]:
    answer = get(server, "/status/health", method, **headers)
    return answer.status, answer.body.decode()


def until_it_is(wanted: tuple[int, str], server: Server) -> None:
    deadline = time.monotonic() + 30
    while (found := health(server)) != wanted:
        assert time.monotonic() < deadline, found


def hang(event: threading.Event) -> Callable[[], None]:
    """A check that returns when the test lets it."""

    def wait() -> None:
        assert event.wait(60)

    return wait


@pytest.mark.parametrize("headers", [{}, OTHERS])
def test_everybody_is_told_that_it_is_well(server: Server, headers: dict[str, str]) -> None:
    answer = get(server, "/status/health", **headers)
    assert (answer.status, answer.body) == (200, b"OK\n")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    head = get(server, "/status/health", "HEAD", **headers)
    assert (head.status, head.body) == (200, b"")
    assert {**head.headers, "date": ""} == {**answer.headers, "date": ""}
    assert get(server, "/status/health/", **headers).status == 200
    assert get(server, "/status/health", "OPTIONS", **headers).status == 204
    assert get(server, "/status/health", "POST", **headers).status == 405
    for path in ("/status", "/status/", "/status/healthy", "/status/health/db", "/status/%68ealth", "/health"):
        assert get(server, path, **headers).status == 404


def test_nobody_else_is_told_more(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    check("db", timeout=10)(lambda: False)
    check("cache", timeout=10)(lambda: 1 / 0)
    failing = (503, "UNAVAILABLE\ncache: ZeroDivisionError\ndb: returned False\n")
    for method in ("GET", "HEAD"):
        assert health(server, method) == (503, failing[1] if method == "GET" else "")
        assert health(server, method, **OTHERS) == (503, "UNAVAILABLE\n" if method == "GET" else "")
    assert not any("refused" in record.getMessage() for record in logged(caplog))
    delete("db")
    assert health(server, **OTHERS) == (503, "UNAVAILABLE\n")
    delete("cache")
    delete("nothing")
    assert health(server, **OTHERS) == (200, "OK\n")


def test_a_credential_opens_the_rest(registry: Registry) -> None:
    check("db", timeout=60)(lambda: False)
    with pyvars.serve(0, registry=registry, access=token(TOKEN)) as server:
        assert health(server) == (503, "UNAVAILABLE\n")
        assert health(server, Authorization=f"Bearer {TOKEN}") == (503, "UNAVAILABLE\ndb: returned False\n")
        assert get(server, "/status/hardware/ram").status == 401
        assert get(server, "/status/hardware/ram", Authorization=f"Bearer {TOKEN}").status == 200


class Silent:
    def __bool__(self) -> bool:
        raise AssertionError("what it returns is not asked whether it is true")


def raises(exception: BaseException) -> Callable[[], None]:
    def function() -> None:
        raise exception

    return function


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda: None, ""),
        (lambda: True, ""),
        (lambda: 0, ""),
        (Silent, ""),
        (lambda: False, "returned False"),
        (raises(OSError("secret")), "OSError"),
        (raises(SystemExit(3)), "SystemExit"),
        (raises(KeyboardInterrupt()), "KeyboardInterrupt"),
        (raises(MemoryError()), "MemoryError"),
        (lambda: asyncio.sleep(0), "TypeError"),  # it returned a coroutine
    ],
)
def test_what_passes(server: Server, function: Callable[[], object], reason: str) -> None:
    assert check("it", timeout=10)(function) is function
    assert health(server) == ((503, f"UNAVAILABLE\nit: {reason}\n") if reason else (200, "OK\n"))


def test_what_hangs_costs_its_own_time_and_is_not_started_again(server: Server) -> None:
    event, started = threading.Event(), []

    @check("hangs", timeout=0.05)
    def hangs() -> None:
        started.append(1)
        hang(event)()

    try:
        check("works", timeout=10)(lambda: None)
        for _ in range(3):
            assert health(server) == (503, "UNAVAILABLE\nhangs: timeout\n")
        assert len(started) == 1
        assert get(server).status == 200  # pages are rendered meanwhile
    finally:
        event.set()
    until_it_is((200, "OK\n"), server)
    assert len(started) > 1


def test_what_returns_too_late_has_not_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(checks, "monotonic", lambda: now[0])
    event = threading.Event()
    check("slow", timeout=5)(hang(event))
    call = CHECKS._checks["slow"].call()
    now[0] += 6
    event.set()
    assert call._done.wait(60)
    assert call.wait(5) == "timeout"
    assert CHECKS.run() == {}  # the next one is in time


def test_checks_run_side_by_side(server: Server) -> None:
    together = threading.Barrier(8)
    for number in range(8):
        check(f"check {number}", timeout=60)(lambda: together.wait(60))
    assert health(server) == (200, "OK\n")


def test_all_who_ask_at_once_share_one_call(server: Server) -> None:
    running, most, lock = [0], [0], threading.Lock()

    @check("db", timeout=60)
    def db() -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.001)
        with lock:
            running[0] -= 1

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: health(server, **(OTHERS if number % 2 else {})), range(60)))
    assert set(answers) == {(200, "OK\n")}
    assert most[0] == 1


def test_strangers_have_checks_run_once_a_second(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    check("db", timeout=60)(lambda: calls.append(1))
    monkeypatch.setattr(checks, "REUSE_SECONDS", 3600.0)
    for _ in range(5):
        assert health(server, **OTHERS) == (200, "OK\n")
    assert len(calls) == 1
    for _ in range(5):  # a request with access always runs the checks
        assert health(server) == (200, "OK\n")
    assert len(calls) == 6
    check("new", timeout=60)(lambda: False)
    assert health(server, **OTHERS) == (503, "UNAVAILABLE\n")
    monkeypatch.setattr(checks, "REUSE_SECONDS", 0.0)
    assert health(server, **OTHERS) == (503, "UNAVAILABLE\n")
    assert len(calls) == 8


def test_strangers_wait_for_no_call_of_strangers(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    event, started, hangs = threading.Event(), threading.Event(), []

    @check("db", timeout=60)
    def db() -> None:
        if hangs:
            started.set()
            hang(event)()

    assert health(server) == (200, "OK\n")
    monkeypatch.setattr(checks, "REUSE_SECONDS", 0.0)
    hangs.append(1)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(health, server, **OTHERS)
        try:
            assert started.wait(60)
            for _ in range(10):
                assert health(server, **OTHERS) == (200, "OK\n")
            assert not first.done()
        finally:
            event.set()
        assert first.result(60) == (200, "OK\n")


def test_no_thread_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    check("threadless", timeout=60)(lambda: None)
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    assert CHECKS.run() == {"threadless": "no thread"}
    monkeypatch.undo()
    assert CHECKS.run() == {}


def test_a_failure_is_logged_once_a_minute(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    check("db", timeout=60)(raises(OSError("the text is in the log")))

    def records() -> list[logging.LogRecord]:
        return [record for record in logged(caplog) if "health check 'db'" in record.getMessage()]

    for _ in range(3):
        assert health(server)[0] == 503
    (record,) = records()
    assert record.getMessage() == "the health check 'db' failed: OSError (logged once a minute)"
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "the text is in the log"
    monkeypatch.setattr(checks, "LOG_SECONDS", 0.0)
    assert health(server)[0] == 503
    assert len(records()) == 2


async def later() -> None:
    pass


def generator() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("decorate", "error", "text"),
    [
        (lambda: check("x")(later), TypeError, "coroutine or generator function"),
        (lambda: check("x")(generator), TypeError, "coroutine or generator function"),
        (lambda: check("x")(lambda argument: None), TypeError, "takes arguments"),  # type: ignore[arg-type]
        (lambda: check("x")(5), TypeError, "function without arguments"),  # type: ignore[type-var]
        (lambda: check(later), TypeError, r'@check\("name"\)'),  # type: ignore[arg-type]
        (lambda: check(""), ValueError, "printable text"),
        (lambda: check("two\nlines"), ValueError, "printable text"),
        (lambda: check("\udc80"), ValueError, "printable text"),
        (lambda: check("é" * 128), ValueError, "255 bytes"),
        (lambda: check("x", timeout="1"), TypeError, "number of seconds"),  # type: ignore[arg-type]
        (lambda: check("x", timeout=True), TypeError, "number of seconds"),
        (lambda: check("x", timeout=0), ValueError, "at most 60"),
        (lambda: check("x", timeout=61), ValueError, "at most 60"),
        (lambda: check("x", timeout=float("nan")), ValueError, "at most 60"),
    ],
)
def test_mistakes_raise_at_once(decorate: Callable[[], object], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        decorate()
    assert not CHECKS


def test_a_name_is_taken_once(server: Server) -> None:
    check("db", timeout=60)(lambda: None)
    with pytest.raises(DuplicateNameError, match="exist_ok=True"):
        check("db")(lambda: False)
    assert health(server) == (200, "OK\n")


def test_the_later_check_of_a_module_that_runs_twice_counts(server: Server) -> None:
    for answer in (True, False):
        check("db", timeout=60, exist_ok=True)(lambda answer=answer: answer)
    assert health(server)[0] == 503


def test_a_check_from_another_place_replaces_one_with_a_warning(server: Server) -> None:
    check("db", timeout=60)(lambda: False)
    with pytest.warns(PyvarsWarning, match="'db' was .* and is now .*"):
        check("db", timeout=60, exist_ok=True)(time.monotonic)
    assert health(server) == (200, "OK\n")
    with pytest.raises(PyvarsWarning):
        check("db", exist_ok=True)(lambda: False)
    assert health(server) == (200, "OK\n")


def test_a_forked_child_starts_anew() -> None:
    code = """
import os, threading, warnings
from pyvars.health import check
from pyvars.health.checks import CHECKS
warnings.simplefilter("ignore")  # Python 3.12 warns of forks beside threads
parent, event, started = os.getpid(), threading.Event(), threading.Event()

@check("db", timeout=0.05)
def db():
    if os.getpid() == parent:
        started.set()
        event.wait(60)

print(CHECKS.run(), started.wait(60), flush=True)
pid = os.fork()
if pid == 0:
    CHECKS._checks["db"].timeout = 60
    print(CHECKS.run(), flush=True)
    raise SystemExit
os.waitpid(pid, 0)
print(CHECKS.run(), flush=True)
event.set()
"""
    # Otherwise the log is written to standard error.
    shown = output(f"import logging\nlogging.disable()\n{code}")
    assert shown == "{'db': 'timeout'} True\n{}\n{'db': 'timeout'}\n"


def ask(app: Any, path: str, **headers: str) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1234))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return asyncio.run(send())


def test_it_can_be_mounted() -> None:
    app = Starlette(routes=[Mount("/status", HealthApp()), Mount("/closed", HealthApp(access=token(TOKEN)))])
    check("db", timeout=60)(lambda: False)
    assert ask(app, "/status/health").text == "UNAVAILABLE\ndb: returned False\n"
    assert ask(app, "/status/health", **OTHERS).text == "UNAVAILABLE\n"
    assert ask(app, "/closed/health").status_code == 503
    assert ask(app, "/closed/health").text == "UNAVAILABLE\n"
    assert ask(app, "/closed/hardware/ram").status_code == 401
    assert ask(app, "/status/hardware/disk").json()["path"] == "/"
    assert ask(app, "/status/hardware/disk", **OTHERS).status_code == 404
    assert ask(app, "/status/debug/vars").status_code == 404
    assert [line.split()[0] for line in ask(app, "/status/").text.splitlines()] == [
        *("hardware/cpu", "hardware/disk", "hardware/ram", "health")
    ]
    assert ask(app, "/status/", **OTHERS).status_code == 404


@pytest.mark.parametrize("what", ["disk", "ram", "cpu"])
def test_hardware(server: Server, what: str) -> None:
    path = f"/status/hardware/{what}"
    answer: Answer = get(server, path)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    shown = json.loads(answer.body)
    assert 0 <= shown["used"] <= shown["total"]
    assert 0 <= shown["percent"] <= 100
    assert shown["status"] == word(shown["percent"])
    assert get(server, path, "HEAD").body == b""
    assert get(server, path, "POST").status == 405
    for wrong in (f"{path}/x", f"{path}s", "/status/hardware", "/status/hardware/"):
        assert get(server, wrong).status == 404
    refused = get(server, path, **OTHERS)
    assert (refused.status, refused.body) == (404, b"not found\n")


def test_a_system_that_does_not_tell(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(path)

    monkeypatch.setattr("psutil.disk_usage", refuse)
    answer = get(server, "/status/hardware/disk")
    assert (answer.status, answer.body) == (503, b"the figures cannot be read: PermissionError\n")
    monkeypatch.undo()
    reading.expire()
    assert get(server, "/status/hardware/disk").status == 200


def word(percent: float) -> str:
    return "CRITICAL" if percent >= 90 else "WARNING" if percent >= 80 else "OK"


VERSION_2 = "30 23 0:26 {within} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
VERSION_1 = "3{number} 23 0:2{number} {within} /sys/fs/cgroup/{name} rw - cgroup  rw,{name}"
NONE_IN_VERSION_1 = "9223372036854771712"


class Container:
    """Files of /proc and of cgroups, in a directory."""

    def __init__(self, folder: Path) -> None:
        self.root = str(folder)
        (folder / "proc/self").mkdir(parents=True)

    def proc(self, memberships: str, *mounts: str) -> "Container":
        Path(self.root, "proc/self/cgroup").write_text(memberships)
        mountinfo = ["22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw", *mounts]
        Path(self.root, "proc/self/mountinfo").write_text("".join(f"{line}\n" for line in mountinfo))
        return self

    def version1(self, path: str, within: str = "/") -> "Container":
        names = ("memory", "cpu", "cpuacct", "cpuset")
        mounts = [VERSION_1.format(number=number, name=name, within=within) for number, name in enumerate(names)]
        unified = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw"
        memberships = "".join(f"{number}:{name}:{path}\n" for number, name in enumerate(names, 1))
        return self.proc(f"9:name=systemd:/\n{memberships}0::/\n", unified, *mounts)

    def version2(self, path: str, within: str = "/") -> "Container":
        return self.proc(f"0::{path}\n", VERSION_2.format(within=within))

    def write(self, path: str, **files: str) -> "Container":
        folder = Path(self.root + path)
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name.replace("__", ".")).write_text(f"{text}\n")
        return self


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


def test_memory_of_version_2(container: Container) -> None:
    container.version2("/kube/pod/app").write(
        "/sys/fs/cgroup/kube/pod/app",
        memory__max=str(100 * MIB),
        memory__current=str(95 * MIB),
        memory__stat=f"anon 1\ninactive_file {10 * MIB}\nactive_file 5",
    )
    assert cgroup.memory(container.root) == (100 * MIB, 85 * MIB)
    assert hardware.ram(container.root) == {
        "source": "cgroup",
        "total": 100 * MIB,
        "used": 85 * MIB,
        "percent": 85.0,
        "status": "WARNING",
    }


def test_the_lowest_limit_binds(container: Container) -> None:
    container.version2("/slice/app/inner")
    for path, limit, used in (("/slice", 50, 20), ("/slice/app", 80, 10), ("/slice/app/inner", "max", 5)):
        files = {"memory__max": str(limit), "memory__current": str(used)}
        container.write(f"/sys/fs/cgroup{path}", **files)
    assert cgroup.memory(container.root) == (50, 20)
    container.write("/sys/fs/cgroup/slice", memory__max="max")
    assert cgroup.memory(container.root) == (80, 10)
    container.write("/sys/fs/cgroup/slice/app", memory__max="max")
    assert cgroup.memory(container.root) is None
    assert hardware.ram(container.root)["source"] == "machine"


def test_memory_of_version_1(container: Container) -> None:
    container.version1("/docker/abc", within="/docker/abc").write(
        "/sys/fs/cgroup/memory",
        memory__limit_in_bytes=str(200 * MIB),
        memory__usage_in_bytes=str(190 * MIB),
        memory__stat=f"inactive_file 1\ntotal_inactive_file {5 * MIB}",
    )
    assert cgroup.memory(container.root) == (200 * MIB, 185 * MIB)
    assert hardware.ram(container.root)["status"] == "CRITICAL"
    container.write("/sys/fs/cgroup/memory", memory__limit_in_bytes=NONE_IN_VERSION_1)
    assert hardware.ram(container.root)["source"] == "machine"


@pytest.mark.parametrize(
    ("path", "within", "folder"),
    [
        ("/", "/", ""),
        ("/a/b", "/", "/a/b"),
        ("/a/b", "/a", "/b"),
        ("/a", "/a", ""),
        ("/a/b", "/a/bc", ""),
        ("/", "/docker/abc", ""),
        ("/", "/../..", ""),
        ("/a/b", r"/a\040b", ""),
        ("/a b/c", r"/a\040b", "/c"),
        ("/a:b", "/", "/a:b"),
    ],
)
def test_where_the_cgroup_is(container: Container, path: str, within: str, folder: str) -> None:
    files = {"memory__max": "7", "memory__current": "5"}
    container.version2(path, within).write(f"/sys/fs/cgroup{folder}", **files)
    assert cgroup.memory(container.root) == (7, 5)


@pytest.mark.parametrize("files", [{}, {"memory__max": "7"}, {"memory__max": "0", "memory__current": "5"}])
def test_no_limit(container: Container, files: dict[str, str]) -> None:
    assert cgroup.memory(container.root) is None  # there is no /proc/self/cgroup
    assert cgroup.cpus(container.root) is None
    container.version2("/app").write("/sys/fs/cgroup/app", **files)
    assert cgroup.memory(container.root) is None
    container.proc("0::/app\n")  # nor is anything mounted
    assert cgroup.memory(container.root) is None


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"cpu__max": "150000 100000"}, 1.5),
        ({"cpu__max": "max 100000"}, None),
        ({"cpu__max": "50000 0"}, None),
        ({"cpuset__cpus__effective": "0-2,5"}, 4.0),
        ({"cpuset__cpus": "3"}, 1.0),
        ({"cpuset__cpus__effective": ""}, None),
        ({"cpu__max": "150000 100000", "cpuset__cpus__effective": "0"}, 1.0),
        ({}, None),
    ],
)
def test_cpus_of_version_2(container: Container, files: dict[str, str], limit: float | None) -> None:
    container.version2("/app").write("/sys/fs/cgroup/app", cpu__stat="usage_usec 2500000\nuser_usec 1", **files)
    found = cgroup.cpus(container.root)
    assert found == (None if limit is None else (limit, 2.5, "/app"))


def test_cpus_of_version_1(container: Container) -> None:
    container.version1("/docker/abc", within="/docker/abc")
    container.write("/sys/fs/cgroup/cpu", cpu__cfs_quota_us="50000", cpu__cfs_period_us="100000")
    assert cgroup.cpus(container.root) is None  # the time used is unknown
    container.write("/sys/fs/cgroup/cpuacct", cpuacct__usage="1500000000")
    assert cgroup.cpus(container.root) == (0.5, 1.5, "")
    container.write("/sys/fs/cgroup/cpu", cpu__cfs_quota_us="-1")
    assert cgroup.cpus(container.root) is None
    container.write("/sys/fs/cgroup/cpuset", cpuset__effective_cpus="1")
    assert cgroup.cpus(container.root) == (1.0, 1.5, "")


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(hardware, "monotonic", lambda: self.now)
        monkeypatch.setattr(os, "cpu_count", lambda: 4)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_cpus_of_a_container(container: Container, clock: Clock) -> None:
    container.version2("/app").write("/sys/fs/cgroup/app", cpu__max="200000 100000")

    def used(seconds: float) -> None:
        container.write("/sys/fs/cgroup/app", cpu__stat=f"usage_usec {round(seconds * 1e6)}")

    used(50)
    cpus = hardware.CPUs(container.root)
    clock.now += 4
    used(54)
    assert cpus.figures() == {
        "source": "cgroup",
        "count": 4,
        "total": 2.0,
        "used": 1.0,
        "percent": 50.0,
        "status": "OK",
    }
    clock.now += 6
    used(68)
    assert cpus.figures()["percent"] == 90.0  # 18 s of 2 CPUs in 10 s
    clock.now += 1  # a second reader, which would get 0 % for the time since the first
    assert cpus.figures()["percent"] == pytest.approx(100 * 18 / 22, abs=0.05)
    clock.now += 9
    used(70)
    assert cpus.figures()["used"] == 0.2  # since the answer 10 s ago
    clock.now += 100
    used(1000)
    assert (cpus.figures()["used"], cpus.figures()["status"]) == (2.0, "CRITICAL")
    container.version2("/other").write("/sys/fs/cgroup/other", cpu__max="100000 100000", cpu__stat="usage_usec 5")
    assert (cpus.figures()["total"], cpus.figures()["used"]) == (1.0, 0.0)
    container.write("/sys/fs/cgroup/other", cpu__max="400000 100000")  # as many as there are
    assert (cpus.figures()["source"], cpus.figures()["total"]) == ("machine", 4.0)


def test_cpus_of_the_machine(container: Container, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    class Times:
        def __init__(self, **parts: float) -> None:
            self._asdict = lambda: parts

    def used(**parts: float) -> None:
        monkeypatch.setattr("psutil.cpu_times", lambda: Times(**parts))

    used(user=900.0, system=100.0, nice=0.0, idle=2000.0, iowait=1000.0, guest=500.0, guest_nice=0.0)
    cpus = hardware.CPUs(container.root)
    assert cpus.figures() == {
        "source": "machine",
        "count": 4,
        "total": 4.0,
        "used": 1.0,
        "percent": 25.0,
        "status": "OK",
    }
    clock.now += 10
    used(user=930.0, system=104.0, idle=2006.0)  # as on macOS
    assert cpus.figures() == {
        "source": "machine",
        "count": 4,
        "total": 4.0,
        "used": 3.4,
        "percent": 85.0,
        "status": "WARNING",
    }


@pytest.mark.parametrize("used", [0, 79, 80, 89, 90, 100, 120])
def test_the_words(container: Container, used: int) -> None:
    files = {"memory__max": "1000", "memory__current": str(used * 10)}
    container.version2("/").write("/sys/fs/cgroup", **files)
    shown = hardware.ram(container.root)
    assert shown["percent"] == min(used, 100)
    assert shown["status"] == word(used)
