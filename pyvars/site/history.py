"""The view /debug/history."""

import re
from contextlib import suppress
from typing import ClassVar
from urllib.parse import parse_qsl

from pyvars.access.request import Request
from pyvars.core.clock import since_boot_ns
from pyvars.core.registry import Registry
from pyvars.formats.json import value
from pyvars.history.answer import ALL, MAX_POINTS, Question, answer, nothing
from pyvars.history.ring import SPANS
from pyvars.history.sampler import history_of
from pyvars.site.compression import accepts_gzip, compressed
from pyvars.site.gate import View
from pyvars.site.http import Response, respond_with, text
from pyvars.site.slots import in_a_slot
from pyvars.site.views import prefixes_in

__all__ = ("HistoryView", "NoHistory", "question_in")

MIN_BYTES = 1024
"""A shorter body is never compressed."""
_MAX_SINCE = 2**63 - 1
_GOES_ON = re.compile(r"(^|&)since=[1-9]")
"""The query of a client that has the history already: it gets only the newer rows."""


class HistoryView(View):
    """The history of a registry: a point each second for the last ten minutes, or each 10 s for the last two hours."""

    description: ClassVar[str] = "numbers over the last ten minutes and two hours, as JSON"

    def __init__(self, registry: Registry) -> None:
        self._history = history_of(registry)

    def may_block(self, request: Request, rest: str) -> bool:
        """Whether the client asks for the whole history."""
        return not _GOES_ON.search(request.query)

    def respond(self, request: Request, rest: str) -> Response:
        """200 with JSON, whose `reason` says why if there is no history; 400 for wrong parameters."""
        question = question_in(request.query)
        if isinstance(question, Response):
            return question
        if self.may_block(request, rest):
            return in_a_slot(request, lambda: _reply(request, self._answer(question)))
        return _reply(request, self._answer(question))

    def _answer(self, question: Question) -> dict[str, object]:
        try:
            with self._history.reading() as ring:
                if ring is not None:
                    with suppress(OSError):  # without this note, functions are only called less often
                        ring.watch(since_boot_ns())
                    return answer(ring, question)
        except Exception as error:  # another program may have written anything into the file
            return nothing(self._history.reason or f"the history cannot be read: {error}", question)
        return nothing(self._history.reason, question)


class NoHistory(View):
    """The view /debug/history of an integration with `history=False`."""

    description: ClassVar[str] = HistoryView.description

    def __init__(self, registry: Registry) -> None:
        pass

    def respond(self, request: Request, rest: str) -> Response:
        """200 with JSON, whose `reason` names `history=False`; 400 for wrong parameters."""
        question = question_in(request.query)
        if isinstance(question, Response):
            return question
        return _reply(request, nothing("the integration was made with history=False", question))


def question_in(query: str) -> Question | Response:
    """Parses the query. Returns a response 400 if a parameter is wrong. Unknown parameters are ignored."""
    names = prefixes_in(query)
    if isinstance(names, Response):
        return names
    given = dict(parse_qsl(query, keep_blank_values=True))
    since = _number(given.get("since", "0"), 0, _MAX_SINCE)
    if since is None:
        return text(400, "since= is the seq of an earlier answer, or 0")
    step = given.get("step", "1")
    if step not in ("1", "10"):
        return text(400, "step= is 1, for a sample each second, or 10, for a span each 10 s")
    points = _number(given.get("points", str(MAX_POINTS)), 1, SPANS)
    if points is None:
        return text(400, f"points= is a number from 1 to {SPANS}, over {MAX_POINTS} only with name=")
    if names:
        return Question(since, names, int(step), points, ALL)
    return Question(since, (), int(step), min(points, MAX_POINTS))


def _number(given: str, least: int, most: int) -> int | None:
    if not (given.isascii() and given.isdecimal() and len(given) <= len(str(most))):
        return None
    number = int(given)
    return number if least <= number <= most else None


def _reply(request: Request, found: dict[str, object]) -> Response:
    response = respond_with(200, value(found), "application/json; charset=utf-8")
    headers = [(name.encode(), value.encode("latin-1")) for name, value in request.headers if name == "accept-encoding"]
    return compressed(response) if len(response.body) > MIN_BYTES and accepts_gzip(headers) else response
