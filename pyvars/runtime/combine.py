"""Combines the runtime figures of several workers.

The page of each worker shows the same sums. Readers of Go's expvar know nothing of workers: if two workers showed
different counts, readers would take a lower one for a restart of the program.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import fsum
from typing import Any

__all__ = ("Row", "largest", "number", "numbers", "total", "totals")

Row = Mapping[str, Any]
"""The figures of one worker. Those of a peer are not checked, and may hold anything."""


def number(row: Row, key: str) -> float:
    """Returns the number under `key`; 0 if there is none."""
    value = row.get(key)
    return value if isinstance(value, int | float) else 0


def numbers(rows: Iterable[Row], key: str) -> list[float]:
    """Returns the number under `key` of each row."""
    return [number(row, key) for row in rows]


def total(rows: Iterable[Row], key: str) -> float:
    """Returns the sum of the numbers under `key`. A sum of floats does not depend on the order of the rows (fsum)."""
    found = numbers(rows, key)
    return sum(found) if all(isinstance(each, int) for each in found) else fsum(found)


def totals(rows: Sequence[Row], keys: Iterable[str]) -> dict[str, object]:
    """Returns the sum under each of `keys`."""
    return {key: total(rows, key) for key in keys}


def largest(rows: Sequence[Row], key: str) -> float:
    """Returns the largest number under `key`; 0 if there are no rows."""
    return max(numbers(rows, key), default=0)
