"""The view /api/stats."""

from time import time_ns
from typing import ClassVar, cast

from pyvars.access.request import Request
from pyvars.collect.page import render_one
from pyvars.collect.values import survey
from pyvars.core.registry import Registry
from pyvars.formats.gostats import stats
from pyvars.formats.json import document, from_json, value
from pyvars.runtime.combine import Row
from pyvars.site.gate import View
from pyvars.site.http import Response, respond_with, text
from pyvars.workers import Peers, has_peers, peers

__all__ = ("Stats",)

_PRETTY = {"pp=1", "pp=true"}


class Stats(View):
    """The document of golang-stats-api-handler, from `memstats` and `threads` of a registry, over all workers."""

    description: ClassVar[str] = "memory and garbage collection as golang-stats-api-handler has them, as JSON"

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def may_block(self, request: Request, rest: str) -> bool:
        """Whether there may be peers to wait for, or `memstats` or `threads` is a function of the program."""
        found = ((name, self._registry.get(name)) for name in ("memstats", "threads"))
        jobs, long = survey((name, var) for name, var in found if var is not None)
        return has_peers() or long or bool(jobs)

    def respond(self, request: Request, rest: str) -> Response:
        """200 with JSON, indented with `?pp=1`; 404 if `memstats` is missing, or its value is no dict.

        503 if the value of `memstats` or `threads` is null on the page, since figures of 0 would look like a restart.
        """
        from_peers = peers(self._registry, request.deadline)
        memstats = self._read("memstats", request.deadline, from_peers)
        threads = self._read("threads", request.deadline, from_peers)
        if memstats is None or threads is None:
            return text(503, "memstats or threads cannot be read now")
        if not isinstance(memstats, dict):
            return text(404, "there are no memstats")
        found = stats(cast("Row", memstats), cast("Row", threads) if isinstance(threads, dict) else {}, time_ns())
        pretty = not _PRETTY.isdisjoint(request.query.split("&"))
        return respond_with(200, document(found) if pretty else value(found), "application/json; charset=utf-8")

    def _read(self, name: str, deadline: float, from_peers: Peers | None) -> object:
        """The value of a variable as on the page, combined with the figures of the peers; "" if there is none."""
        var = self._registry.get(name)
        return "" if var is None else from_json(render_one(name, var, deadline, from_peers))
