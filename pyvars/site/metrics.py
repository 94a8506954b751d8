"""The view /metrics."""

from typing import ClassVar

from pyvars.access.request import Request
from pyvars.collect.functions import type_name
from pyvars.collect.series import read
from pyvars.core.registry import Registry
from pyvars.site.gate import View
from pyvars.site.http import Response, respond_with, text
from pyvars.site.slots import in_a_slot
from pyvars.site.views import prefixes_in
from pyvars.workers import peers

__all__ = ("Metrics",)


class Metrics(View):
    """The numbers of a registry, summed over all workers, in the text format of Prometheus or OpenMetrics."""

    description: ClassVar[str] = "the numbers in the variables for Prometheus, as text or OpenMetrics"

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def may_block(self, request: Request, rest: str) -> bool:
        """Always: formatting takes milliseconds, even without functions and peers."""
        return True

    def respond(self, request: Request, rest: str) -> Response:
        """200, as text or OpenMetrics by `Accept`, with the variables that `?name=` selects, or all.

        400 for a query out of bounds; 501 if prometheus_client is missing; 503 if it cannot be imported now, or if
        there is no slot in time.
        """
        prefixes = prefixes_in(request.query)
        if isinstance(prefixes, Response):
            return prefixes
        return in_a_slot(request, lambda: self._render(request, prefixes))

    def _render(self, request: Request, prefixes: tuple[str, ...]) -> Response:
        until = request.deadline
        families = read(self._registry, prefixes, until, peers(self._registry, until))
        try:  # only now: the first import takes so long that functions would miss the deadline
            from pyvars.formats.prometheus import exposition
        except Exception as error:
            if isinstance(error, ModuleNotFoundError) and (error.name or "").startswith("prometheus_client"):
                return text(501, "prometheus_client is not installed: pip install 'pyvars[prometheus]'")
            # No file descriptor is left, for example.
            return text(503, f"prometheus_client cannot be imported now: {type_name(error)}")
        return respond_with(200, *exposition(families, _accept(request)))


def _accept(request: Request) -> str:
    return ",".join(value for name, value in request.headers if name == "accept")
