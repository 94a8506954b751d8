"""The outcome of a shape on a server, and the expected outcome."""

from tests.servers.app import TOKEN
from tests.servers.exceptions import EXCEPTIONS
from tests.servers.running import Reply
from tests.servers.shape import ALLOWED, HEAD, METHOD, NOT_OURS, PAGE, QUERY, REFUSED, SERVER, UNAUTHORIZED, Shape
from tests.servers.table import Server

MEMSTATS = b'"memstats"'
_OF_PLACES = ("local", "mounted", "networks")
"""Rules that depend only on the origin of a request."""
_ANSWERS = {200: HEAD, 204: ALLOWED, 400: QUERY, 401: UNAUTHORIZED, 404: REFUSED, 405: METHOD}


def outcome(reply: Reply) -> str:
    """The outcome, as one of the constants of shapes."""
    if MEMSTATS in reply.everything:
        return PAGE
    if reply.headers.get("x-application") == "own" or (reply.status == 404 and b"Not Found" in reply.body):
        return REFUSED  # by the application around the middleware or the mount
    if "content-security-policy" in reply.headers:
        return _ANSWERS[reply.status]
    assert reply.status not in (200, 204, 500), reply
    return SERVER


def expected(shape: Shape, server: Server) -> set[str]:
    """The possible outcomes."""
    for exception in EXCEPTIONS:
        if server.name in exception.servers and shape.title in exception.titles:
            return {exception.outcome}
    wanted = shape.outcome
    if wanted == NOT_OURS:
        wanted = PAGE if shape.spelling in server.untold else REFUSED
    if server.local and wanted not in (NOT_OURS, REFUSED):
        if shape.rule in _OF_PLACES:
            wanted = REFUSED
        elif shape.rule == "either" and TOKEN.encode() not in shape.data:
            wanted = UNAUTHORIZED
    if not shape.odd:
        return {wanted}
    return {wanted, SERVER, *([REFUSED] if wanted == PAGE else [])}
