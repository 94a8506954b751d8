"""Takes the pictures of the README: `make pictures`. It starts the busy shop, and opens its page after some minutes."""

import sys
import time
from base64 import b64decode
from pathlib import Path

from tests.dashboard.browser import Tab, chromium
from tests.programs import ROOT
from tests.services import free_port, service

FOLDER = ROOT / "examples" / "pictures"
MAX_BYTES = 150_000
PICTURES = {
    "page.webp": ((1280, 800), "light"),
    "page-dark.webp": ((1280, 800), "dark"),
    "page-mobile.webp": ((360, 740), "light"),
}


def take(url: str, folder: Path) -> None:
    """Take all pictures of the page at this URL."""
    folder.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        for name, (size, scheme) in PICTURES.items():
            tab = Tab(browser, url, size=size, color_scheme=scheme).ready()
            tab.page.wait_for_timeout(12_000)  # until the workers and the points of the charts are read
            shot = tab.context.new_cdp_session(tab.page).send(
                "Page.captureScreenshot", {"format": "webp", "quality": 90}
            )
            picture = b64decode(shot["data"])  # playwright itself knows only PNG, which is twice as long
            tab.close()
            print(f"{folder / name}  {len(picture) / 1000:.0f} kB")
            assert len(picture) <= MAX_BYTES
            (folder / name).write_bytes(picture)


def main(minutes: float = 11) -> None:
    """Start the shop, let it run, and take the pictures."""
    port = free_port()
    with service("examples.busy_shop", str(port), ready=port):
        time.sleep(minutes * 60)
        take(f"http://127.0.0.1:{port}/debug/", FOLDER)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
