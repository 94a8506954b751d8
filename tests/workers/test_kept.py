"""Counts of ended workers stay on the page at every level of nested Maps, also under keys that only they had."""

import json
from typing import Any

from tests.programs import output

PROGRAM = """
import json, os, urllib.request
import pyvars
from pyvars import Float, Histogram, Int, Map, publish

totals = publish("totals", Map(label="kind"))
server = pyvars.serve(0)

def read(path):
    with urllib.request.urlopen(server.url + path) as answer:
        return answer.read().decode()

def worker(number):
    counted, told = os.pipe()
    go_on, end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(end)
        totals.set("own", Histogram(bounds=(1, 2)))
        for key, kind in {"histogram": Histogram, "map": Map, "maps": Map}.items():
            totals.set(key, kind())
        totals.var("histogram").observe(number)
        totals.var("own").observe(number)
        totals.var("map").add("a", 1.5)
        totals.var("maps").set("inner", Histogram())
        totals.var("maps").var("inner").observe(number)
        totals.var("map").set("level", Int(7, gauge=True))
        totals.add("plain")
        os.write(told, b".")
        os.read(go_on, 1)
        os._exit(0)
    os.close(go_on)
    os.read(counted, 1)
    return pid, end

def ended(pid, end):
    os.close(end)
    os.waitpid(pid, 0)

shown, series = [], []
for number in (1, 2):
    pid, end = worker(number)
    for end_worker in (lambda: None, lambda: ended(pid, end)):
        end_worker()
        shown.append(json.loads(read("/debug/vars/totals")))
        series.append([line for line in read("/metrics?name=totals").splitlines() if "_count" in line])
print(json.dumps([shown, series]))
"""


def without_level(shown: dict[str, Any]) -> dict[str, Any]:
    return {**shown, "map": {key: value for key, value in shown["map"].items() if key != "level"}}


def test_counts_in_maps_in_maps_stay() -> None:
    (first, after_first, second, after_second), series = json.loads(output(PROGRAM))
    assert first["map"] == {"a": 1.5, "level": 7}
    assert (first["histogram"]["count"], second["histogram"]["count"]) == (1, 2)
    assert (second["own"]["sum"], second["maps"]["inner"]["count"], second["plain"]) == (3.0, 2, 2)
    assert after_first == without_level(first)
    assert after_second == without_level(second)
    assert series[0] == series[1]
    assert len(series[2]) == 3
    assert series[2] == series[3]


def test_a_worker_that_dies_before_it_answers() -> None:
    code = """
import json, os, signal, time, urllib.request
import pyvars

orders = pyvars.publish("orders", pyvars.Int())
server = pyvars.serve(0)

def page(path="/debug/vars"):
    with urllib.request.urlopen(server.url + path) as answer:
        return json.loads(answer.read())

def when(live):
    until = time.monotonic() + 30
    while (found := page())["pyvars.workers"]["live"] != live:
        assert time.monotonic() < until
    return found

def worker():
    pid = os.fork()
    if pid == 0:
        orders.add(5)
        time.sleep(60)
        os._exit(0)
    return pid

other, pid = worker(), worker()
when(3)
os.kill(pid, signal.SIGSTOP)
os.waitpid(pid, os.WUNTRACED)
print([row["answered"] for row in page("/debug/workers")["workers"] if row["pid"] == pid])
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
time.sleep(0.2)  # until it is asked for figures again
when(2)
time.sleep(0.2)
print(when(2)["orders"])
os.kill(other, signal.SIGKILL)
"""
    assert output(code) == "[False]\n10\n"
