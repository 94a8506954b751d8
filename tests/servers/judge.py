"""What came of a shape on a server, and what was to come of it there."""

from tests.servers.app import TOKEN
from tests.servers.exceptions import EXCEPTIONS
from tests.servers.running import Reply
from tests.servers.shape import ALLOWED, HEAD, METHOD, NOT_OURS, PAGE, QUERY, REFUSED, SERVER, UNAUTHORIZED, Shape
from tests.servers.table import Server

MEMSTATS = b'"memstats"'
_OF_PLACES = ("local", "mounted", "networks")
"""Rules that look at nothing but where a request comes from."""
_ANSWERS = {200: HEAD, 204: ALLOWED, 400: QUERY, 401: UNAUTHORIZED, 404: REFUSED, 405: METHOD}


def outcome(reply: Reply) -> str:
    """In the words of shapes."""
    if MEMSTATS in reply.everything:
        return PAGE
    if reply.headers.get("x-application") == "own" or (reply.status == 404 and b"Not Found" in reply.body):
        return REFUSED  # by the application that the middleware, or the mount, stands in
    if "content-security-policy" in reply.headers:
        return _ANSWERS[reply.status]
    assert reply.status not in (200, 204, 500), reply
    return SERVER


def expected(shape: Shape, server: Server) -> set[str]:
    """What may come of it."""
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
