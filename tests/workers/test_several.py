"""The page of several workers: sums, pages of single workers, stopped workers, combined runtime figures."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.conftest import until
from tests.programs import ROOT
from tests.workers import group_of

WORKERS = 3


class Deployment:
    """The program, and its workers in the order of their start."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        self.process = process
        self.urls: dict[int, str] = {int(pid): url for pid, url in json.loads(process.stdout.readline()).items()}
        self.pids = list(self.urls)

    def read(self, worker: int, path: str = "/debug/vars") -> Any:
        """The response of a worker."""
        return json.loads(self.raw(worker, path))

    def raw(self, worker: int, path: str = "/debug/vars") -> bytes:
        with urllib.request.urlopen(self.urls[self.pids[worker]] + path, timeout=60) as answer:
            body: bytes = answer.read()
            return body

    def pages(self, query: str = "") -> list[Any]:
        """The page of every worker."""
        return [self.read(worker, f"/debug/vars{query}") for worker in range(WORKERS)]

    def whole(self, worker: int, query: str = "") -> Any:
        """The page of a worker for which all others answered in time; on a busy machine they may be late."""

        def read() -> Any:
            try:
                return self.read(worker, f"/debug/vars{query}")
            except urllib.error.HTTPError as error:
                with error:
                    if error.code != 504:
                        raise
                    return {"pyvars.errors": error.code}

        return until(read, lambda page: "pyvars.errors" not in page)


@contextmanager
def deployed(**environment: str) -> Iterator[Deployment]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.workers.program", str(WORKERS)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        found = Deployment(process)
        yield found
        for pid in found.pids:
            os.kill(pid, signal.SIGCONT)
        process.communicate()


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    with deployed() as found:
        yield found


def test_numbers_are_summed_whoever_answers(deployment: Deployment) -> None:
    for page in deployment.pages():
        assert page["orders"] == 36
        assert page["revenue"] == 0.6  # not 0.6000000000000001, the result of 0.1 + 0.2 + 0.3 in some orders
        assert page["open_orders"] == 3
        assert page["db"] == {"queries": 6}
        assert page["by_state"] == {"__other__": 3, "limit": 6, "paid": 3, "state 1": 1, "state 2": 2}
        assert [page["only_1"], page["only_2"], page["only_3"]] == [1, 2, 3]
        assert page["pyvars.workers"] == group_of(3)
        assert list(page) == sorted(page)


def test_parts_of_the_page_are_summed_too(deployment: Deployment) -> None:
    for worker in range(WORKERS):
        assert deployment.read(worker, "/debug/vars/orders") == 36
        assert deployment.read(worker, "/debug/vars/only_3") == 3
        assert deployment.read(worker, "/debug/vars/by_state")["paid"] == 3
        assert deployment.read(worker, "/debug/vars?name=only&name=o") == {
            "only_1": 1,
            "only_2": 2,
            "only_3": 3,
            "open_orders": 3,
            "orders": 36,
        }
        assert deployment.read(worker, "/debug/vars/pyvars.workers")["live"] == 3
        with pytest.raises(urllib.error.HTTPError, match="404"):
            deployment.read(worker, "/debug/vars/only_4")


def test_functions_combine_as_they_say(deployment: Deployment) -> None:
    for worker in range(WORKERS):
        page = deployment.whole(worker)
        assert page["in_use"] == 6
        assert page["first"] == 1
        assert page["longest"] == {"seconds": 1.5, "name": "n"}
        assert page["pid"] == deployment.pids[worker]
        until(lambda worker=worker: deployment.read(worker, "/debug/vars/in_use"), lambda value: value == 6)


def test_the_page_of_one_worker(deployment: Deployment) -> None:
    for asked in range(WORKERS):
        for number, pid in enumerate(deployment.pids, 1):
            page = deployment.whole(asked, f"?worker={pid}")
            assert page["orders"] == 10 + number
            assert page["in_use"] == number
            assert page["process"]["pid"] == page["pid"] == pid
            assert deployment.whole(asked, f"?worker={pid}&name=only") == {f"only_{number}": number}


def test_the_pages_of_all_workers(deployment: Deployment) -> None:
    for asked in range(WORKERS):
        # A worker may have to wait for its CPU longer than its peers wait for it, or than it waits for its function.
        pages = until(
            lambda asked=asked: deployment.read(asked, "/debug/vars?worker=all&name=orders&name=only&name=pid"),
            lambda pages: all("error" not in page and "pyvars.errors" not in page for page in pages.values()),
        )
        assert pages == {
            str(pid): {"orders": 10 + number, f"only_{number}": number, "pid": pid}
            for number, pid in enumerate(deployment.pids, 1)
        }


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/debug/vars?worker=1", 404),
        ("/debug/vars?worker=x", 404),
        ("/debug/vars?worker=-1", 404),
        ("/debug/vars/orders?worker=all", 400),
    ],
)
def test_questions_for_no_worker(deployment: Deployment, path: str, status: int) -> None:
    assert "orders" in deployment.read(0, "/debug/vars?worker=")
    with pytest.raises(urllib.error.HTTPError, match=str(status)):
        deployment.raw(0, path)


