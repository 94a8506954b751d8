"""What the runtime figures of several worker processes are together.

The page that has them sums what can be summed, whichever worker answers: readers of Go's expvar know nothing of
workers, and take a count that falls for a restart of the program.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import fsum
from typing import Any

__all__ = ("Row", "largest", "number", "numbers", "total", "totals")

Row = Mapping[str, Any]
"""The figures of one worker. Those of a peer may hold anything."""


def number(row: Row, key: str) -> float:
    """The number under the key; 0 if there is none."""
    value = row.get(key)
    return value if isinstance(value, int | float) else 0


def numbers(rows: Iterable[Row], key: str) -> list[float]:
    """The numbers under the key of each row."""
    return [number(row, key) for row in rows]


def total(rows: Iterable[Row], key: str) -> float:
    """The sum of what the rows say; of floats one that does not depend on the order of the rows."""
    found = numbers(rows, key)
    return sum(found) if all(isinstance(each, int) for each in found) else fsum(found)


def totals(rows: Sequence[Row], keys: Iterable[str]) -> dict[str, object]:
    """The sums under several keys."""
    return {key: total(rows, key) for key in keys}


def largest(rows: Sequence[Row], key: str) -> float:
    """The largest of what the rows say."""
    return max(numbers(rows, key), default=0)
