"""`pyvars history`: prints the history of a running program, or the history in a file."""

import csv
import io
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import urlencode

from pyvars.cli.figures import printable
from pyvars.cli.reader import Page, Shown, print_lines, reader, show
from pyvars.cli.usage import failed

__all__ = ("main",)

SPANS = 720
"""The maximum number of points of a series."""


def main(arguments: Sequence[str]) -> int:
    """Run the command. Returns the exit status."""
    parser = reader("history")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--csv", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--step", choices=("1", "10"), default="1")
    options = parser.parse_intermixed_args(arguments)

    def view(page: Page) -> Shown:
        if page.get("reason"):
            raise ValueError(f"there is no history: {printable(str(page['reason']))}")
        try:
            lines = [json.dumps(page)] if options.json else [*(_csv(page) if options.csv else _table(page))]
            names = [*_series(page, "series")]
        except (TypeError, AttributeError, KeyError, ValueError, OverflowError):
            raise ValueError("the response is not a history") from None
        unknown = [name for name in options.names if not any(each.startswith(name) for each in names)]
        return Shown(lines, [f"no series begins with {name!r}" for name in unknown])

    if _is_file(options.url):
        return _show_file(options.url, options.names, int(options.step), view)
    if options.url.endswith("/debug/vars"):  # the URL that pyvars announces
        options.url = f"{options.url.removesuffix('vars')}history"
    query = [("step", options.step), *(("name", name) for name in options.names)]
    query += [("points", str(SPANS))] if options.names else []
    return show(options, view, path="/debug/history", query=urlencode(query))


def _is_file(place: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(place).st_mode)
    except (OSError, ValueError):
        return place.startswith(("/", "./", "../"))


def _show_file(path: str, names: Sequence[str], step: int, view: Callable[[Page], Shown]) -> int:
    """Print the whole history in a file, whether its program runs or not."""
    from pyvars.core.own_file import OwnFile
    from pyvars.history.answer import ALL, Question, answer
    from pyvars.history.ring import RingError, RingReader

    try:
        with OwnFile.open(path, os.O_RDONLY) as file:
            page = answer(RingReader(file), Question(0, tuple(names), step, ALL, ALL))
        shown = view(page)
        print_lines(shown.lines)
    except (OSError, ValueError, RingError) as error:
        return failed(f"{path}: {getattr(error, 'strerror', None) or error}")
    return max([0, *(failed(f"{path}: {each}") for each in shown.missing)])


def _csv(page: Page) -> Iterator[str]:
    """Returns a line with the names, then one line for each time."""
    series = _series(page, "series")
    yield _row(["time", *series])
    for moment, *values in zip(cast("list[float]", page["t"]), *series.values(), strict=True):
        yield _row([_time(moment), *("" if value is None else _plain(value) for value in values)])


def _plain(value: object) -> str:
    """The number as a text, without a decimal point if it is whole. Raises TypeError if `value` is not a number."""
    if not isinstance(value, int | float):
        raise TypeError
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _row(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()


def _table(page: Page) -> Iterator[str]:
    """Returns a line for each series, with its first, last, lowest and highest number; then a line for each mark."""
    times = cast("list[float]", page["t"])
    if times:
        yield f"{len(times)} points from {_time(times[0])} to {_time(times[-1])}"
    low = _series(page, "low")
    rows: list[tuple[str, ...]] = [("name", "first", "last", "lowest", "highest")]
    for name, values in _series(page, "series").items():
        there = [value for value in values if value is not None]
        lows = [value for value in low.get(name, values) if value is not None]
        found = (there[0], there[-1], min(lows), max(there)) if there else ()
        rows.append((printable(name), *map(_plain, found), *["-"] * (4 - len(found))))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *cells in rows:
        aligned = [f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True)]
        yield "  ".join([f"{name:{widths[0]}}", *aligned])
    for mark in cast("list[Mapping[str, Any]]", page.get("marks") or []):
        yield f"{_time(mark['time'])}  {printable(str(mark['text']))}"


def _series(page: Page, key: str) -> dict[str, list[Any]]:
    return {**cast("dict[str, list[Any]]", page.get(key, {}))}


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
