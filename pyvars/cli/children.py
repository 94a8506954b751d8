"""Shares variables with the processes that a program below `python -m pyvars` starts through multiprocessing.

A child that is spawned, or comes from a fork server, unpickles the configuration of its parent's process object. It
does so before it runs anything but the imports of the main module. An object in this configuration, which runs a
function when it is unpickled, therefore reaches all children, and their children. multiprocessing has no public way to
do that, and an environment variable would reach other programs, too.
"""

import multiprocessing.process
from typing import Any

from pyvars.cli.counting import count_http
from pyvars.core.log import warn
from pyvars.site.default import served

__all__ = ("share_with_children",)

_KEY = "pyvars"


class _Mark:
    """Makes the process in which it is unpickled a worker of the group."""

    def __init__(self, http: bool) -> None:
        self._http = http

    def __reduce__(self) -> tuple[Any, ...]:
        return _begin, (self._http,)


def share_with_children(*, http: bool) -> None:
    """Share the default registry with all processes that multiprocessing starts; with `http` they count requests."""
    config: dict[str, object] = vars(multiprocessing.process.current_process())["_config"]
    config[_KEY] = _Mark(http)


def _begin(http: bool) -> _Mark:
    try:
        served(None)
        if http:
            count_http()
    except Exception as error:  # it would end the child before the child runs the program
        warn("a process started by multiprocessing does not share its variables", exc_info=error)
    return _Mark(http)
