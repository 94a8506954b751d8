"""What `python -m pyvars` does for the processes that the program starts with multiprocessing, such as workers.

A child by spawn or forkserver unpickles the configuration of its parent's process object before it runs anything but
the imports of the main module. So an object in there, which runs a function when it is unpickled, reaches every child,
and theirs. multiprocessing has no public way to do that: an environment variable would reach other programs, too.
"""

import multiprocessing.process
from typing import Any

from pyvars.cli.counting import count_http
from pyvars.core.log import warn
from pyvars.site.default import served

__all__ = ("share_with_children",)

_KEY = "pyvars"


class _Mark:
    """Unpickled, it makes that process a worker of the group."""

    def __init__(self, http: bool) -> None:
        self._http = http

    def __reduce__(self) -> tuple[Any, ...]:
        return _begin, (self._http,)


def share_with_children(*, http: bool) -> None:
    """Share the default registry with all processes that multiprocessing will start; `http`: they count requests."""
    config: dict[str, object] = vars(multiprocessing.process.current_process())["_config"]
    config[_KEY] = _Mark(http)


def _begin(http: bool) -> _Mark:
    try:
        served(None)
        if http:
            count_http()
    except Exception as error:  # it would end the child before it has begun
        warn("a process started by multiprocessing does not share its variables", exc_info=error)
    return _Mark(http)
