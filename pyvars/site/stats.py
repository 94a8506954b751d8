"""The view of /api/stats."""

from time import time_ns
from typing import ClassVar, cast

from pyvars.access.request import Request
from pyvars.collect.page import render_one, runs_code
from pyvars.core.registry import Registry
from pyvars.formats.gostats import stats
from pyvars.formats.json import document, parsed, value
from pyvars.runtime.combine import Row
from pyvars.site.http import Response, respond_with, text
from pyvars.workers import Peers, has_peers, peers

__all__ = ("Stats",)

_PRETTY = {"pp=1", "pp=true"}


class Stats:
    """What golang-stats-api-handler answers, from `memstats` and `threads` of a registry: of all workers together."""

    description: ClassVar[str] = "memory and garbage collection as golang-stats-api-handler has them, as JSON"
    exact: ClassVar[bool] = True

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def may_block(self, request: Request, rest: str) -> bool:
        """Whether peers are waited for, or functions of the program that stand in place of ours."""
        found = (self._registry.get(name) for name in ("memstats", "threads"))
        return has_peers() or any(var is not None and runs_code(var) for var in found)

    def respond(self, request: Request, rest: str) -> Response:
        """200 with JSON, indented if `?pp=1` asks for that; 404 if the registry holds no memstats, or none in time.

        In Go that parameter changes all later answers, too.
        """
        others = peers(self._registry, request.deadline)
        memstats = self._read("memstats", request.deadline, others)
        if memstats is None:
            return text(404, "there are no memstats")
        found = stats(memstats, self._read("threads", request.deadline, others) or {}, time_ns())
        pretty = not _PRETTY.isdisjoint(request.query.split("&"))
        return respond_with(200, document(found) if pretty else value(found), "application/json; charset=utf-8")

    def _read(self, name: str, deadline: float, others: Peers | None) -> Row | None:
        """A variable as the page has it, contained and with what the peers add; None if it holds no figures."""
        var = self._registry.get(name)
        if var is None:
            return None
        data = parsed(render_one(name, var, deadline, others))
        return cast("Row", data) if isinstance(data, dict) else None
