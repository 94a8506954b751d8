"""The gate checks path, access and method, in this order, and finds the view, for every request of an integration.

`Site.admit` is the only place that asks the access rule (`pyvars.access`) whether a request may see the variables.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import ClassVar, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from pyvars.access import Rule
from pyvars.access.request import Request
from pyvars.access.rules import refusal_by
from pyvars.collect.functions import Round
from pyvars.core.log import MinuteLog, warn
from pyvars.site.http import NOT_FOUND, Response, no_content, text

__all__ = ("Admitted", "Site", "View")

_LITERAL = "/:@!$&'()*+,;=~"  # what a path may hold unencoded (RFC 3986, section 3.3) and quote() would encode
_ALLOW = (("Allow", "GET, HEAD, OPTIONS"),)
_REFUSED = "a request for the variables was refused: %s. To allow it, "  # without any data of the request
_GIVE_A_RULE = (
    "give the integration an access rule, such as access=local() | token(...) of pyvars.access, or set PYVARS_TOKEN"
)
_SEND_A_CREDENTIAL = "send a token or password that the access rule takes, as Bearer or Basic"


class View(ABC):
    """Answers GET and HEAD for one path. `rest` is the part of the request's path below that path, percent-decoded."""

    description: ClassVar[str]
    """One line for the index."""
    exact: ClassVar[bool] = True
    """Whether the view has no paths below its own. A slash at the end is allowed in any case."""

    def begin(self, request: Request, rest: str) -> Round | None:
        """Start the functions whose values `respond` shows, if there are any. The caller waits for them."""
        return None

    def may_block(self, request: Request, rest: str) -> bool:
        """Whether `respond` may block once the functions that `begin` started have returned: it then needs a thread."""
        return False

    @abstractmethod
    def respond(self, request: Request, rest: str) -> Response:
        """Returns the response, no later than shortly after the deadline of the request."""


class Admitted(NamedTuple):
    """A request that may see the variables and has an allowed method, and the view that answers it."""

    view: View
    request: Request
    rest: str

    def begin(self) -> Round | None:
        """See `View.begin`."""
        try:
            return self.view.begin(self.request, self.rest)
        except Exception:  # respond() will raise it, too, and log it
            return None

    def may_block(self) -> bool:
        """See `View.may_block`."""
        try:
            return self.view.may_block(self.request, self.rest)
        except Exception:  # respond() will raise it, too, and log it
            return True

    def respond(self) -> Response:
        """The response of the view; 500 if it raises."""
        try:
            response = self.view.respond(self.request, self.rest)
        except Exception as error:
            warn("pyvars could not answer a request for %s", type(self.view).__name__, exc_info=error)
            response = text(500, "internal error; see the log")
        return _answering(self.request, response)


def _answering(request: Request, response: Response) -> Response:
    """The response without its body if the request is HEAD."""
    return response._replace(body=b"") if request.method == "HEAD" else response


class Site:
    """Views by path below `prefix`, and the access rule for them. Thread-safe.

    `open_views` are views, by the same paths, that answer the requests that the access rule refuses.
    """

    def __init__(
        self,
        views: Mapping[str, View],
        *,
        prefix: str,
        access: Rule,
        open_views: Mapping[str, View] | None = None,
        begin: Callable[[], None] | None = None,
    ) -> None:
        self.prefix: str = prefix
        """The path with which the paths of all views begin."""
        self._views = {f"{prefix}/{name}" if name else prefix: view for name, view in views.items()}
        self.begin: Callable[[], None] = begin or _nothing
        """What an integration calls with its first request, and the site with each that it admits."""
        self._open_views = {f"{prefix}/{name}": view for name, view in (open_views or {}).items()}
        self._access = access
        self.only_local: bool = access.only_local
        """Whether the access rule refuses all requests from other machines."""
        challenges = tuple(("WWW-Authenticate", challenge) for challenge in access.challenges)
        self._refused = text(401, "unauthorized", more_headers=challenges) if challenges else NOT_FOUND
        self._refused_because = _REFUSED + (_SEND_A_CREDENTIAL if challenges else _GIVE_A_RULE)
        self._log = MinuteLog()

    def respond(self, request: Request) -> Response:
        """The response. The view runs in the calling thread, and may block it."""
        admitted = self.admit(request)
        return admitted.respond() if isinstance(admitted, Admitted) else admitted

    def admit(self, request: Request) -> Admitted | Response:
        """The gate. It uses only path, method, client, version and headers, neither the query nor the registry.

        Returns NOT_FOUND if the path has no view. A request that the access rule refuses is admitted to the open view
        of its path; if there is none, it gets 401 if the rule takes a credential, else NOT_FOUND.
        """
        found = self._find(request)
        if found is None:
            return _answering(request, NOT_FOUND)
        path, view, rest = found
        refusal = refusal_by(self._access, request)
        if refusal != "":
            open_view = self._open_views.get(path)
            if open_view is None:
                self._log.warn(self._refused_because, refusal)
                return _answering(request, self._refused)
            view = open_view
        if request.method in ("GET", "HEAD"):
            self.begin()
            return Admitted(view, request, rest)
        if request.method == "OPTIONS":
            return no_content(more_headers=_ALLOW)
        return text(405, "method not allowed", more_headers=_ALLOW)

    def _find(self, request: Request) -> tuple[str, View, str] | None:
        for fixed, view in self._views.items():
            if not request.path.startswith(fixed):
                continue
            rest = request.path[len(fixed) :]
            if not _may_follow(view, rest):
                continue
            # Other spellings of the path (%64ebug, debug%2fvars, an absolute URI) have no view: a proxy in front may
            # have taken them for another path, and let them pass. Only what is below the path of a view may be encoded.
            if request.raw_path is not None:
                literal = _quoted(request.root) + fixed
                raw_rest = request.raw_path[len(literal) :]
                if not request.raw_path.startswith(literal) or not _may_follow(view, raw_rest):
                    continue
                if not view.exact and _decoded(raw_rest) != rest:  # Bottle and Pyramid drop doubled slashes
                    continue
            return fixed, view, rest[1:]
        return None


def _nothing() -> None:
    pass


def _may_follow(view: View, rest: str) -> bool:
    """Whether `rest` may follow the path of the view."""
    return not rest or rest == "/" or (rest[0] == "/" and not view.exact)


@lru_cache(maxsize=16)
def _quoted(root: str) -> str:
    return quote(root, safe=_LITERAL)


def _decoded(raw: str) -> str:
    return unquote_to_bytes(raw.encode("latin-1", "replace")).decode(errors="replace")
