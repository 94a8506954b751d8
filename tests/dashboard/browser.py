"""Opens the page in Chromium, as a user does, and records the errors that the browser reports."""

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.tools import lacking, library, tool

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
MARKUP = "<img src=x onerror=alert(1)>"
LONG = "long" + "x" * 240
"""Names of variables."""
AXE = "axe-core@4.14.1"

# A list, since violations may come before the test asks for them.
_WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective));
"""


@contextmanager
def chromium() -> Iterator[Any]:
    """Chromium, driven by playwright. The test is skipped if one of them is missing."""
    path = tool("chromium")
    with library("playwright.sync_api", "none").sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*FLAGS])
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """A tab that has the page open."""

    def __init__(self, browser: Any, url: str, *, size: tuple[int, int] = (1280, 800), **context: Any) -> None:
        self.context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **context)
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.responses: list[Any] = []
        self.page.add_init_script(_WATCH)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: self._said(message))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("response", lambda response: self.responses.append(response))
        self.origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        self.first = self.page.goto(url)

    def _said(self, message: Any) -> None:
        # The browser itself logs an error if the service is gone or refuses a request.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.errors.append(message.text)

    def ready(self) -> "Tab":
        """Wait until the page is drawn."""
        self.page.wait_for_selector("html[data-ready]", state="attached", timeout=30_000)
        return self

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))

    def until(self, check: Callable[[], object], what: str, seconds: float = 30) -> None:
        """Wait for a condition. playwright would evaluate it in the page by eval, which the policy forbids."""
        for _ in range(int(seconds * 20)):
            if check():
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"{what}: {self.text('body')[:2000]}")

    def row(self, name: str) -> dict[str, str] | None:
        """The texts of the row of a variable; None if there is none."""
        row = self.page.query_selector(f"tr.row[data-name={json.dumps(name, ensure_ascii=False)}]")
        return row and {part: row.query_selector(f".{part}").text_content() for part in ("name", "value", "rate")}

    def clean(self) -> None:
        """Assert that the browser reported no error, and that nothing was loaded from other hosts."""
        assert self.errors == []
        assert self.page.evaluate("violations") == []
        assert {url for url in self.requests if not url.startswith((self.origin, "data:"))} == set()

    def close(self) -> None:
        self.context.close()


def axe() -> str:
    """The script of axe-core, which npm has; without it the test is skipped."""
    kept = Path(tempfile.gettempdir(), f"pyvars-tests-{AXE}.js")
    if not kept.exists():
        with tempfile.TemporaryDirectory() as folder:
            try:
                subprocess.run(
                    [tool("npm"), "pack", "--silent", AXE], cwd=folder, check=True, capture_output=True, timeout=60
                )
                subprocess.run(
                    ["tar", "xf", *Path(folder).glob("*.tgz"), "-C", folder], check=True, capture_output=True
                )
            except (subprocess.SubprocessError, OSError):
                lacking(AXE, "none, but of npm")
            Path(folder, "package", "axe.min.js").rename(kept)
    return kept.read_text()
