"""The page in a real browser, served by a real service: its texts, and the errors that the browser reports."""

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.conftest import strict
from tests.dashboard.browser import LONG, MARKUP, Tab, axe, chromium
from tests.services import fetch, free_port, service

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(180)]
SERVICE = "tests.dashboard.services"
TOKEN = "a-token-of-sixteen-characters"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def port(browser: Any) -> Iterator[int]:
    """The port of a service that tests share if they do not stop or block it."""
    port = free_port()
    with service("uvicorn", f"{SERVICE}:app", "--port", str(port), "--log-level", "warning", ready=port):
        yield port


@pytest.fixture
def opened(browser: Any) -> Iterator[Any]:
    """Returns a function that opens a page; the pages are closed after the test."""
    with ExitStack() as stack:

        def open_page(url: str, **options: Any) -> Tab:
            tab = Tab(browser, url, **options)
            stack.callback(tab.close)
            return tab

        yield open_page


@pytest.fixture
def tab(opened: Any, port: int) -> Tab:
    found: Tab = opened(f"http://127.0.0.1:{port}/debug/").ready()
    return found


def test_a_visit_is_small_and_asks_this_service_alone(tab: Tab) -> None:
    tab.until(lambda: tab.row("ticks"), "the row of a variable")
    sizes = [each.request.sizes() for each in tab.responses]
    assert len(sizes) <= 9
    assert sum(size["responseBodySize"] + size["responseHeadersSize"] for size in sizes) <= 100_000
    tab.clean()


def test_numbers_move_and_counters_are_rates(tab: Tab, port: int) -> None:
    first = tab.row("ticks")
    assert first
    tab.until(lambda: tab.row("ticks") != first, "a value that moves", 10)
    counted, began = strict(fetch(port, "/debug/vars/ticks").body), time.monotonic()
    tab.page.wait_for_timeout(6000)
    rate = (strict(fetch(port, "/debug/vars/ticks").body) - counted) / (time.monotonic() - began)
    row = tab.row("ticks")
    assert row
    assert float(row["rate"].removesuffix("/s")) == pytest.approx(rate, rel=0.3)
    level = tab.row("level")
    assert level
    assert level["rate"] == ""  # a gauge has no rate
    tab.clean()


def test_pause_filter_and_resume(tab: Tab) -> None:
    page = tab.page
    page.keyboard.press("p")
    assert tab.text("#pause") == "Resume"
    page.wait_for_timeout(300)  # answers that were on their way
    before, asked = tab.row("ticks"), len(tab.requests)
    page.wait_for_timeout(2500)
    assert tab.row("ticks") == before
    assert len(tab.requests) == asked
    page.keyboard.press("/")
    page.keyboard.type("no such name")
    assert "No variable matches" in tab.text("#variables")
    page.click("text=Clear filter")
    page.fill("#filter", "TICK")
    assert [row.get_attribute("data-name") for row in page.query_selector_all("tr.row")] == ["ticks"]
    assert page.url.endswith("#q=TICK")
    page.keyboard.press("Escape")
    assert page.input_value("#filter") == ""
    page.click("#pause")
    tab.until(lambda: tab.row("ticks") != before, "a value that moves again", 10)
    tab.clean()


def test_functions_that_raise_or_hang_are_one_row_each(tab: Tab) -> None:
    tab.until(lambda: "ZeroDivisionError" in (tab.row("broken") or {"value": ""})["value"], "the name of the exception")
    assert tab.page.query_selector("tr.failed[data-name=broken]")
    first = tab.row("ticks")
    tab.until(lambda: tab.row("ticks") != first, "a value that moves beside a slow function", 10)


def test_names_and_values_are_text(tab: Tab) -> None:
    tab.until(lambda: tab.row("markup"), "the row")
    assert tab.page.query_selector("img") is None
    release = tab.row("release")
    assert release
    assert release["value"] == f"1.4 {MARKUP}"
    assert tab.row(f"markup.{MARKUP}")
    largest, nothing = tab.row("largest"), tab.row("nothing")
    assert largest
    assert nothing
    assert largest["value"] == str(2**63 - 1)  # not rounded to a number of JavaScript
    assert nothing["value"] == "null"
    assert tab.row("emoji 🐍")
    assert tab.row(LONG)
    tab.clean()


