"""`python`: which interpreter runs. Sources: sys, platform."""

import platform
import sys
from collections.abc import Callable

from pyvars.core.cells import native
from pyvars.core.version import __version__

__all__ = ("Python", "gil_enabled")

gil_enabled: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)


class Python:
    """The version and the implementation of the interpreter. All figures but `gil` are read once."""

    def __init__(self) -> None:
        self._figures: dict[str, object] = {
            "gil": True,
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "platform": sys.platform,
            "pyvars": __version__,
            "native": native,
        }

    def figures(self) -> dict[str, object]:
        """Returns the figures:

        `gil`, whether the GIL is on (sys._is_gil_enabled of CPython 3.13; always true before); `version`,
        `implementation` (platform) and `platform` (sys.platform); `pyvars`, its version; `native`, whether the C
        extension of pyvars does the counting.
        """
        gil = gil_enabled()
        if gil is not self._figures["gil"]:
            self._figures = {**self._figures, "gil": gil}
        return self._figures
