"""Makes the JSON of `/debug/history`: the points of each series that the client asks for."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from pyvars.history.ring import GAUGE, MISSING, Column, Header, RingReader, Row

__all__ = ("ALL", "MAX_POINTS", "MAX_SERIES", "Question", "answer", "nothing")

MAX_SERIES = 300
"""The maximum number of series in an answer, if the query has no name=."""
MAX_POINTS = 150
"""The maximum number of points of each series in such an answer."""
ALL = 10**9
"""No limit: a history has fewer rows and fewer series."""


class Question(NamedTuple):
    """The parameters of a request for the history."""

    since: int = 0
    """The `seq` of the last answer that the client got; 0 if it has none."""
    names: tuple[str, ...] = ()
    """Prefixes of the names of the series; empty for all series."""
    step: int = 1
    """1 for samples, 10 for spans of 10 s."""
    points: int = MAX_POINTS
    """The maximum number of points of each series."""
    series: int = MAX_SERIES
    """The maximum number of series."""


def answer(ring: RingReader, question: Question) -> dict[str, object]:
    """Returns the answer as plain data.

    If there are more rows than points, each point stands for several rows: it is the last value of a counter, or the
    largest value of a gauge, whose smallest value is in `low`. The client sends `seq` back as `since` next time. `id`
    changes when another life of the program, or another program, goes on with the history.
    """
    header = ring.header()
    spans = question.step != 1
    written = header.spans if spans else header.samples
    first = not 0 < question.since <= written
    newest = ALL if first else written - question.since
    rows = (ring.spans if spans else ring.samples)(header, newest) if newest else []
    width = math.ceil(len(rows) / question.points) if rows else 1
    shown = _shown(ring.columns, question, in_spans=spans)
    series, low = _values(shown, rows, width, in_spans=spans)
    found: dict[str, object] = {
        "v": 1,
        "id": f"{header.group:x}-{header.life}",
        "seq": written,
        "step": question.step,
        "t": [round(each, 3) for each in _last_of([row[0] for row in rows], width)],
        "series": series,
    }
    if spans or width > 1:
        found["low"] = low
    if first:
        found["meta"] = _meta(ring.columns, header, [column for column, _ in shown])
    marks = [mark._asdict() for mark in ring.marks()]
    found["marks"] = marks if first else [mark for mark in marks if rows and mark["time"] >= rows[0][0] - 10]
    return found


def nothing(reason: str, question: Question) -> dict[str, object]:
    """Returns the answer if there is no history. `reason` says why there is none; it is empty if one begins soon."""
    meta: dict[str, object] = {"series": {}, "kept": 0, "left_out": 0, "not_shown": 0, "pid": 0, "period_seconds": 1.0}
    return {
        "v": 1,
        "id": "",
        "seq": 0,
        "step": question.step,
        "t": [],
        "series": {},
        "meta": meta,
        "marks": [],
        "reason": reason,
    }


def _shown(columns: Sequence[Column], question: Question, *, in_spans: bool) -> list[tuple[Column, int]]:
    """The columns that the client asks for, each with the index of its first number in a row."""
    found: list[tuple[Column, int]] = []
    names = question.names or ("",)
    place = 1
    for column in columns:
        if column.name.startswith(names) and len(found) < question.series:
            found.append((column, place))
        place += 2 if in_spans and column.kind == GAUGE else 1
    return found


Values = list[Any]


def _values(
    shown: Sequence[tuple[Column, int]], rows: Sequence[Row], width: int, *, in_spans: bool
) -> tuple[dict[str, Values], dict[str, Values]]:
    """The values of the columns by name, and the lowest values of the gauges by name."""
    by_place = [*zip(*rows, strict=True)]
    series: dict[str, Values] = {}
    low: dict[str, Values] = {}
    for column, place in shown:
        if not rows:
            series[column.name] = []
        elif column.kind == GAUGE:
            series[column.name] = _extremes([*by_place[place + in_spans]], width, highest=True)
            if in_spans or width > 1:
                low[column.name] = _extremes([*by_place[place]], width, highest=False)
        else:
            values = _last_of(by_place[place], width)
            series[column.name] = [None if value != value or value == MISSING else value for value in values]
    return series, low


def _last_of(values: Sequence[Any], width: int) -> Values:
    """The last value of each group of `width` values. The first group may be shorter."""
    return [*values[-1::-width]][::-1]


def _extremes(values: Values, width: int, *, highest: bool) -> Values:
    """The highest or lowest value of each group of `width` values; None for a group without values."""
    has_gaps = math.isnan(sum(values))
    none = -math.inf if highest else math.inf
    if has_gaps:
        values = [none if value != value else value for value in values]
    if width > 1:
        # The last values of all groups, then the values before these, and so on: map() needs no loop in Python.
        parts = [values[-1 - shift :: -width] for shift in range(width)]
        last = parts[0]
        whole = [part if len(part) == len(last) else [*part, last[-1]] for part in parts]
        values = [*map(max if highest else min, *whole)][::-1]
    return [None if value == none else value for value in values] if has_gaps else values


def _meta(columns: Sequence[Column], header: Header, shown: Sequence[Column]) -> dict[str, object]:
    return {
        "series": {
            column.name: {
                "kind": "gauge" if column.kind == GAUGE else "counter",
                "unit": column.unit,
                "help": column.help,
            }
            for column in shown
        },
        "kept": len(columns),
        "left_out": header.left_out,
        "not_shown": len(columns) - len(shown),
        "pid": header.pid,
        "period_seconds": round(header.period / 1e9, 3),
    }