def test_maps_show_their_busiest_keys_and_the_others_on_demand(tab: Tab) -> None:
    def keys() -> int:
        return len(tab.page.query_selector_all("tr.row[data-name^='words.']"))

    assert keys() == 20
    tab.page.click("text=show 40 more")
    assert keys() == 60


def test_a_variable_opens_to_a_chart_and_the_address_tells_it(tab: Tab, opened: Any) -> None:
    tab.page.click("tr.row[data-name=took_seconds] .name")
    tab.page.wait_for_selector("tr.detail canvas")
    tab.page.keyboard.press("1")
    other = opened(tab.page.url).ready()
    other.page.wait_for_selector("tr.detail canvas")
    assert other.page.get_attribute("[data-range='60']", "aria-pressed") == "true"
    other.clean()


def test_a_baseline_shows_what_has_changed_since(tab: Tab) -> None:
    tab.until(lambda: (tab.row("ticks") or {"rate": ""})["rate"].endswith("/s"), "two samples")
    tab.page.keyboard.press("b")
    tab.until(lambda: "+" in tab.page.text_content("tr.row[data-name=ticks] .delta"), "a difference")
    assert "Δ since" in tab.text("#variables thead")


def test_a_hidden_page_asks_nothing(tab: Tab) -> None:
    tab.page.evaluate(
        "Object.defineProperty(document, 'hidden', {configurable: true, get: () => true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    tab.page.wait_for_timeout(1500)
    asked, shown = len(tab.requests), tab.row("ticks")
    tab.page.wait_for_timeout(2500)
    assert len(tab.requests) == asked
    tab.page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    tab.until(lambda: tab.row("ticks") != shown, "what it missed", 10)


def test_charts_share_a_zoom(tab: Tab) -> None:
    tab.until(lambda: len(tab.page.query_selector_all("#charts .uplot")) >= 4, "the charts")
    over = tab.page.locator("#charts .u-over").first
    over.scroll_into_view_if_needed()
    box = over.bounding_box()
    tab.page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40)
    tab.page.mouse.down()
    tab.page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 40, steps=4)
    tab.page.mouse.up()
    tab.until(lambda: "z=" in tab.page.url, "the zoom in the address")
    assert tab.page.is_visible("#zoomed")
    over.dblclick()
    tab.until(lambda: "z=" not in tab.page.url, "no zoom")
    tab.clean()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(opened: Any, port: int, scheme: str) -> None:
    script = axe()
    tab = opened(f"http://127.0.0.1:{port}/debug/#row=ticks", color_scheme=scheme, bypass_csp=True).ready()
    tab.page.wait_for_timeout(1500)
    tab.page.add_script_tag(content=script)
    found = tab.page.evaluate(
        "axe.run().then((found) => found.violations.map((each) => [each.id, each.nodes[0].html]))"
    )
    assert found == []


@pytest.mark.parametrize("size", [(360, 740), (640, 400), (1280, 800)])
def test_nothing_scrolls_sideways(opened: Any, port: int, size: tuple[int, int]) -> None:
    tab = opened(
        f"http://127.0.0.1:{port}/debug/#row=took_seconds&open=http,asyncio,process,memstats,gc", size=size
    ).ready()
    tab.until(lambda: tab.page.query_selector("#charts .uplot"), "the charts")
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_the_keyboard_is_enough(tab: Tab) -> None:
    tab.page.keyboard.press("?")
    assert tab.page.is_visible("#help")
    tab.page.keyboard.press("Escape")
    assert not tab.page.is_visible("#help")
    tab.page.focus("tr.row[data-name=ticks] .name")
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_selector("tr.detail canvas")
    tab.page.keyboard.press("Enter")
    assert tab.page.query_selector("tr.detail") is None


def test_three_hundred_variables(opened: Any, browser: Any) -> None:
    port = free_port()
    with service("uvicorn", f"{SERVICE}:app", "--port", str(port), ready=port, PYVARS_TEST_VARIABLES="300"):
        tab = opened(f"http://127.0.0.1:{port}/debug/").ready()
        tab.until(lambda: len(tab.page.query_selector_all("tr.row[data-name^=part]")) == 300, "the rows")
        tab.page.fill("#filter", "part7_145")
        assert tab.row("part7_145")
        tab.clean()


