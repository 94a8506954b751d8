"""Request: what is known of one request, whichever integration received it."""

from time import monotonic
from typing import NamedTuple

__all__ = ("DEADLINE_SECONDS", "Request", "deadline")


class Request(NamedTuple):
    """One request for a page. Immutable."""

    method: str
    path: str
    """Below the mount point, percent-decoded."""
    root: str
    """The mount point, percent-decoded: root_path or SCRIPT_NAME."""
    raw_path: str | None
    """Path with the mount point as it was sent, without the query; None where the integration does not tell."""
    query: str
    headers: tuple[tuple[str, str], ...]
    """Lower-case names; a header sent twice is there twice, where the integration tells."""
    peer: str | None
    """The address of the other end as the server reports it; empty for a unix socket; None when it is not known."""
    http_version: str
    """Such as `1.1`."""
    deadline: float
    """When, on the clock of `time.monotonic`, the answer must be on its way."""


DEADLINE_SECONDS = 0.2
"""From arrival to answer. The strictest reader of the page, SignalFx's agent, gives up after 0.3."""


def deadline() -> float:
    """The deadline of a request that arrives now."""
    return monotonic() + DEADLINE_SECONDS
