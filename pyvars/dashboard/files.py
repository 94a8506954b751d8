"""The files of the page in a browser: joined when the first integration is made, compressed at the first request.

The JavaScript modules are joined into one file, which takes one request instead of fifteen. Each module becomes a
function that returns its exports. The indentation of lines, empty lines and whole lines of comments are removed.
"""

import gzip
import re
from functools import cached_property
from hashlib import sha256
from pkgutil import get_data

__all__ = ("DIGEST", "FILES", "MODULES", "PAGE", "File")

MODULES: tuple[str, ...] = (
    *("dom", "format", "names", "series", "address", "sparkline", "feed", "rows"),
    *("plot", "tiles", "charts", "variables", "side", "routes", "main"),
)
"""The modules in the order in which they are joined: each imports only from earlier ones."""

_IMPORT = re.compile(r'^import (?:\* as (\w+)|\{([^}]*)\}) from "\./(\w+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:const|function|class) ([\w$]+))", re.MULTILINE)
_SKIPPED = re.compile(r"^\s+|^\s*//.*\n|^\s*\n", re.MULTILINE)


class File:
    """A file that the page in a browser loads."""

    def __init__(self, content: bytes, content_type: str) -> None:
        self.content = content
        self.content_type = content_type

    @cached_property
    def compressed(self) -> bytes:
        """The content as gzip; the time in its header is 0, so that all workers send the same bytes."""
        return gzip.compress(self.content, 9, mtime=0)


def _read(name: str) -> bytes:
    content = get_data("pyvars.dashboard", name)
    assert content is not None  # the loaders of files, zip archives and frozen programs all read data
    return content


def _joined(name: str) -> str:
    """The source of a module as a function that is called at once and returns the exports of the module."""
    source = _SKIPPED.sub("", _read(f"assets/{name}.js").decode())
    exported = ", ".join(found[1] for found in _EXPORT.findall(source))
    source = _EXPORT.sub(r"\1", _IMPORT.sub(lambda found: _taken(*found.groups()), source))
    return f"const {name}_js = (() => {{\n{source}return {{ {exported} }};\n}})();\n"


def _taken(whole: str | None, names: str | None, module: str) -> str:
    return f"const {whole or f'{{{names}}}'} = {module}_js;"


def _files() -> dict[str, File]:
    script = '"use strict";\n' + "".join(map(_joined, MODULES))
    style = _read("vendor/uPlot.min.css") + b"\n" + _read("assets/page.css")
    javascript, css = "text/javascript; charset=utf-8", "text/css; charset=utf-8"
    return {
        "page.js": File(script.encode(), javascript),
        "page.css": File(style, css),
        "uPlot.iife.min.js": File(_read("vendor/uPlot.iife.min.js"), javascript),
    }


PAGE: bytes = _read("assets/index.html")
"""The HTML. `{{at}}`, `{{metrics}}` and `{{files}}` stand for the relative paths of /debug/, the metrics and the files;
`{{memory_limit}}` stands for the limit of the cgroup, in bytes."""
FILES: dict[str, File] = _files()
"""The files by name."""
DIGEST: str = sha256(b"".join(file.content for file in FILES.values())).hexdigest()[:16]
"""A hash of all files. It is part of their URLs, so a new release has new URLs."""
