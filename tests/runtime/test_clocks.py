"""If somebody sets the clock, as NTP does on a board without a battery, only times since the epoch change.

The programs have a clock of their own in place of time.time and time.time_ns, and set it.
"""

import json
from typing import Any

from tests.programs import output

CLOCK = """
import gc, json, os, time
real, step = time.time, [0.0]
time.time = lambda: real() + step[0]
time.time_ns = lambda: int(time.time() * 1e9)
def set_to(moment): step[0] = moment - real()
set_to(1000.0)  # a quarter past midnight in 1970, as where nothing tells the time

import pyvars
from pyvars.runtime import reading
from pyvars.site.default import debug
from tests.conftest import local_request
orders = pyvars.publish("orders", pyvars.Int())
site = debug(None, None, prefix="/debug")
def get(path="/debug/vars"):
    reading.expire()
    return json.loads(site.respond(local_request(path)).body)
def told():
    process = get()["process"]
    return [process["uptime_seconds"], process["start_time_seconds"] - time.time()]
"""
LIMIT = 60  # the machine of a test may be busy


def program(code: str) -> Any:
    return json.loads(output(f"{CLOCK}\n{code}\nprint(json.dumps(shown))"))


def test_uptime_does_not_follow_the_clock_and_the_start_does() -> None:
    for uptime, start in program(
        """
shown = [told()]
set_to(real())
shown.append(told())
set_to(real() - 5 * 365 * 86400)
shown.append(told())
"""
    ):
        assert 0 <= uptime < LIMIT
        assert -LIMIT < start < 1


def test_a_clock_that_is_kept_right_moves_nothing() -> None:
    """NTP sets it by less than a second at a time: readers would take another start time for a restart."""
    starts = program(
        """
set_to(real())
shown = []
for moved in (0, 0.3, -0.4, 0.9):
    step[0] = moved
    shown.append(get()["process"]["start_time_seconds"])
"""
    )
    assert len(set(starts)) == 1


def test_of_workers_of_which_some_ended_before() -> None:
    shown = program(
        """
def worker(then=None):
    pid = os.fork()
    if not pid:
        orders.add()
        get()
        if then is not None:
            os.write(then[0], b".")
            os.read(then[1], 1)
        os._exit(0)
    return pid
os.waitpid(worker(), 0)
(ready, is_ready), (stop, stopping) = os.pipe(), os.pipe()
lives = worker((is_ready, stop))
os.read(ready, 1)
while get()["pyvars.workers"]["retired"] != 1: pass
shown = [told()]
set_to(real())  # in this process; the worker that lives on still has that of before
shown.append(told())
rows = get("/debug/workers")["workers"]
shown.append([max(row["start_time_seconds"] for row in rows) - min(row["start_time_seconds"] for row in rows),
              min(row["start_time_seconds"] for row in rows) - time.time()])
os.write(stopping, b".")
os.waitpid(lives, 0)
while get()["pyvars.workers"]["retired"] != 2: pass
shown.append(told())
assert get()["orders"] == 2
"""
    )
    for passed, since in shown:
        assert 0 <= passed < LIMIT
        assert -LIMIT < since < 1


def test_pauses_stay_those_of_the_last_minute() -> None:
    """The ends of pauses are times since the epoch, and /api/stats counts the pauses of the last minute."""
    shown = program(
        """
from pyvars.formats.gostats import stats
shown = []
gc.disable()
def recent():
    page = get()
    found = stats(page["memstats"], page["threads"], time.time_ns())
    return [len(found["gc_pause"]), page["memstats"]["NumGC"], page["memstats"]["LastGC"] / 1e9 - time.time()]
gc.collect()
gc.collect()
shown.append(recent())
set_to(real())
shown.append(recent())
set_to(real() - 86400)
shown.append(recent())
"""
    )
    assert len({count for _, count, _ in shown}) == 1
    for pauses, count, last in shown:
        assert pauses == count >= 2
        assert -LIMIT < last < 1


def test_a_group_is_found_empty_whatever_the_clock_says() -> None:
    """A process without peers looks for new ones with one system call, and misses none."""
    shown = program(
        """
set_to(real() + 86400)
for _ in range(3):
    get()
    time.sleep(0.06)
pid = os.fork()
if not pid:
    orders.add(5)
    os._exit(0)
os.waitpid(pid, 0)
shown = get()["orders"]
"""
    )
    assert shown == 5
