"""Request: one HTTP request in the form that all integrations translate theirs to."""

from time import monotonic
from typing import NamedTuple

__all__ = ("DEADLINE_SECONDS", "Request", "deadline")


class Request(NamedTuple):
    """An HTTP request. Immutable."""

    method: str
    path: str
    """The path below the mount point, percent-decoded."""
    root: str
    """The mount point, percent-decoded: root_path or SCRIPT_NAME."""
    raw_path: str | None
    """The path as it was sent, with the mount point and without the query; None if the server does not tell."""
    query: str
    """The query as it was sent, without the question mark."""
    headers: tuple[tuple[str, str], ...]
    """Names in lower case, and values; a header that is sent twice is there twice, if the server passes on both."""
    peer: str | None
    """The client address as the server reports it, not a header; empty for a unix socket; None if unknown."""
    http_version: str
    """Such as `1.1`."""
    deadline: float
    """When the response must be ready, on the clock of `time.monotonic`."""


DEADLINE_SECONDS = 0.2
"""The time from a request to its response. SignalFx's agent, the strictest reader of the page, gives up after 0.3."""


def deadline() -> float:
    """The deadline of a request that arrives now."""
    return monotonic() + DEADLINE_SECONDS