def test_a_service_that_is_gone_is_told_and_comes_back(opened: Any, browser: Any) -> None:
    port = free_port()
    command = ("uvicorn", f"{SERVICE}:app", "--port", str(port), "--log-level", "warning")
    with service(*command, ready=port) as process:
        tab = opened(f"http://127.0.0.1:{port}/debug/").ready()
        tab.until(lambda: (tab.row("ticks") or {"rate": ""})["rate"].endswith("/s"), "two samples")
        process.terminate()
        process.wait(10)  # an open page does not delay the end of the service
        tab.until(lambda: "No answer for" in tab.text("#banner"), "the banner", 10)
        assert "last data kept" in tab.text("#banner")
        assert tab.row("ticks")
    with service(*command, ready=port):
        tab.until(lambda: tab.text("#banner") == "", "an answer again")
        tab.until(lambda: "started" in tab.text("#events"), "the mark of the restart")
        tab.page.keyboard.press("p")
        assert tab.text("#pause") == "Resume"
    tab.clean()


def test_the_stuck_worker_is_named(opened: Any, browser: Any) -> None:
    port = free_port()
    command = ("gunicorn", "--workers", "3", "--bind", f"127.0.0.1:{port}", f"{SERVICE}:wsgi_app")
    with service(*command, ready=port):
        until = time.monotonic() + 30
        while (found := strict(fetch(port, "/debug/workers").body))["live"] < 3:
            assert time.monotonic() < until
        pid = int(found["workers"][0]["pid"])
        tab = opened(f"http://127.0.0.1:{port}/debug/").ready()
        os.kill(pid, signal.SIGSTOP)
        try:
            tab.until(lambda: f"Worker {pid} is stopped" in tab.text("#banner"), "the name of the worker", 20)
            assert str(pid) in tab.text("#workers tr.stuck")
            assert "STOPPED" in tab.text("#workers tr.stuck")
            assert "stuck" in tab.page.title()
        finally:
            os.kill(pid, signal.SIGCONT)
        tab.until(lambda: tab.text("#banner") == "", "all well again")
        tab.page.select_option("#worker", str(pid))
        tab.until(lambda: f"worker {pid} alone" in tab.text("#facts"), "the figures of one worker")
        tab.until(lambda: f"this page has read from worker {pid}" in tab.text("#source"), "whose history it is")
        assert f"w={pid}" in tab.page.url
        tab.clean()


def test_without_a_history_it_keeps_its_own_and_says_so(opened: Any, browser: Any) -> None:
    port = free_port()
    with service("uvicorn", f"{SERVICE}:app", "--port", str(port), ready=port, PYVARS_HISTORY="off"):
        tab = opened(f"http://127.0.0.1:{port}/debug/").ready()
        tab.until(lambda: "keeps no history" in tab.text("#source"), "the reason")
        assert "PYVARS_HISTORY" in tab.text("#source")
        tab.until(lambda: re.match(r"~?\d", (tab.row("ticks") or {"rate": ""})["rate"]), "the rate of a counter")
        tab.clean()


def test_who_may_not_look_is_told_and_a_password_opens_it(opened: Any, browser: Any) -> None:
    port = free_port()
    with service("uvicorn", f"{SERVICE}:guarded", "--port", str(port), ready=port):
        url = f"http://127.0.0.1:{port}/debug/"
        assert fetch(port, "/debug/").status == 401
        credential = {"username": "", "password": TOKEN}
        tab = opened(url, http_credentials=credential).ready()
        assert tab.first.status == 200
        tab.page.route("**/history*", lambda route: route.fulfill(status=401))
        tab.until(lambda: "Not allowed" in tab.text("#banner"), "the banner")
        asked = len(tab.requests)
        tab.page.wait_for_timeout(2500)
        assert len(tab.requests) == asked
        tab.page.unroute("**/history*")
        tab.page.click("text=Try again")
        tab.until(lambda: tab.text("#banner") == "", "an answer again")


def test_it_works_below_any_prefix_and_at_the_root_of_a_side_port(opened: Any, browser: Any) -> None:
    port, side = free_port(), free_port()
    with service("uvicorn", f"{SERVICE}:deep", "--port", str(port), ready=port):
        opened(f"http://127.0.0.1:{port}/a/b/debug/").ready().clean()
    with service("pyvars", "--port", str(side), "examples/worker.py", "60", ready=side):
        for path in ("/", "/debug/"):
            tab = opened(f"http://127.0.0.1:{side}{path}").ready()
            tab.until(lambda tab=tab: tab.row("jobs"), "the row")
            tab.clean()
