"""A collector that adds the variables of a registry to prometheus_client, for a program that serves its own `/metrics`.

    from prometheus_client import REGISTRY
    from pyvars.prometheus import PyvarsCollector

    REGISTRY.register(PyvarsCollector())

This module needs the extra `prometheus`. A program without a `/metrics` of its own can use `/metrics` of the side port
instead, or `/debug/metrics` of VarsMiddleware.
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

    Counts are summed over all workers. `prefix` is put before every metric name, to avoid collisions with other metrics
    of the CollectorRegistry, which looks for collisions only when a collector is registered. `builtins=False` leaves
    out the built-ins, since prometheus_client has `process_*` and `python_gc_*` itself. prometheus_client prints
    integers beyond 2**53 as floats; `/metrics` of pyvars is exact. Thread-safe.
    """

    def __init__(self, registry: Registry | None = None, *, prefix: str = "", builtins: bool = False) -> None:
        self._registry = served(registry)
        self._prefix = prefix
        self._builtins = builtins

    def describe(self) -> list[Metric]:
        """Returns no metrics: the variables may change later, and a registration must not call functions."""
        return []

    def collect(self) -> list[Metric]:
        """Returns the current metric families.

        All functions together have 200 ms. A function that misses this deadline is left out, and named in
        `pyvars_left_out`.
        """
        until = deadline()
        from_peers = peers(self._registry, until)
        found = read(self._registry, (), until, from_peers, prefix=self._prefix, builtins=self._builtins)
        return metrics(found, strict=True)
