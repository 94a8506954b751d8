"""Reads a page of pyvars or of Go's expvar over HTTP, and formats it for a terminal. The inverse of `formats/`."""

import base64
import json
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import cast
from urllib.parse import unquote, urlsplit

__all__ = ("fetch", "first_token", "lines")

MAX_PAGE_BYTES = 256 * 1024 * 1024
"""At most so much of a response is read."""
MAX_ITEMS = 8
"""A longer array, such as the 256 pauses of memstats, is shortened unless it is requested by its name."""


def first_token(path: str) -> str:
    """The first token of a token file, which has one on each line.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no token.
    """
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                return line.strip()
    raise ValueError(f"{path} holds no token")


def fetch(url: str, timeout: float, *, token: str | None = None) -> dict[str, object]:
    """Fetch the page at `url`, which may be a port, host, or host:port alone.

    User and password in the URL are sent as Basic, `token` as Bearer; neither is sent again after a redirect.

    Raises:
        OSError: there is no response within `timeout` seconds, or it is an error.
        ValueError: `url` is no http URL, or the response is no page of variables.
    """
    if url.isdigit():
        url = f"127.0.0.1:{url}"
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not an http URL")
    user, at, place = parts.netloc.rpartition("@")
    if parts.port is None and "://" not in url:
        place += ":6060"
    parts = parts._replace(netloc=place, path=parts.path or "/debug/vars", fragment="")
    request = urllib.request.Request(parts.geturl())
    if at:
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(unquote(user).encode()).decode()}")
    if token is not None:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy: the program is near
    with opener.open(request, timeout=timeout) as answer:
        body = answer.read(MAX_PAGE_BYTES)
    try:
        page: object = json.loads(body)
    except ValueError:
        page = None
    if not isinstance(page, dict):
        raise ValueError("the response is no page of variables (no JSON object)")
    return cast("dict[str, object]", page)


def lines(page: dict[str, object], names: Sequence[str], *, human: bool) -> Iterator[str]:
    """A line for each figure, sorted and aligned; with `names`, only for these and the figures below them.

    Raises:
        LookupError: a name is not on the page.
    """
    figures = dict(sorted(_flat(page)))
    for name in names:
        if name not in page and not any(_is_below(figure, name) for figure in figures):
            raise LookupError(f"no variable {name!r} on the page")
    if names:
        figures = {figure: value for figure, value in figures.items() if any(_is_below(figure, name) for name in names)}
    errors = page.get("pyvars.errors")
    reasons = cast("dict[str, object]", errors) if isinstance(errors, dict) else {}
    width = max((len(_text(figure)) for figure in figures), default=0)
    for figure, value in figures.items():
        shown = _shown(figure, value, human=human, whole=figure in names)
        reason = reasons.get(figure)
        if value is None and isinstance(reason, dict):
            shown += f" ({cast('dict[str, object]', reason).get('type')})"
        yield f"{_text(figure):{width}}  {shown}"


def _is_below(figure: str, name: str) -> bool:
    return figure == name or figure.startswith(f"{name}.")


def _flat(value: dict[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, item in value.items():
        if isinstance(item, dict) and item:
            yield from _flat(cast("dict[str, object]", item), f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", item


def _shown(figure: str, value: object, *, human: bool, whole: bool) -> str:
    if isinstance(value, list) and not whole:
        items = cast("list[object]", value)
        return _json(items) if len(items) <= MAX_ITEMS else f"{_json(items[:MAX_ITEMS])[:-1]}, … {len(items)} in all]"
    if human and isinstance(value, int | float) and not isinstance(value, bool):
        return _human(figure, value)
    return _text(value) if isinstance(value, str) else _json(value)  # pyright: ignore[reportUnknownArgumentType]


def _text(text: str) -> str:
    """Printable text as it is; other text as JSON, so that it cannot control the terminal."""
    return text if text.isprintable() else _json(text)


def _json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(value)


_COUNTS = frozenset(
    ("Lookups", "Mallocs", "Frees", "HeapObjects", "NumGC", "NumForcedGC", "GCCPUFraction", "LastGC", "PauseTotalNs")
)
"""The figures of memstats that are not in bytes."""


def _human(figure: str, value: float) -> str:
    name = figure.rpartition(".")[2]
    if name.endswith("_bytes") or (figure.startswith("memstats.") and name not in _COUNTS):
        for unit in ("B", "KiB", "MiB", "GiB"):
            if abs(value) < 1024:
                return f"{value:.4g} {unit}"
            value /= 1024
        return f"{value:.4g} TiB"
    if name.endswith(("_ns", "Ns")):
        return _duration(value / 1e9)
    if name == "start_time_seconds":
        return datetime.fromtimestamp(value, UTC).isoformat(sep=" ", timespec="seconds")
    if name.endswith("_seconds"):
        return _duration(value)
    if name == "pid":
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"


def _duration(seconds: float) -> str:
    for limit, factor, unit in ((1e-6, 1e9, "ns"), (1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (120.0, 1.0, "s")):
        if abs(seconds) < limit:
            return f"{seconds * factor:.4g} {unit}"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
