"""The gate: path, access, method, view, in this order, for every request of every integration.

`Site._refusal` asks the access rule (`pyvars.access`) whether a request may see the variables; nothing else decides it.
"""

from collections.abc import Mapping
from functools import lru_cache
from time import monotonic
from typing import ClassVar, Protocol
from urllib.parse import quote

from pyvars.access import Rule
from pyvars.access.request import Request
from pyvars.collect.log import warn
from pyvars.site.http import NOT_FOUND, Response, no_content, text

__all__ = ("Site", "View")

_LITERAL = "/:@!$&'()*+,;=~"  # need no encoding in a path (RFC 3986, section 3.3), beside what quote() leaves alone
_ALLOW = (("Allow", "GET, HEAD, OPTIONS"),)


class View(Protocol):
    """Answers GET and HEAD of one path. `rest` is what follows the path and a slash, percent-decoded; mostly empty."""

    description: ClassVar[str]
    """One line for the index."""
    exact: ClassVar[bool]
    """Whether nothing but a slash may follow the path."""

    def may_block(self, request: Request, rest: str) -> bool:
        """Whether `respond` may block, so that it must not run on an event loop."""
        ...

    def respond(self, request: Request, rest: str) -> Response:
        """The response, at the latest shortly after the deadline of the request."""
        ...


class Site:
    """Views by path below `prefix`, and the access rule for them. Thread-safe.

    `open_views` are views, by the same paths, that answer the requests that the access rule refuses.
    """

    def __init__(
        self, views: Mapping[str, View], *, prefix: str, access: Rule, open_views: Mapping[str, View] | None = None
    ) -> None:
        self._views = {f"{prefix}/{name}" if name else prefix: view for name, view in views.items()}
        self._open_views = {f"{prefix}/{name}": view for name, view in (open_views or {}).items()}
        self._access = access
        self.only_local: bool = access.only_local
        """Whether the access rule refuses all requests from other machines."""
        challenges = tuple(("WWW-Authenticate", challenge) for challenge in access.challenges)
        self._refused = text(401, "unauthorized", more_headers=challenges) if challenges else NOT_FOUND
        self._logged_at: dict[str, float] = {}

    def respond(self, request: Request) -> Response:
        """The response: NOT_FOUND for a path without a view, and for a request that the access rule refuses.

        A refused request is answered by the open view of its path if there is one; else, if the rule takes a
        credential, with 401.
        """
        response = self._respond(request)
        return response._replace(body=b"") if request.method == "HEAD" else response

    def _respond(self, request: Request) -> Response:
        found = self._find(request)
        if found is None:
            return NOT_FOUND
        path, view, rest = found
        refusal = self._refusal(request)
        if refusal:
            if path not in self._open_views:
                self._log(refusal)
                return self._refused
            view = self._open_views[path]
        if request.method == "OPTIONS":
            return no_content(more_headers=_ALLOW)
        if request.method not in ("GET", "HEAD"):
            return text(405, "method not allowed", more_headers=_ALLOW)
        return view.respond(request, rest)

    def may_block(self, request: Request) -> bool:
        """Whether `respond` may block, for example on functions, so that it must not run on an event loop.

        The access rule is left to `respond`: a function given as access is called once for each request.
        """
        found = self._find(request)
        if found is None or request.method not in ("GET", "HEAD"):
            return False
        _, view, rest = found
        return view.may_block(request, rest)

    def _refusal(self, request: Request) -> str:
        try:
            return self._access.refusal(request)
        except BaseException as error:  # a function given as access raised: the request is refused
            return f"the function given as access raised {type(error).__name__}"

    def _log(self, refusal: str) -> None:
        """Log the reason of a refusal, once a minute for each reason. The log record holds nothing of a request."""
        now = monotonic()
        if now - self._logged_at.get(refusal, -60.0) >= 60.0:
            self._logged_at[refusal] = now
            warn(
                "a request for the variables was refused: %s. To allow it, give the integration an access rule, such as"
                " access=local() | token(...) of pyvars.access, or set PYVARS_TOKEN",
                refusal,
            )

    def _find(self, request: Request) -> tuple[str, View, str] | None:
        for fixed, view in self._views.items():
            if not request.path.startswith(fixed):
                continue
            rest = request.path[len(fixed) :]
            if rest and (rest[0] != "/" or (view.exact and rest != "/")):
                continue
            # Other spellings of the path (%64ebug, debug%2fvars, an absolute URI) have no view: a proxy or a firewall
            # in front may have judged them differently. Only what follows the path of a view may be encoded.
            if request.raw_path is not None:
                literal = _quoted(request.root) + fixed
                if not request.raw_path.startswith(f"{literal}/") and request.raw_path != literal:
                    continue
            return fixed, view, rest[1:]
        return None


@lru_cache(maxsize=16)
def _quoted(root: str) -> str:
    return quote(root, safe=_LITERAL)
