"""Histograms with given bounds: exact at the bounds, over all workers; different bounds are never summed."""

import json
import math
import os
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvars import DuplicateNameError, Histogram, Map, Registry
from pyvars.site.http import Response
from tests.conftest import Read
from tests.programs import output

pytestmark = pytest.mark.usefixtures("both_kinds")

BOUNDS = (0.1, 0.3, 1.2)


def test_the_page_tells_between_which_bounds_the_values_are(registry: Registry, page: Read) -> None:
    seconds = registry.publish("seconds", Histogram(bounds=BOUNDS))
    nothing = page()["seconds"]
    assert {**nothing, "sum": 0} == {"count": 0, "sum": 0, **dict.fromkeys(("min", "max", "p50", "p90", "p99"))}
    for value in (0.2, 0.25, 0.3, 0.4):
        seconds.observe(value)
    shown = {name: float(number) for name, number in page()["seconds"].items()}
    assert shown == {"count": 4, "sum": 1.15, "min": 0.1, "max": 1.2, "p50": 0.3, "p90": 1.2, "p99": 1.2}
    assert (seconds.bounds, seconds.count, seconds.buckets()) == (BOUNDS, 4, [(0.3, 3), (1.2, 1)])
    seconds.observe(0)
    seconds.observe(10**9)  # only known to be above the last bound
    assert seconds.buckets() == [(0.1, 1), (0.3, 3), (1.2, 1), (math.inf, 1)]
    shown = {name: float(number) for name, number in page()["seconds"].items()}
    assert (shown["min"], shown["p50"], shown["p99"], shown["max"]) == (0, 0.3, 1.2, 1.2)
    assert shown == seconds.snapshot()


increasing = st.lists(st.floats(min_value=5e-324, allow_infinity=False, exclude_min=False), min_size=1, max_size=50)


@given(bounds=increasing.map(lambda found: tuple(sorted({*found}))), values=st.lists(st.floats(0, 1e300), max_size=50))
def test_a_value_is_in_the_bucket_that_ends_at_or_after_it(bounds: tuple[float, ...], values: list[float]) -> None:
    histogram = Histogram(bounds=bounds)
    values += [*bounds, *(math.nextafter(bound, math.inf) for bound in bounds[:-1])]
    for value in values:
        histogram.observe(value)
    expected = {
        upper: number
        for lower, upper in pairwise((-1.0, *bounds, math.inf))
        if (number := sum(lower < value <= upper for value in values))
    }
    assert dict(histogram.buckets()) == expected


@pytest.mark.parametrize("wrong", [-1, math.nan, math.inf])
def test_what_no_length_of_time_can_be_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="finite numbers from 0 on"):
        Histogram(bounds=BOUNDS).observe(wrong)


