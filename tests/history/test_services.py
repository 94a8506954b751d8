"""The history of real services: one worker writes it, and another one takes over when the writer ends or is stopped."""

import json
import os
import signal
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.services import fetch, free_port, service

GUNICORN = ("gunicorn", "-w", "4", "-b", "127.0.0.1:{port}", "--log-level", "critical", "--graceful-timeout", "1")


@pytest.fixture
def port() -> int:
    return free_port()


def history(port: int, query: str = "name=orders&points=720") -> Any:
    reply = fetch(port, f"/debug/history?{query}")
    assert reply.status == 200, reply.body
    return json.loads(reply.body)


def until(port: int, condition: Callable[[Any], object], query: str = "name=orders&points=720") -> Any:
    """Reads the history until an answer fulfils the condition, and returns that answer."""
    end = time.monotonic() + 60
    while True:
        try:
            found = history(port, query)
        except OSError:  # the connection went to a worker that was just killed, or is stopped
            found = {"t": [], "marks": [], "series": {}}
        if found["t"] and condition(found):
            return found
        assert time.monotonic() < end, found
        time.sleep(0.1)


def gunicorn(port: int) -> list[str]:
    return [word.format(port=port) for word in GUNICORN] + ["tests.history.app:application"]


def of_all(port: int) -> None:
    """Sends requests until all four workers have served one, so that each has a thread for the history."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        fetch(port, "/")
        rows = json.loads(fetch(port, "/debug/workers").body)["workers"]
        if len([row for row in rows if row["requests"]]) == 4:
            return
    raise AssertionError(rows)


def test_a_worker_goes_on_when_the_one_that_writes_is_killed_or_stopped(port: int, tmp_path: Path) -> None:
    with service(*gunicorn(port), ready=port, PYVARS_SHARE=str(tmp_path / "shared")):
        of_all(port)
        before = until(port, lambda found: len(found["t"]) >= 3)
        assert [name for name in os.listdir(tmp_path / "shared") if "h-" in name[:3]] == ["h-default"]
        assert {history(port)["id"] for _ in range(12)} == {before["id"]}  # whichever worker is asked

        os.kill(before["meta"]["pid"], signal.SIGKILL)
        killed = until(
            port, lambda found: found["meta"]["pid"] != before["meta"]["pid"] and len(found["t"]) > len(before["t"])
        )
        gaps(killed, before)
        of_all(port)
        ended = f"worker {before['meta']['pid']} has ended"
        until(port, lambda found: ended in [mark["text"] for mark in found["marks"]])

        stopped = history(port)["meta"]["pid"]
        # Requests on sockets that the stopped worker has accepted get no answer, so its pid is read from the file.
        os.kill(stopped, signal.SIGSTOP)
        try:
            path = tmp_path / "shared" / "h-default"
            end = time.monotonic() + 60
            while pid_in(path) == stopped:
                assert time.monotonic() < end
                time.sleep(0.05)
        finally:
            os.kill(stopped, signal.SIGCONT)
        after = until(port, lambda found: found["t"][-1] > killed["t"][-1] + 3)
        assert after["meta"]["pid"] != stopped
        gaps(after, killed)
        time.sleep(1.5)  # the former writer, which runs again, would have written by now
        again = until(port, lambda found: len(found["t"]) > len(after["t"]))
        gaps(again, after)
        assert again["meta"]["pid"] == after["meta"]["pid"]


def pid_in(path: Path) -> int:
    from pyvars.core.own_file import OwnFile
    from pyvars.history.ring import RingReader

    with OwnFile.open(str(path), os.O_RDONLY) as file:
        return RingReader(file).header().pid


def gaps(found: Any, before: Any) -> None:
    """All earlier points are still there, no point comes twice, and no gap is long."""
    times = found["t"]
    assert times[: len(before["t"])] == before["t"]
    assert found["id"] == before["id"]
    assert times == sorted({*times})
    # On a machine that is busy with other tests, no worker may run for a while.
    assert max(b - a for a, b in pairwise(times)) < 3.0 + 7.0


def test_the_next_life_goes_on_after_all_was_killed(port: int, tmp_path: Path) -> None:
    path = str(tmp_path / "history")
    with service(*gunicorn(port), ready=port, PYVARS_HISTORY=path) as process:
        of_all(port)
        first = until(port, lambda found: len(found["t"]) >= 3)
        rows = json.loads(fetch(port, "/debug/workers").body)["workers"]
        for pid in (process.pid, *(row["pid"] for row in rows)):
            os.kill(pid, signal.SIGKILL)
        process.wait(30)
    assert os.stat(path).st_mode & 0o777 == 0o600
    with service(*gunicorn(port), ready=port, PYVARS_HISTORY=path):
        fetch(port, "/")
        second = until(port, lambda found: len(found["t"]) > len(first["t"]) + 1)
    assert second["t"][: len(first["t"])] == first["t"]
    assert second["id"] != first["id"]
    assert [mark["text"].partition(":")[0] for mark in second["marks"] if mark["kind"] == "start"] == [
        "the program has started",
        "the program has started again",
    ]
    assert os.listdir(tmp_path) == ["history"]


def test_gevent_keeps_no_history_and_says_why(port: int) -> None:
    with service(*gunicorn(port), "-k", "gevent", ready=port):
        fetch(port, "/")
        assert history(port)["reason"] == "gevent makes threads greenlets"
