"""A registry of variables within one of prometheus_client, for a program that has `/metrics` already.

    from prometheus_client import REGISTRY
    from pyvars.prometheus import PyvarsCollector

    REGISTRY.register(PyvarsCollector())

It needs the extra `prometheus`. Where there is no such page yet, `/metrics` of the side port and of DebugApp is enough.
"""

from pyvars.access.request import deadline
from pyvars.collect.series import read
from pyvars.core.registry import Registry
from pyvars.formats.prometheus import Collector, Metric, metrics
from pyvars.site.default import served
from pyvars.workers import peers

__all__ = ("PyvarsCollector",)


class PyvarsCollector(Collector):
    """The variables of a registry, or of the default one, as `/metrics` has them, of all worker processes together.

    `prefix` goes before every name, so that none is that of another metric of the registry this is put into, which
    looks for that only when a metric is registered. `builtins=False` leaves out what pyvars knows of interpreter and
    process: `process_*` and `python_gc_*` are there from prometheus_client itself. prometheus_client prints integers
    beyond 2**53 as floats; `/metrics` of pyvars is exact. Thread-safe.
    """

    def __init__(self, registry: Registry | None = None, *, prefix: str = "", builtins: bool = False) -> None:
        self._registry = served(registry)
        self._prefix = prefix
        self._builtins = builtins

    def describe(self) -> list[Metric]:
        """Nothing: what there is changes, and to register this calls no function."""
        return []

    def collect(self) -> list[Metric]:
        """The families now. Functions have 200 ms; what does not answer in time is left out, and named."""
        until = deadline()
        others = peers(self._registry, until)
        found = read(self._registry, (), until, others, prefix=self._prefix, builtins=self._builtins)
        return metrics(found, strict=True)
