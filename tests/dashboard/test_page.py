"""The HTML and its files, as each integration serves them. These tests need no browser."""

import gzip
import re
from collections.abc import Iterator
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest

import pyvars
from pyvars import Registry
from pyvars.access import token
from pyvars.dashboard.files import FILES, MODULES
from pyvars.runtime import cgroup
from pyvars.site.default import debug
from tests.conftest import local_request
from tests.integrations.every import ALL, Send, integration

HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
BROWSER = ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
TOKEN = "a-token-of-sixteen-characters"
ROOM = Path(pyvars.__file__).parent / "dashboard"


class Links(HTMLParser):
    """Collects the URLs that the HTML refers to, and the inline code that a strict policy would block."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.files: list[str] = []
        self.links: list[str] = []
        self.inline: list[str] = []
        self.root: dict[str, str | None] = {}
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "html":
            self.root = given
        self.inline += [name for name in given if name == "style" or name.startswith("on")]
        self.inline += [tag] if tag == "style" or (tag == "script" and "src" not in given) else []
        target = given.get("src") or given.get("href")
        if target and not target.startswith("data:"):
            (self.links if tag == "a" else self.files).append(target)


@pytest.fixture(params=ALL)
def name(request: pytest.FixtureRequest) -> str:
    """Each integration in turn."""
    found: str = request.param
    return found


@pytest.fixture
def send(name: str, registry: Registry) -> Iterator[Send]:
    with integration(name, registry) as send:
        yield send


def test_a_browser_gets_the_page_and_all_that_it_refers_to(name: str, send: Send) -> None:
    answer = send("GET", "/debug/", [BROWSER])
    assert (answer.status, answer.headers["content-type"]) == (200, HTML)
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["cache-control"] == "no-store"
    assert "Accept" in answer.headers["vary"]
    page = Links(answer.body)
    assert page.inline == []
    assert len(page.files) == 3
    for file in page.files:
        assert re.fullmatch(r"files/[0-9a-f]{16}/[A-Za-z.]+", file)  # relative: it works wherever it is mounted
        plain = send("GET", f"/debug/{file}", [("Accept-Encoding", "identity")])
        assert (plain.status, plain.headers["cache-control"]) == (200, "private, max-age=31536000, immutable")
        assert plain.headers["vary"] == "Accept-Encoding"
        assert "content-encoding" not in plain.headers
        packed = send("GET", f"/debug/{file}", [("Accept-Encoding", "gzip, br")])
        assert packed.headers["content-encoding"] == "gzip"
        assert int(packed.headers["content-length"]) < int(plain.headers["content-length"])
        body = (
            packed.body if packed.body[:2] != b"\x1f\x8b" else gzip.decompress(packed.body)
        )  # httpx unpacks by itself
        assert body == plain.body
    for link in page.links:
        path = f"/{link.removeprefix('../')}" if link.startswith("../") else f"/debug/{link}"
        assert send("GET", path).status == 200


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "text/html;q=0", "text/*;q=0.5, text/htmlx"])
def test_others_get_the_list_of_paths(registry: Registry, accept: str | None) -> None:
    site = debug(registry, None, prefix="/debug")
    headers = (("host", "localhost"), *((("accept", accept),) if accept else ()))
    response = site.respond(local_request("/debug/", headers=headers))
    assert dict(response.headers)["Content-Type"] == TEXT
    assert b"\n/debug/    the page" in b"\n" + response.body


def test_without_the_slash_it_is_the_list_for_browsers_too(registry: Registry) -> None:
    """Relative URLs would be wrong there. The list names the URL with the slash, below any mount point."""
    site = debug(registry, None, prefix="/debug")
    request = local_request("/debug", headers=(("host", "localhost"), ("accept", BROWSER[1])))
    assert dict(site.respond(request).headers)["Content-Type"] == TEXT
    mounted = request._replace(root="/a b", raw_path="/a%20b/debug")
    assert b"/a%20b/debug/  the page" in site.respond(mounted).body


def test_at_the_root_of_a_side_port_it_refers_to_the_files_below_debug() -> None:
    from pyvars.site.default import side_port

    site = side_port(None, None)
    browser = (("host", "localhost"), ("accept", BROWSER[1]))
    for path, at, metrics in (("/", "debug/", "metrics"), ("/debug/", "", "../metrics")):
        page = Links(site.respond(local_request(path, headers=browser)).body)
        assert (page.root["data-at"], page.root["data-metrics"]) == (at, metrics)
        assert all(file.startswith(f"{at}files/") for file in page.files)
        for file in page.files:
            assert site.respond(local_request(f"/debug/{file.removeprefix('debug/')}")).status == 200


def test_the_limit_of_the_container_is_on_it(registry: Registry) -> None:
    site = debug(registry, None, prefix="/debug")
    response = site.respond(local_request("/debug/", headers=(("host", "localhost"), ("accept", "text/html"))))
    found = cgroup.memory()
    assert Links(response.body).root["data-memory-limit"] == str(found.limit if found else 0)


@pytest.mark.parametrize("rest", ["", "/", "/page.js", "/0123456789abcdef/page.js", "/{digest}/", "/{digest}/main.js"])
def test_there_are_no_other_files(registry: Registry, rest: str) -> None:
    site = debug(registry, None, prefix="/debug")
    page = site.respond(local_request("/debug/", headers=(("host", "localhost"), ("accept", "text/html")))).body
    digest = re.findall(r"files/(\w+)/page.js", page.decode())[0]
    response = site.respond(local_request(f"/debug/files{rest}".replace("{digest}", digest)))
    assert response.status == 404
    assert dict(response.headers)["Cache-Control"] == "no-store"


@pytest.mark.parametrize("encoding", ["gzip;q=0", "br", "identity, gzip; q=0.0"])
def test_who_does_not_take_gzip_gets_none(registry: Registry, encoding: str) -> None:
    site = debug(registry, None, prefix="/debug")
    page = site.respond(local_request("/debug/", headers=(("host", "localhost"), ("accept", "text/html")))).body
    for file in Links(page).files:
        headers = (("host", "localhost"), ("accept-encoding", encoding))
        assert site.respond(local_request(f"/debug/{file}", headers=headers)).body[:2] != b"\x1f\x8b"


def test_one_gate_for_the_page_its_files_and_its_numbers(registry: Registry) -> None:
    """If a credential is needed, the browser is asked for Basic, and sends the credential with each request below."""
    page = debug(registry, None, prefix="/debug").respond(
        local_request("/debug/", headers=(("host", "localhost"), BROWSER))
    )
    guarded = debug(registry, token(TOKEN), prefix="/debug")
    file = f"/debug/{Links(page.body).files[0]}" if page.body.startswith(b"<") else "/debug/files"
    for path in ("/debug/", file, "/debug/history", "/debug/vars", "/debug/workers"):
        refused = guarded.respond(local_request(path))
        assert refused.status == 401
        assert [value for name, value in refused.headers if name == "WWW-Authenticate"][-1].startswith("Basic ")
        assert dict(refused.headers)["Cache-Control"] == "no-store"


def test_a_link_may_be_followed_but_no_other_site_can_take_its_files(registry: Registry) -> None:
    site = debug(registry, None, prefix="/debug")
    link = (("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"))
    browser = (("host", "localhost"), ("accept", BROWSER[1]))
    page = site.respond(local_request("/debug/", headers=(*browser, *link)))
    assert page.status == 200
    script = (("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "script"))
    for file in Links(page.body).files:
        assert site.respond(local_request(f"/debug/{file}", headers=(*browser, *script))).status == 404


def test_every_module_is_in_the_script_and_nothing_of_a_module_is_left() -> None:
    assert {path.stem for path in (ROOM / "assets").glob("*.js")} == {*MODULES}
    script = FILES["page.js"].content.decode()
    assert not re.search(r"^(import|export)\b", script, re.MULTILINE)
    for module in MODULES:
        source = (ROOM / "assets" / f"{module}.js").read_text()
        for imported in re.findall(r'from "\./(\w+)\.js"', source):
            assert MODULES.index(imported) < MODULES.index(module)
        for exported in re.findall(r"^export (?:async )?(?:const|function|class) (\w+)", source, re.MULTILINE):
            assert exported in script
    assert "innerHTML" not in script  # names and values of the program are only ever text


def test_uplot_is_that_of_npm() -> None:
    """The hashes are those of the files in package/dist of uplot-1.6.32.tgz."""
    assert {path.name: sha256(path.read_bytes()).hexdigest()[:16] for path in (ROOM / "vendor").iterdir()} == {
        "LICENSE": "8f989229699b4fe2",
        "uPlot.iife.min.js": "19c8d4c6ad88929a",
        "uPlot.min.css": "df630c6a8d6f8eea",
    }


def test_the_files_are_small() -> None:
    assert sum(len(file.compressed) for file in FILES.values()) <= 53_000