@pytest.mark.parametrize(
    ("bounds", "error", "words"),
    [
        ((), ValueError, "1 to 50"),
        (range(1, 52), ValueError, "1 to 50"),
        ((1, 1), ValueError, "each larger"),
        ((2, 1), ValueError, "each larger"),
        ((0, 1), ValueError, "over 0"),
        ((-1,), ValueError, "over 0"),
        ((-0.0,), ValueError, "over 0"),
        ((math.nan,), ValueError, "finite"),
        ((1, math.nan, 2), ValueError, "finite"),
        ((1, math.inf), ValueError, "finite"),
        ((10**400,), ValueError, "finite"),
        ("123", TypeError, "a collection of numbers"),
        (b"123", TypeError, "a collection of numbers"),
        (3, TypeError, "a collection of numbers"),
        (("1",), TypeError, "a collection of numbers"),
        (([1],), TypeError, "a collection of numbers"),
    ],
)
def test_what_are_no_bounds(bounds: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Histogram(bounds=bounds)


def test_any_collection_of_numbers_is_taken() -> None:
    assert Histogram(bounds=range(1, 51)).bounds == tuple(map(float, range(1, 51)))
    assert Histogram(bounds=(each for each in BOUNDS)).bounds == BOUNDS
    assert Histogram().bounds is None


def test_a_name_is_shared_with_the_same_bounds_only(registry: Registry) -> None:
    mine = registry.publish("seconds", Histogram(bounds=BOUNDS))
    assert registry.publish("seconds", Histogram(bounds=[*BOUNDS]), exist_ok=True) is mine
    for other in (Histogram(), Histogram(bounds=(0.1, 0.3))):
        with pytest.raises(DuplicateNameError, match="the same bounds"):
            registry.publish("seconds", other, exist_ok=True)


def buckets(text: str, name: str) -> dict[str, float]:
    """By `le`."""
    found = re.findall("^" + name + r'_bucket.*[{,]le="([^"]*)".*} (.*)$', text, re.MULTILINE)
    assert found
    return {bound: float(number) for bound, number in found}


def test_the_buckets_of_prometheus_are_these(registry: Registry, respond: Callable[..., Response]) -> None:
    seconds = registry.publish("seconds", Histogram(bounds=BOUNDS))
    sizes = registry.publish("sizes", Histogram(bounds=(0.00001, 1e6, 1234567, 2**53 + 2, 1e22)), unit="bytes")
    routes = registry.publish("routes", Map(label="route"))
    routes.set("/", Histogram(bounds=(1,)))
    for value in (0.1, 0.3, 0.30000000000000004, 1.2, 7):
        seconds.observe(value)
        sizes.observe(value)
    text = respond("/debug/metrics").body.decode()
    assert buckets(text, "seconds") == {"0.1": 1, "0.3": 2, "1.2": 4, "+Inf": 5}
    assert "seconds_count 5" in text
    found = buckets(text, "sizes_bytes")
    assert [*found] == ["1e-05", "1e+06", "1.234567e+06", "9.007199254740994e+15", "1e+22", "+Inf"]
    assert [*map(float, found)] == [0.00001, 1e6, 1234567, 2**53 + 2, 1e22, math.inf]
    assert buckets(text, "routes") == {"1.0": 0, "+Inf": 0}


WORKERS = """
import json, logging, os, signal, sys
import pyvars
logging.getLogger("pyvars").addHandler(logging.NullHandler())
from pyvars import Histogram, Map
from pyvars.site.default import debug
from pyvars.access.request import Request, deadline
site = debug(None, None, prefix="/debug")
def ask(path):
    request = Request("GET", path, "", None, "", (("host", "localhost"),), "127.0.0.1", "1.1", deadline())
    return site.respond(request).body.decode()
def publish(bounds):
    seconds = pyvars.publish("seconds", Histogram(bounds=bounds))
    routes = pyvars.publish("routes", Map(label="route"))
    routes.set("/", Histogram(bounds=bounds))
    for histogram in (seconds, routes.var("/")):
        for value in (0.1, 0.2, 1, 5):
            histogram.observe(value)
first, second, third, kills = json.loads(sys.argv[1])
pids = []
for bounds in (second, third):
    ready = os.pipe()
    pid = os.fork()
    if not pid:
        if bounds:
            publish(bounds if bounds != "default" else None)
        os.write(ready[1], b"x")
        signal.pause()
    os.read(ready[0], 1)
    pids.append(pid)
if kills:
    os.kill(pids[0], 9)
    os.waitpid(pids[0], 0)
if first:
    publish(first if first != "default" else None)
print(json.dumps([ask("/debug/vars"), ask("/debug/vars/seconds"), ask("/debug/metrics")]))
for pid in pids[kills:]:
    os.kill(pid, 9)
    os.waitpid(pid, 0)
"""


def of_workers(directory: Path, *case: object) -> tuple[Any, Any, str]:
    directory.chmod(0o700)
    environment = {"PYVARS_NATIVE": os.environ["PYVARS_NATIVE"], "PYVARS_SHARE": str(directory)}
    page, one, metrics = json.loads(output(WORKERS, json.dumps(case), **environment))
    return json.loads(page), json.loads(one), metrics


@pytest.mark.parametrize("first", [BOUNDS, None])
@pytest.mark.parametrize("kills", [0, 1])
def test_they_are_exact_over_all_workers(tmp_path: Path, first: Any, kills: int) -> None:
    """Also over ended workers, and on the page of a worker that has not published the Histogram."""
    page, one, metrics = of_workers(tmp_path, first, BOUNDS, BOUNDS, kills)
    number = 3 if first else 2
    assert page["seconds"] == page["routes"]["/"] == one
    quantiles = {"min": 0.0, "max": 1.2, "p50": 0.3, "p90": 1.2, "p99": 1.2}
    assert one == {"count": 4 * number, "sum": pytest.approx(6.3 * number), **quantiles}
    expected = {"0.1": number, "0.3": 2 * number, "1.2": 3 * number, "+Inf": 4 * number}
    assert buckets(metrics, "seconds") == expected
    if first:  # the label of a Map is known to workers that have the Map
        assert buckets(metrics, "routes") == expected
    assert "pyvars.errors" not in page


@pytest.mark.parametrize(
    ("first", "second", "third", "kills"),
    [
        (BOUNDS, (0.1, 0.3), BOUNDS, 0),
        (BOUNDS, (0.1, 0.3), BOUNDS, 1),
        (BOUNDS, (0.1, 0.3, 1.2, 2), BOUNDS, 0),
        (BOUNDS, (0.2,), None, 1),
        (BOUNDS, "default", None, 0),
        (BOUNDS, "default", None, 1),
        ("default", BOUNDS, None, 0),
        ("default", BOUNDS, None, 1),
        (None, BOUNDS, (0.3, 1.2), 0),
        (None, BOUNDS, "default", 0),
    ],
)
def test_other_bounds_in_another_worker_are_an_error(
    tmp_path: Path, first: Any, second: Any, third: Any, kills: int
) -> None:
    page, one, metrics = of_workers(tmp_path, first, second, third, kills)
    assert (page["seconds"], page["routes"]["/"], one) == (None, None, None)
    assert {label: each["type"] for label, each in page["pyvars.errors"].items()} == {
        "seconds": "BoundsError",
        "routes./": "BoundsError",
    }
    assert 'pyvars_left_out{reason="BoundsError",variable="seconds"} 1' in metrics
    assert 'pyvars_left_out{reason="BoundsError",variable="routes./"} 1' in metrics
    assert "seconds_bucket" not in metrics
