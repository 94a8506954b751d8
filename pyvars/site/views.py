"""The views below /debug."""

import os
from functools import lru_cache
from typing import ClassVar, cast
from urllib.parse import parse_qsl, quote

from pyvars.access.request import MAX_QUERY_BYTES, Request
from pyvars.collect.functions import FUNCTIONS, Job, Round, Times
from pyvars.collect.page import ERRORS, Pages, render_one
from pyvars.collect.values import survey
from pyvars.core.registry import Registry
from pyvars.formats.json import Fragment, document, from_json, to_json
from pyvars.site.gate import View
from pyvars.site.http import Response, respond_with, text
from pyvars.site.slots import all_taken, in_a_slot
from pyvars.workers import ask, has_peers, live_pids, peers, workers
from pyvars.workers.asking.wire import Question
from pyvars.workers.membership.census import census
from pyvars.workers.membership.peers import seconds_until

__all__ = ("Index", "Vars", "Workers", "prefixes_in")

_JSON = "application/json; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"

MAX_NAMES = 64
"""The maximum number of `?name=` in a query."""


def prefixes_in(query: str) -> tuple[str, ...] | Response:
    """The prefixes of names that `?name=` selects, or the response 400 to a query out of bounds."""
    if len(query) > MAX_QUERY_BYTES:
        return text(400, f"the query has over {MAX_QUERY_BYTES} bytes")
    prefixes = _prefixes(query)
    return prefixes if len(prefixes) <= MAX_NAMES else text(400, f"the query has over {MAX_NAMES} names")


class Vars(View):
    """The variables of a registry: the page, or the part that `?name=` selects; `/<name>` below is one variable."""

    description: ClassVar[str] = "every variable of the program and of its interpreter, as JSON"
    exact: ClassVar[bool] = False

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._pages = Pages()

    def begin(self, request: Request, rest: str) -> Round | None:
        """Start the functions of the page, or of the requested variable."""
        if len(request.query) > MAX_QUERY_BYTES or "worker=" in request.query:
            return None
        jobs, _ = self._survey(request, rest)
        return FUNCTIONS.begin(jobs, Times.of_request(request.deadline)) if jobs else None

    def may_block(self, request: Request, rest: str) -> bool:
        """Whether the page takes long to render, or has to wait for peers or for a free slot."""
        if len(request.query) > MAX_QUERY_BYTES:
            return False
        return all_taken() or has_peers() or "worker=" in request.query or self._survey(request, rest)[1]

    def _survey(self, request: Request, rest: str) -> tuple[list[Job], bool]:
        """The functions to call, and whether the rest of the page takes long to render."""
        if rest and rest != ERRORS:
            var = self._registry.get(rest)
            return survey([(rest, var)]) if var is not None else ([], False)
        return self._pages.survey(self._registry, () if rest else _prefixes(request.query))

    def respond(self, request: Request, rest: str) -> Response:
        """200 with JSON; 400 for a query out of bounds; 404 for an unknown name; 503 if no slot is free in time.

        `?worker=<pid>` selects the page of one worker, with 404 if no live worker has the pid, and 504 if the worker
        does not answer in time; `?worker=all` the pages of all.
        """
        prefixes = prefixes_in(request.query)
        if isinstance(prefixes, Response):
            return prefixes
        worker = _worker(request.query)
        if worker and rest:
            return text(400, "?worker= selects whole pages, or parts with ?name=, but not the value of one variable")
        if worker:
            return in_a_slot(request, lambda: self._of_worker(worker, prefixes, request.deadline))
        return in_a_slot(request, lambda: self._of_all(rest, prefixes, request.deadline))

    def _of_all(self, rest: str, prefixes: tuple[str, ...], until: float) -> Response:
        var = self._registry.get(rest) if rest else None
        from_peers = peers(self._registry, until)
        if rest == ERRORS:
            body = self._pages.render_errors(self._registry, until, from_peers)
        elif not rest:
            body = self._pages.render(self._registry, prefixes, until, from_peers)
        elif var is not None or (from_peers is not None and from_peers.has(rest)):
            body = render_one(rest, var, until, from_peers)
        else:
            return text(404, "no variable of that name")
        return respond_with(200, body, _JSON)

    def _of_worker(self, worker: str, prefixes: tuple[str, ...], until: float) -> Response:
        """The page of one worker, or those of all workers by pid. Each worker renders its own, without its peers."""
        if worker == str(os.getpid()):
            return respond_with(200, self._pages.render(self._registry, prefixes, until), _JSON)
        pids = live_pids()
        if worker != "all" and worker not in map(str, pids):
            return text(404, "no live worker has that pid; /debug/workers lists them")
        wanted = pids if worker == "all" else [int(worker)]
        seconds, group = seconds_until(until), census()[:5]
        question: Question = {"ask": "page", "names": prefixes, "seconds": seconds, "group": group}
        answers = ask(self._registry, question, until, wanted)
        pages = {pid: _checked(answers.get(pid, b"")) for pid in wanted}
        if worker == "all":
            if pages.get(os.getpid()) is None:  # a process without threads cannot answer its own question
                pages[os.getpid()] = _checked(self._pages.render(self._registry, prefixes, until))
            members = {str(pid): {"error": "timeout"} if page is None else page for pid, page in sorted(pages.items())}
            return respond_with(200, document(members), _JSON)
        page = answers.get(int(worker), b"") if pages[int(worker)] is not None else b""
        return respond_with(200, page, _JSON) if page else text(504, "that worker did not answer in time")


class Workers(View):
    """The live workers of the group, with figures of the kernel, of their segments, and of their answers."""

    description: ClassVar[str] = "the worker processes whose numbers are summed, as JSON"

    def __init__(self, registry: Registry) -> None:
        pass

    def may_block(self, request: Request, rest: str) -> bool:
        """Always: peers are asked whether they answer."""
        return True

    def respond(self, request: Request, rest: str) -> Response:
        """200 with JSON."""
        return respond_with(200, document(workers(request.deadline)), _JSON)


def _checked(page: bytes) -> Fragment | None:
    """The page of a worker; None if it did not answer, or answered anything else."""
    try:
        data = from_json(page)
        return Fragment(to_json(cast("object", data))) if isinstance(data, dict) else None
    except (ValueError, TypeError, RecursionError):
        return None


class Index(View):
    """The index: the paths of a site and their descriptions. `page`, if there is one, is named by its absolute path."""

    description: ClassVar[str] = "this list"

    def __init__(self, descriptions: dict[str, str], *, page: str = "", page_description: str = "") -> None:
        self._descriptions = descriptions
        self._page = page
        self._page_description = page_description

    def respond(self, request: Request, rest: str) -> Response:
        """200 with a line of text for each view."""
        lines = dict(self._descriptions)
        if self._page:
            lines[quote(request.root) + self._page] = self._page_description
        width = max(map(len, lines))
        body = "".join(f"{name:{width}}  {description}\n" for name, description in sorted(lines.items()))
        return respond_with(200, body.encode(), _TEXT)


def _worker(query: str) -> str:
    """The last `?worker=`; empty if there is none."""
    if "worker=" not in query:
        return ""
    return next((value for key, value in reversed(parse_qsl(query)) if key == "worker"), "")


@lru_cache(maxsize=16)  # called several times for each request, and most clients always send the same query
def _prefixes(query: str) -> tuple[str, ...]:
    if not query:
        return ()
    return tuple(prefix for key, prefix in parse_qsl(query, keep_blank_values=True) if key == "name" and prefix)
