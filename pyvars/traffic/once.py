"""Ensures that each request is counted at most once in each registry.

The object that follows a request is kept in scope or environ (under KEY), where the middlewares further in find it.
"""

from collections.abc import Mapping, MutableMapping
from typing import Any

from pyvars.traffic.options import Exclusions
from pyvars.traffic.recorder import KEY, FollowedRequest, RequestRecorder

__all__ = ("detach", "discard", "outer_request", "stand_in")

_CARRIED = ("asgi.scope", "wsgi_environ")
"""Keys under which a2wsgi hands a scope to a WSGI application, and an environ to an ASGI application."""


class _StandIn(FollowedRequest):
    """A FollowedRequest that counts nothing: its recorder counts the request further out, or not at all."""

    __slots__ = ()

    def discard(self) -> None:
        pass


def outer_request(scope: Mapping[str, Any]) -> FollowedRequest | None:
    """Returns the FollowedRequest that the nearest middleware further out has put in scope or environ; None if none."""
    found = scope.get(KEY)
    for key in _CARRIED:
        if found is None and key in scope:
            found = scope[key].get(KEY)
    return found if isinstance(found, FollowedRequest) else None


def discard(scope: Mapping[str, Any]) -> None:
    """Make all middlewares further out discard the request, because pyvars answers it."""
    request = outer_request(scope)
    while request is not None:
        request.discard()
        request = request.outer


def stand_in(
    recorder: RequestRecorder, exclusions: Exclusions | None, scope: MutableMapping[str, Any], path: str
) -> FollowedRequest | None:
    """Decide whether this middleware counts the request in scope or environ. Returns None if it does.

    It does not if `exclusions` leave the request out, or if a middleware further out counts it with the same recorder.
    Then this returns a stand-in, and puts it in scope or environ until `detach`, so that no middleware further in
    counts the request with this recorder. If `exclusions` leave the request out, the middlewares further out that have
    the same recorder discard it, too.
    """
    outer = request = outer_request(scope)
    left_out = exclusions is not None and exclusions.leave_out(path)
    found = left_out
    while request is not None:
        if request.recorder is recorder and not request.recorded:
            found = True
            if left_out:
                request.discard()
            elif exclusions is not None:
                request.left_out |= exclusions.whole
        request = request.outer
    if not found:
        return None
    new = scope[KEY] = _StandIn()
    new.recorder, new.outer, new.recorded, new.left_out = recorder, outer, False, frozenset()
    return new


def detach(scope: MutableMapping[str, Any], request: FollowedRequest) -> None:
    """Remove a request that has ended from scope or environ, so that there is no reference cycle between the two."""
    request.recorded = True
    if scope.get(KEY) is request:
        outer = request.outer
        while outer is not None and outer.recorded:  # in WSGI the outer one ends first if the server closes its body
            outer = outer.outer
        if outer is None:
            del scope[KEY]
        else:
            scope[KEY] = outer
