"""The text formats of Prometheus and OpenMetrics. Only this module uses prometheus_client."""

from collections.abc import Callable, Iterable, Sequence
from math import isnan
from typing import Protocol

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from pyvars.formats.families import Family

__all__ = ("Collector", "Metric", "exposition", "metrics")

_OPENMETRICS = "application/openmetrics-text"


class _Source(Protocol):
    def collect(self) -> Iterable[Metric]: ...


class _Found:
    def __init__(self, found: Sequence[Metric]) -> None:
        self._found = found

    def collect(self) -> Sequence[Metric]:
        return self._found


def exposition(families: Sequence[Family], accept: str) -> tuple[bytes, str]:
    """The page in the format that the header Accept asks for, and its Content-Type.

    OpenMetrics forbids counts that are negative or NaN, so that format leaves out such samples.
    """
    encode, content_type = _encoder(accept)
    found = metrics(families, strict=content_type.startswith(_OPENMETRICS))
    return _with_integers(encode(_Found(found)), found), content_type


def metrics(families: Iterable[Family], *, strict: bool = False) -> list[Metric]:
    """The families as objects of prometheus_client. With `strict`, samples that OpenMetrics forbids are left out."""
    found: list[Metric] = []
    for family in families:
        metric = Metric(family.name, family.help, family.kind, family.unit if _has_unit(family) else "")
        for suffix, labels, value in family.samples:
            if strict and family.kind != "gauge" and (isnan(value) or value < 0):
                continue
            metric.add_sample(family.name + suffix, {**labels}, value)
        found.append(metric)
    return found


def _has_unit(family: Family) -> bool:
    return family.name.endswith(f"_{family.unit}")


def _encoder(accept: str) -> tuple[Callable[[_Source], bytes], str]:
    try:
        encode, content_type = choose_encoder(accept)
    except TypeError:  # the header asks for a version that is no number, which prometheus_client 0.26 compares with one
        encode, content_type = choose_encoder("")
    if not content_type.isascii() or not content_type.isprintable():  # prometheus_client repeats the requested version
        encode, content_type = choose_encoder("")
    return encode, content_type


def _with_integers(page: bytes, found: Iterable[Metric]) -> bytes:
    """The page with integers to the last digit: prometheus_client prints every value as a float, 2**53 + 1 as 2**53."""
    lines = page.decode().split("\n")  # a line break in a label or a help is written as an escape
    places = [place for place, line in enumerate(lines) if line and line[0] != "#"]
    values = [sample.value for metric in found for sample in metric.samples]
    if len(places) != len(values):  # a later release may write other lines: then large integers stay rounded
        return page
    for place, value in zip(places, values, strict=True):
        if isinstance(value, int):
            lines[place] = f"{lines[place].rpartition(' ')[0]} {int(value)}"
    return "\n".join(lines).encode()
