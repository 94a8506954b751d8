"""The view /api/stats."""

from time import time_ns
from typing import ClassVar, cast

from pyvars.access.request import Request
from pyvars.collect.page import render_one
from pyvars.collect.values import may_block
from pyvars.core.registry import Registry
from pyvars.formats.gostats import stats
from pyvars.formats.json import document, from_json, value
from pyvars.runtime.combine import Row
from pyvars.site.http import Response, respond_with, text
from pyvars.workers import Peers, has_peers, peers

__all__ = ("Stats",)

_PRETTY = {"pp=1", "pp=true"}


class Stats:
    """The document of golang-stats-api-handler, from `memstats` and `threads` of a registry, over all workers."""

    description: ClassVar[str] = "memory and garbage collection as golang-stats-api-handler has them, as JSON"
    exact: ClassVar[bool] = True

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def may_block(self, request: Request, rest: str) -> bool:
        """Whether there may be peers to wait for, or code of the program is published as `memstats` or `threads`."""
        found = (self._registry.get(name) for name in ("memstats", "threads"))
        return has_peers() or may_block(var for var in found if var is not None)

    def respond(self, request: Request, rest: str) -> Response:
        """200 with JSON, indented with `?pp=1`; 404 if `memstats` is missing, or its value is no dict.

        503 if the value of `memstats` or `threads` is null on the page: its figures would else fall to 0. In Go the
        parameter changes all later responses, too.
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
        """A variable as on the page, combined with the figures of the peers; empty text if there is none."""
        var = self._registry.get(name)
        return "" if var is None else from_json(render_one(name, var, deadline, from_peers))
