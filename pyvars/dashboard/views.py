"""The views of the page in a browser: one for the HTML, one for the files that the HTML loads."""

from typing import ClassVar

from pyvars.access.request import Request
from pyvars.dashboard.files import DIGEST, FILES, PAGE
from pyvars.runtime import cgroup
from pyvars.site.compression import accepts, compressed
from pyvars.site.gate import View
from pyvars.site.http import Response, respond_with, text

__all__ = ("Files", "Page")

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_OF_PAGE = (("Content-Security-Policy", _POLICY), ("Vary", "Accept"))
_OF_FILES = (("Cache-Control", "private, max-age=31536000, immutable"), ("Vary", "Accept-Encoding"))


class Page(View):
    """Serves the HTML if the path ends with a slash and the client accepts HTML; else the index.

    Below a path without the slash, the relative URLs of the HTML would be wrong, and there is no redirect. `at` is the
    relative path of /debug/, `metrics` that of the metrics.
    """

    description: ClassVar[str] = "the page to look at in a browser; other clients get this list"

    def __init__(self, index: View, *, at: str, metrics: str) -> None:
        self._index = index
        files = f"{at}files/{DIGEST}/"
        self._page = PAGE
        for name, value in (("at", at), ("metrics", metrics), ("files", files)):
            self._page = self._page.replace(b"{{%b}}" % name.encode(), value.encode())

    def respond(self, request: Request, rest: str) -> Response:
        """200 with HTML or with text."""
        if not request.path.endswith("/") or not accepts(request.headers, "accept", "text/html"):
            return self._index.respond(request, rest)
        body = self._page.replace(b"{{memory_limit}}", str(_memory_limit()).encode())
        response = respond_with(200, body, "text/html; charset=utf-8", more_headers=_OF_PAGE)
        return compressed(response) if accepts(request.headers, "accept-encoding", "gzip") else response


class Files(View):
    """Serves the files that the HTML loads, below DIGEST."""

    description: ClassVar[str] = "the files of the page"
    exact: ClassVar[bool] = False

    def respond(self, request: Request, rest: str) -> Response:
        """200 with a file, compressed if the client accepts gzip; 404 for other names, and those of another release."""
        digest, _, name = rest.partition("/")
        file = FILES.get(name)
        if digest != DIGEST or file is None:
            return text(404, "no such file; the page at /debug/ links to the files of this release")
        if not accepts(request.headers, "accept-encoding", "gzip"):
            return respond_with(200, file.content, file.content_type, more_headers=_OF_FILES)
        headers = (*_OF_FILES, ("Content-Encoding", "gzip"))
        return respond_with(200, file.compressed, file.content_type, more_headers=headers)


def _memory_limit() -> int:
    """The memory that the cgroup allows, in bytes; 0 if there is no limit."""
    found = cgroup.memory()
    return found.limit if found is not None else 0
