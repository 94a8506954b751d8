"""The figures of a page, each with its unit, as text for a terminal.

JSON has no units, so the unit of a figure is read from its name, such as `wait_seconds`, `bytes_out` or `PauseTotalNs`.
All figures below the name have the same unit, such as the keys of a Map or the quantiles of a Histogram. The figures of
Go's memstats are in bytes, except those in `_GO`.
"""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from math import isfinite
from typing import Final, Literal, NamedTuple, TypeAlias, cast

__all__ = ("Figure", "Unit", "figures_in", "human", "plain", "printable", "unit_of")

Unit: TypeAlias = Literal["", "B", "s", "ms", "ns", "id"]
"""Bytes, seconds, milliseconds, nanoseconds, or an identifier such as a pid; empty for a number without a unit."""

MAX_ITEMS = 8
"""A longer array, such as the 256 pauses of memstats, is shortened unless it is requested by its name."""

_GO: Final[dict[str, Unit]] = {
    **dict.fromkeys(("LastGC", "PauseEnd", "PauseNs", "PauseTotalNs"), "ns"),
    **dict.fromkeys(("Frees", "GCCPUFraction", "HeapObjects", "Lookups", "Mallocs", "NumForcedGC", "NumGC"), ""),
}
"""The figures of memstats that are not in bytes."""

_HISTOGRAM = {"count", "sum", "min", "max", "p50", "p90", "p99"}
"""The keys of a Histogram. Its count has no unit."""

_NAME = re.compile(r"[\w.-]+")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_ANYWHERE: Final[dict[str, Unit]] = {"seconds": "s", "bytes": "B"}
"""The unit of a name that has one of these words anywhere."""
_LAST: Final[dict[str, Unit]] = {
    "milliseconds": "ms",
    "ms": "ms",
    "nanoseconds": "ns",
    "ns": "ns",
    "pid": "id",
    "port": "id",
}
"""The unit of a name whose last word is one of these."""


class Figure(NamedTuple):
    """One value of a page."""

    name: str
    """The names and keys that lead to it, with dots between them."""
    value: object
    unit: Unit


def figures_in(page: dict[str, object]) -> list[Figure]:
    """Returns the figures of a page, sorted by name."""
    return sorted(_below(page, "", None), key=lambda figure: figure.name)


def _below(values: dict[str, object], prefix: str, unit: Unit | None) -> Iterator[Figure]:
    is_histogram = values.keys() == _HISTOGRAM
    for key, value in values.items():
        own = unit_of(key) if unit is None else unit
        if is_histogram and key == "count":
            own = ""
        elif prefix == "memstats.":
            own = _GO.get(key, "B")
        if isinstance(value, dict) and value:
            yield from _below(cast("dict[str, object]", value), f"{prefix}{key}.", own)
        else:
            yield Figure(f"{prefix}{key}", value, own or "")


def unit_of(name: str) -> Unit | None:
    """Returns the unit in a name; "" if the name says that there is none (`hits_by_route`), None if it says nothing."""
    words = [word.lower() for word in _WORD.findall(name)] if _NAME.fullmatch(name) else []
    told = words[: words.index("by")] if "by" in words else words  # `seconds_by_route`
    if told[-1:] == ["total"]:
        told.pop()
    if not told or "per" in told or told[-1] == "count":
        return None if told == words else ""
    for word in reversed(told):
        if word in _ANYWHERE:
            return _ANYWHERE[word]
    unit = _LAST.get(told[-1])
    return "" if unit is None and told != words else unit


def plain(figure: Figure, *, whole: bool = False) -> str:
    """Returns the value as JSON, or a text without quotes. With `whole`, a long array is not shortened."""
    value = figure.value
    if isinstance(value, str):
        return printable(value)
    if whole or not isinstance(value, list):
        return _json(figure.value)
    items = cast("list[object]", value)
    return _json(items) if len(items) <= MAX_ITEMS else f"{_json(items[:MAX_ITEMS])[:-1]}, … {len(items)} in all]"


def human(figure: Figure, *, whole: bool = False) -> str:
    """Returns the value as `plain` does, but numbers with readable units, such as `23.62 MiB`."""
    value = figure.value
    if isinstance(value, list):
        items = cast("list[object]", value)
        shown = [
            human(Figure(figure.name, each, figure.unit), whole=True)
            for each in (items if whole else items[:MAX_ITEMS])
        ]
        more = [] if len(shown) == len(items) else [f"… {len(items)} in all"]
        return f"[{', '.join(shown + more)}]"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return plain(figure)
    if not isfinite(value) if isinstance(value, float) else abs(value) >= 2**63:
        return str(value)
    return _quantity(figure.name, value, figure.unit)


def _quantity(name: str, value: float, unit: Unit) -> str:
    if unit == "B":
        return _scaled(value, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))
    if unit == "id":
        return str(value)
    if unit == "":
        return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"
    seconds = value / {"s": 1, "ms": 1e3, "ns": 1e9}[unit]
    if 1e9 <= seconds < 1e11 and _is_time(name):
        return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="seconds")
    return _duration(seconds)


def _is_time(name: str) -> bool:
    """Whether the name is that of a time since the epoch, not of a duration."""
    words = {word.lower() for word in _WORD.findall(name.rpartition(".")[2])}
    return bool(words & {"time", "timestamp", "at", "last", "end"})


def _scaled(value: float, step: int, units: tuple[str, ...]) -> str:
    """Returns the number, rounded to 4 digits, in the first unit in which the rounded number is below `step`."""
    for unit in units[:-1]:
        if abs(float(f"{value:.4g}")) < step:
            return f"{value:.4g} {unit}"
        value /= step
    return f"{value:.4g} {units[-1]}"


def _duration(seconds: float) -> str:
    if seconds == 0:
        return "0 s"
    if abs(seconds) < 0.9999_5:
        return _scaled(seconds * 1e9, 1000, ("ns", "µs", "ms"))
    if abs(seconds) < 120:
        return f"{seconds:.4g} s"
    minutes, rest = divmod(round(abs(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    sign = "-" if seconds < 0 else ""
    return sign + (
        f"{days} d {hours} h" if days else f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
    )


def printable(text: str) -> str:
    """Returns printable text as it is; other text as JSON, so that it cannot control the terminal."""
    return text if text.isprintable() else _json(text)


def _json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(value)