def test_the_list_of_workers(deployment: Deployment) -> None:
    deployment.raw(1)
    asked = []

    def read() -> Any:
        asked.append(0)
        return deployment.read(0, "/debug/workers")

    listed = until(read, lambda listed: all(worker["answered"] for worker in listed["workers"]))
    assert [worker["pid"] for worker in listed["workers"]] == deployment.pids
    assert [worker["requests"] for worker in listed["workers"]] == [len(asked), 1, 0]
    for worker in listed["workers"]:
        assert worker["rss_bytes"] > 1_000_000
        assert worker["cpu_seconds"] > 0
        assert abs(worker["start_time_seconds"] - time.time()) < 300
    assert (listed["live"], listed["retired"], listed["shared"]) == (3, 0, True)


def test_a_stopped_worker_is_named_and_waited_for_once(deployment: Deployment) -> None:
    deployment.whole(0)
    stopped = str(deployment.pids[2])
    os.kill(deployment.pids[2], signal.SIGSTOP)
    # The figures of the page before may be used for 100 ms; then the stopped one is asked.
    page = until(lambda: deployment.read(0), lambda page: workers_late(page) == stopped)
    assert page["orders"] == 36  # numbers need no answer
    assert page["open_orders"] == 3
    assert page["in_use"] == 6  # its last value is used
    stale = page["pyvars.errors"]["in_use"]
    assert stale["type"] == "stale"
    assert 0 < stale["age_seconds"] < 10
    until(
        lambda: [worker["answered"] for worker in deployment.read(0, "/debug/workers")["workers"]],
        lambda answered: answered == [True, True, False],
    )

    def seconds() -> float:
        began = time.monotonic()
        assert deployment.read(0)["orders"] == 36
        return time.monotonic() - began

    until(seconds, lambda took: took < 0.1)  # far below the limit of 200 ms, so the page waits for no worker
    pages = deployment.read(0, "/debug/vars?worker=all&name=orders")
    assert pages[str(deployment.pids[2])] == {"error": "timeout"}
    with pytest.raises(urllib.error.HTTPError, match="504"):
        deployment.read(0, f"/debug/vars?worker={deployment.pids[2]}")

    def read() -> Any:
        page = deployment.read(0)
        assert page["in_use"] in (6, None)
        return page

    # For ten seconds it is there; the value of another one may be late.
    page = until(read, lambda page: page["in_use"] is None and workers_late(page) == stopped)
    assert page["pyvars.errors"]["in_use"]["type"] == "timeout"

    os.kill(deployment.pids[2], signal.SIGCONT)
    assert deployment.whole(0)["in_use"] == 6
    until(
        lambda: deployment.read(0, "/debug/workers")["workers"],
        lambda workers: all(worker["answered"] for worker in workers),
    )


def workers_late(page: Any) -> str | None:
    """The pids of the workers whose value of `in_use` is late."""
    late: str | None = page.get("pyvars.errors", {}).get("in_use", {}).get("workers")
    return late


def test_counts_stay_and_levels_go_with_a_worker(deployment: Deployment) -> None:
    os.kill(deployment.pids[2], signal.SIGKILL)
    until(lambda: deployment.read(0)["pyvars.workers"]["live"], lambda live: live == 2)
    for worker in (0, 1):
        page = deployment.whole(worker)
        assert page["orders"] == 36
        assert page["open_orders"] == 2
        assert page["by_state"]["paid"] == 3
        assert page["db"] == {"queries": 6}
        assert "only_3" not in page  # nobody publishes it any more
        assert page["pyvars.workers"] == group_of(2, retired=1)
        assert page["in_use"] == 3
    assert len(deployment.read(0, "/debug/workers")["workers"]) == 2


def test_runtime_figures_of_all_workers_do_not_jump(deployment: Deployment) -> None:
    """For a reader of Go's expvar that polls a port which several workers share."""
    counts = ("NumGC", "NumForcedGC", "PauseTotalNs", "Mallocs", "Frees", "TotalAlloc", "LastGC")
    before = dict.fromkeys(counts, 0)
    cpu = 0.0
    for worker in range(WORKERS):  # a busy one may be late with its first figures
        until(lambda worker=worker: deployment.read(worker), lambda page: page["threads"]["count"] >= 2 * WORKERS)
    for poll in range(40):
        if poll == 20:
            os.kill(deployment.pids[2], signal.SIGKILL)
        page = deployment.read(poll % (WORKERS if poll < 20 else 2))
        memstats = page["memstats"]
        now = {name: memstats[name] for name in counts}
        assert all(now[name] >= before[name] for name in counts)
        before = now
        assert memstats["Alloc"] == memstats["HeapAlloc"] <= memstats["HeapInuse"]
        assert memstats["HeapSys"] == memstats["HeapInuse"] + memstats["HeapIdle"]
        assert memstats["Mallocs"] - memstats["Frees"] == memstats["HeapObjects"]
        assert memstats["Sys"] == sum(memstats[name] for name in ("HeapSys", "StackSys", "BuckHashSys", "OtherSys"))
        assert len(memstats["PauseNs"]) == len(memstats["PauseEnd"]) == 256
        newest = (memstats["NumGC"] + 255) % 256
        assert memstats["PauseEnd"][newest] == max(memstats["PauseEnd"])
        assert 0 <= memstats["GCCPUFraction"] < 1
        assert page["process"]["cpu_user_seconds"] + page["process"]["cpu_system_seconds"] >= cpu
        cpu = page["process"]["cpu_user_seconds"] + page["process"]["cpu_system_seconds"]
        assert page["threads"]["count"] >= 2 * page["pyvars.workers"]["live"]
    alone = deployment.whole(0, f"?worker={deployment.pids[0]}")["memstats"]
    assert before["Mallocs"] > alone["Mallocs"]
