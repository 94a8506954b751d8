"""The views below /status."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import ClassVar

from pyvars.access.request import Request
from pyvars.collect.functions import type_name
from pyvars.formats.json import document
from pyvars.health.checks import CHECKS
from pyvars.health.hardware import CPUs, disk, ram
from pyvars.runtime.reading import Reading
from pyvars.site.gate import View
from pyvars.site.http import Response, respond_with, text

__all__ = ("CPU", "RAM", "Disk", "Health", "Liveness")

_OK = text(200, "OK")
_UNAVAILABLE = "UNAVAILABLE"


class Health(View):
    """Whether all health checks pass, with the names and reasons of those that fail: for requests with access."""

    description: ClassVar[str] = "OK, or 503 with the checks that fail"

    def may_block(self, request: Request, rest: str) -> bool:
        """Whether there are checks, since the response waits for them."""
        return bool(CHECKS)

    def respond(self, request: Request, rest: str) -> Response:
        """200 and OK; or 503 and UNAVAILABLE, then a line `name: reason` for each check that fails.

        The reason is the type of an exception, `returned False`, `timeout`, or `no thread` if none could be started.
        The response waits for the timeouts of the checks, also past the deadline of the request.
        """
        failing = CHECKS.run()
        lines = [_UNAVAILABLE, *(f"{name}: {reason}" for name, reason in sorted(failing.items()))]
        return text(503, "\n".join(lines)) if failing else _OK


class Liveness(Health):
    """Whether all health checks pass, by a run of the last second (`Checks.recent`), without names: for requests
    without access.
    """

    def respond(self, request: Request, rest: str) -> Response:
        """200 and OK, or 503 and UNAVAILABLE."""
        return text(503, _UNAVAILABLE) if CHECKS.recent() else _OK


class _Figures(View):
    def __init__(self, read: Callable[[], Mapping[str, object]]) -> None:
        self._reading = Reading(read)

    def may_block(self, request: Request, rest: str) -> bool:
        """Always: the first call imports psutil, and the disk may be a network file system."""
        return True

    def respond(self, request: Request, rest: str) -> Response:
        """200 with JSON, whatever the status in it, so that readers can record it; 503 if no figures can be read."""
        try:
            body = document(self._reading.get())
        except Exception as error:  # psutil raises where the program may not read files of /proc
            return text(503, f"the figures cannot be read: {type_name(error)}")
        return respond_with(200, body, "application/json; charset=utf-8")


class Disk(_Figures):
    """The file system of /: see `hardware.disk`."""

    description: ClassVar[str] = "space on the file system of /, as JSON"

    def __init__(self) -> None:
        super().__init__(disk)


class RAM(_Figures):
    """Memory of the machine or container: see `hardware.ram`."""

    description: ClassVar[str] = "memory of the machine or container, as JSON"

    def __init__(self) -> None:
        super().__init__(ram)


class CPU(_Figures):
    """CPUs of the machine or container: see `hardware.CPUs`."""

    description: ClassVar[str] = "CPUs of the machine or container, as JSON"

    def __init__(self) -> None:
        super().__init__(self._read)
        self._cpus: CPUs | None = None
        with suppress(Exception):  # _read tries again, and its error is in the response
            self._cpus = CPUs()

    def _read(self) -> Mapping[str, object]:
        if self._cpus is None:
            self._cpus = CPUs()
        return self._cpus.figures()
