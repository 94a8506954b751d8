"""Counted once: the request that is followed stands in scope or environ, where middlewares further in find it."""

from collections.abc import Mapping, MutableMapping
from typing import Any

from pyvars.traffic.options import Exclusions
from pyvars.traffic.recorder import KEY, FollowedRequest, RequestRecorder

__all__ = ("detach", "discard", "outer_request", "stand_in")

_CARRIED = ("asgi.scope", "wsgi_environ")
"""Keys under which a2wsgi hands a scope to a WSGI application, and an environ to an ASGI application."""


class _StandIn(FollowedRequest):
    """Stands for a request that its recorder counts further out, or not at all."""

    __slots__ = ()

    def discard(self) -> None:
        pass


def outer_request(scope: Mapping[str, Any]) -> FollowedRequest | None:
    """Returns the request in scope or environ as the nearest middleware further out follows it; None without one."""
    found = scope.get(KEY)
    for key in _CARRIED:
        if found is None and key in scope:
            found = scope[key].get(KEY)
    return found if isinstance(found, FollowedRequest) else None


def discard(scope: Mapping[str, Any]) -> None:
    """Count the request in scope or environ nowhere: pyvars answers it."""
    request = outer_request(scope)
    while request is not None:
        request.discard()
        request = request.outer


def stand_in(
    recorder: RequestRecorder, exclusions: Exclusions | None, scope: MutableMapping[str, Any], path: str
) -> FollowedRequest | None:
    """Returns None if this recorder is to count the request in scope or environ.

    Else the request is left out, or a middleware further out counts it. A stand-in is then in scope or environ, until
    `detach`: no middleware further in counts the request with this recorder. What this middleware leaves out, the
    others do not count either.
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
    """Remove the request, which has ended, from scope or environ, which it refers to: no reference cycle stays."""
    request.recorded = True
    if scope.get(KEY) is request:
        outer = request.outer
        while outer is not None and outer.recorded:  # of WSGI the outer one ends first: a server closes its body
            outer = outer.outer
        if outer is None:
            del scope[KEY]
        else:
            scope[KEY] = outer
