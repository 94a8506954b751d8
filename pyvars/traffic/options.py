"""Traffic: which requests are not counted, and the buckets of the Histograms."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from pyvars.core.buckets import checked_bounds
from pyvars.errors import ConfigurationError

__all__ = ("Exclusions", "Traffic", "exclusions", "required_traffic", "traffic")

_PLACEHOLDER = re.compile(r"<[^<>]*>|\{[^{}]*\}")
_PATTERN = re.compile(r"[\^$*?()\[\]|\\]|\.\+")  # what only regular expressions, wildcards and queries contain


@dataclass(frozen=True)
class Traffic:
    """How requests are counted: `VarsMiddleware(app, count=Traffic(exclude=("/healthz", "/static/")))`.

    `exclude` lists the requests that are not counted. Each item is one of:

    - a literal prefix, which ends in `/`: `/static/` leaves out `/static/` and every path below it;
    - a path, or the template of a route as `by_route` shows it: `/healthz`, `/items/{id}`, `/items/<int:id>/`.

    `/` is the root page alone. Paths are as the application sees them, without the prefix of a server or a mount
    (root_path, SCRIPT_NAME). A request that is left out by its path is never in `in_flight`; one that is left out by
    its template is in `in_flight` until its route is known. Regular expressions and wildcards are refused.

    `bounds` are the upper bounds of the buckets of `seconds`, `seconds_by_route` and `first_byte_seconds`, in seconds:
    see `Histogram`. All middlewares of one registry must have the same bounds. Immutable.

    Raises:
        ConfigurationError: `exclude` is not a collection of such items, or a Histogram refuses `bounds`.
    """

    exclude: Iterable[str] = ()
    bounds: Iterable[float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "exclude", _checked(self.exclude))
        if self.bounds is not None:
            try:
                object.__setattr__(self, "bounds", checked_bounds(self.bounds))
            except (TypeError, ValueError) as error:
                raise ConfigurationError(f"Traffic(bounds=...): {error}") from None


class Exclusions:
    """The requests that a middleware does not count, in a form that is fast to look up."""

    __slots__ = ("prefixes", "whole")

    def __init__(self, exclude: Iterable[str]) -> None:
        texts = frozenset(exclude)
        self.prefixes: tuple[str, ...] = tuple(
            text for text in texts if text.endswith("/") and text != "/" and not _PLACEHOLDER.search(text)
        )
        self.whole: frozenset[str] = texts.difference(self.prefixes)
        """Paths, and templates of routes."""

    def leave_out(self, path: str) -> bool:
        """Whether a request is left out because of its path, before its route is known."""
        return path in self.whole or path.startswith(self.prefixes)


def traffic(count: object) -> Traffic | None:
    """Returns the options for the argument `count` of a middleware; None if it counts nothing.

    Raises:
        TypeError: `count` is neither a bool nor a Traffic.
    """
    if isinstance(count, Traffic):
        return count
    if isinstance(count, bool):
        return Traffic() if count else None
    raise TypeError(f"count is True, False or Traffic(...), got {count!r}")


def required_traffic(count: object) -> Traffic:
    """Returns the options for the argument `count` of CountRequests.

    Raises:
        TypeError: `count` is neither True nor a Traffic.
    """
    options = traffic(count)
    if options is None:
        raise TypeError("CountRequests(count=False) would do nothing; leave the middleware out")
    return options


def exclusions(options: Traffic) -> Exclusions | None:
    """Returns the requests that the options leave out; None if they leave out none."""
    found = Exclusions(options.exclude)
    return found if found.prefixes or found.whole else None


def _checked(exclude: object) -> tuple[str, ...]:
    if isinstance(exclude, str | bytes) or not isinstance(exclude, Iterable):
        raise ConfigurationError(f'exclude is a collection of paths, such as ("/healthz", "/static/"), got {exclude!r}')
    texts = tuple(cast("Iterable[object]", exclude))
    for text in texts:
        if not isinstance(text, str) or not text.startswith("/"):
            raise ConfigurationError(
                f'exclude holds paths that begin with a slash, such as "/healthz" or "/static/", got {text!r}'
            )
        found = _PATTERN.search(_PLACEHOLDER.sub("", text))
        if found is not None:
            prefix = text[: text.index(found[0])].rpartition("/")[0]
            raise ConfigurationError(
                f"exclude takes no regular expression, wildcard or query, got {text!r}: write the literal prefix that"
                f' ends in a slash, such as "{prefix}/", or the template of the route as by_route shows it'
            )
    return tuple(str.__str__(text) for text in texts if isinstance(text, str))
