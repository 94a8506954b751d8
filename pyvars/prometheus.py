"""A collector that adds the variables of a registry to prometheus_client, for a program that serves its own `/metrics`.

    from prometheus_client import REGISTRY
    from pyvars.prometheus import PyvarsCollector

    REGISTRY.register(PyvarsCollector())

This module needs the extra `prometheus` of pyvars. A program that serves no `/metrics` of its own needs no collector:
the side port has `/metrics`, and VarsMiddleware has `/debug/metrics`.
"""

from pyvars.access.request import deadline
from pyvars.collect.series import read
from pyvars.core.registry import Registry
from pyvars.formats.prometheus import Collector, Metric, metrics
from pyvars.site.default import served
from pyvars.workers import peers

__all__ = ("PyvarsCollector",)


class PyvarsCollector(Collector):
    """A collector of prometheus_client for the variables of a registry, by default the default registry.

    The metrics are those of `/metrics` of pyvars: counts are summed over all workers. `prefix` is put before every
    metric name. It avoids collisions with other metrics of the CollectorRegistry, which looks for collisions only when
    a collector is registered. `builtins=False` leaves out the built-in variables, since prometheus_client has
    `process_*` and `python_gc_*` itself. prometheus_client prints integers beyond 2**53 as floats, while `/metrics` of
    pyvars is exact. Thread-safe.
    """

    def __init__(self, registry: Registry | None = None, *, prefix: str = "", builtins: bool = False) -> None:
        self._registry = served(registry)
        self._prefix = prefix
        self._builtins = builtins

    def describe(self) -> list[Metric]:
        """Returns no metrics: variables may be published later, and a registration must not call functions."""
        return []

    def collect(self) -> list[Metric]:
        """Returns the current metric families.

        The functions of the program have 200 ms, all together. `pyvars_left_out` names each function that misses this
        deadline, and its value is left out.
        """
        until = deadline()
        from_peers = peers(self._registry, until)
        found = read(self._registry, (), until, from_peers, prefix=self._prefix, builtins=self._builtins)
        return metrics(found, strict=True)
