"""Measures the page of a running service in a real browser: `python -m tests.dashboard.measure URL`.

For comparable figures, the service has 300 variables and has run for ten minutes.
"""

import sys
from typing import Any

from tests.dashboard.browser import Tab, chromium

TICKS = "performance.getEntriesByName('pyvars-tick').map((each) => each.duration)"
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
DRAWN = "performance.getEntriesByName('pyvars-tick')[0]"


def measure(browser: Any, url: str, seconds: int = 15) -> None:
    """Open the page, wait for `seconds`, and print the figures."""
    tab = Tab(browser, url).ready()
    page = tab.page
    painted = page.evaluate(PAINTED)
    drawn = page.evaluate(f"{DRAWN}.startTime + {DRAWN}.duration")
    sizes = [(each.url.rsplit("/", 1)[-1], each.request.sizes()) for each in tab.responses]
    total = sum(size["responseBodySize"] + size["responseHeadersSize"] for _, size in sizes)
    print(f"first contentful paint  {painted:.0f} ms")
    print(f"drawn                   {drawn:.0f} ms")
    print(f"first visit             {total / 1000:.1f} kB in {len(sizes)} requests")
    for name, size in sizes:
        print(f"  {name[:40]:40} {(size['responseBodySize'] + size['responseHeadersSize']) / 1000:6.1f} kB")
    page.wait_for_timeout(seconds * 1000)
    ticks = sorted(page.evaluate(TICKS)[1:])
    print(
        f"a tick                  {ticks[len(ticks) // 2]:.1f} ms (median of {len(ticks)}), at most {ticks[-1]:.1f} ms"
    )
    print(f"rows                    {len(page.query_selector_all('tr.row'))}")
    tab.clean()
    tab.close()


if __name__ == "__main__":
    with chromium() as browser:
        measure(browser, sys.argv[1])
