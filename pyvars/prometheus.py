"""A collector that adds the variables of a registry to prometheus_client, for a program that has `/metrics` already.

    from prometheus_client import REGISTRY
    from pyvars.prometheus import PyvarsCollector

    REGISTRY.register(PyvarsCollector())

It needs the extra `prometheus`. A program without `/metrics` can use that of the side port or of DebugApp instead.
"""

from pyvars.access.request import deadline
from pyvars.collect.series import read
from pyvars.core.registry import Registry
from pyvars.formats.prometheus import Collector, Metric, metrics
from pyvars.site.default import served
from pyvars.workers import peers

__all__ = ("PyvarsCollector",)


class PyvarsCollector(Collector):
    """A collector of prometheus_client: the variables of a registry, or of the default one, as in `/metrics` of pyvars.

    Counts are summed over all workers. `prefix` goes before every metric name, against collisions with other metrics
    of the CollectorRegistry, which detects these only when a collector is registered. `builtins=False` leaves out the
    built-ins: prometheus_client has `process_*` and `python_gc_*` itself. prometheus_client prints integers beyond
    2**53 as floats; `/metrics` of pyvars is exact. Thread-safe.
    """

    def __init__(self, registry: Registry | None = None, *, prefix: str = "", builtins: bool = False) -> None:
        self._registry = served(registry)
        self._prefix = prefix
        self._builtins = builtins

    def describe(self) -> list[Metric]:
        """Returns no metrics: the variables change, and the registration must not call functions."""
        return []

    def collect(self) -> list[Metric]:
        """Returns the metric families of this moment.

        Functions have 200 ms together; those that do not return in time are left out, and named in `pyvars_left_out`.
        """
        until = deadline()
        from_peers = peers(self._registry, until)
        found = read(self._registry, (), until, from_peers, prefix=self._prefix, builtins=self._builtins)
        return metrics(found, strict=True)
