"""What known readers of the page make of a name. The sources are the readers themselves; the README has the table."""

from collections.abc import Iterator

__all__ = ("MAX_PARTS", "misread")

MAX_PARTS = 18
"""How many parts a dotted name may have: Elasticsearch takes 20 levels, and Metricbeat puts two above a name."""

_OF_INFLUXDB = frozenset(("build", "crypto", "system"))


def misread(name: str) -> Iterator[str]:
    """Yields a text for each known reader that fails on the name, or takes it for another one."""
    if not name.isascii() or not name.isprintable():
        yield f"{name!r} is not plain ASCII: prometheus-expvar-exporter answers its whole page with an error"
    parts = name.split(".")
    if not all(part.strip() for part in parts):
        yield f"{name!r} has a blank before, between or behind its dots, or is one: Elasticsearch refuses the page"
    if len(parts) > MAX_PARTS:
        yield f"{name[:40]!r}… has {len(parts)} parts: Elasticsearch refuses a page of more than 20 levels"
    if "memstats" in name and name != "memstats":
        yield f"{name!r} contains memstats: SignalFx and Splunk's smartagent mix it up with Go's memstats"
    if name in _OF_INFLUXDB:
        yield f"{name!r} is a name of InfluxDB: Telegraf's inputs.influxdb takes it for that"
