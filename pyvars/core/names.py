"""The names of variables: which ones pyvars refuses, and which other ones some known readers of the page cannot handle.

`help("pyvars.formats")` has the table of the readers, which was made from their source code.
"""

from collections.abc import Iterator

from pyvars.core.functions import Func
from pyvars.core.variables import Var

__all__ = ("MAX_PARTS", "OF_GO", "checked_name", "is_builtin", "misread", "prefixes")

MAX_NAME_BYTES = 255
"""The maximum length of a name, in bytes of UTF-8."""

MAX_PARTS = 18
"""The maximum number of parts of a dotted name: Elasticsearch takes 20 levels, and Metricbeat adds two above a name."""

_OF_INFLUXDB = frozenset(("build", "crypto", "system"))


def misread(name: str) -> Iterator[str]:
    """Yields a text for each known reader that fails on the name, or confuses it with another one."""
    if not name.isascii() or not name.isprintable():
        yield f"{name!r} is not plain ASCII: prometheus-expvar-exporter answers its whole page with an error"
    parts = name.split(".")
    if not all(part.strip() for part in parts):
        yield f"{name!r} has an empty part between its dots, or is blank: Elasticsearch refuses the page"
    if len(parts) > MAX_PARTS:
        yield f"{name[:40]!r}… has {len(parts)} parts: Elasticsearch refuses a page of more than 20 levels"
    if "memstats" in name and name != "memstats":
        yield f"{name!r} contains memstats: SignalFx and Splunk's smartagent confuse it with Go's memstats"
    if name in _OF_INFLUXDB:
        yield f"{name!r} is a name of InfluxDB's own: Telegraf's inputs.influxdb does not show this one"


OF_GO: tuple[str, ...] = ("cmdline", "memstats")
"""Reserved names. A function may be published under one of them once the built-in variable is deleted."""


def is_builtin(var: object) -> bool:
    """Whether `var` is a variable of pyvars itself: it may have a reserved name, and the program may replace it."""
    return getattr(type(var), "builtin", False) is True


def prefixes(name: str) -> list[str]:
    """Returns the prefixes of a dotted name: "a" and "a.b" of "a.b.c"."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def checked_name(name: str, var: Var) -> str:
    """Returns the name as a plain str.

    Raises:
        ValueError: the name is empty, too long or reserved, so `var` may not have it.
    """
    name = str.__str__(name)
    if not name:
        raise ValueError("a name must not be empty: Elasticsearch and Prometheus refuse the page")
    size = len(name.encode(errors="surrogatepass"))
    if size > MAX_NAME_BYTES:
        raise ValueError(f"a name has at most {MAX_NAME_BYTES} bytes of UTF-8, got {size}: {name[:40]!r}…")
    folded = name.casefold()
    if (folded == "pyvars" or folded.startswith("pyvars.")) and not is_builtin(var):
        raise ValueError(f"{name!r} is reserved for variables of pyvars itself")
    if folded in OF_GO and (name != folded or not isinstance(var, Func)):
        raise ValueError(
            f"{name!r} is reserved: readers of Go's expvar take it for Go's, whatever the case. A function that returns"
            f" what they expect may replace it: delete({folded!r}), then publish({folded!r}, function)"
        )
    return name
