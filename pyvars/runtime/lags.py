"""The lags of all event loops that this process has had: the longest one, and a Histogram."""

import pyvars
from pyvars.core import resources
from pyvars.core.histogram import Histogram
from pyvars.core.log import warn
from pyvars.errors import DuplicateNameError

__all__ = ("LAGS", "Lags")

NAME = "asyncio_lag_seconds"
"""The name of the Histogram."""


class LagHistogram(Histogram):
    """A Histogram of pyvars itself."""

    __slots__ = ()

    builtin = True
    """Lets a variable of the program replace this one."""


class Lags:
    """The lags seen so far."""

    def __init__(self) -> None:
        self._histogram = LagHistogram()
        self._published = False
        self.longest: float = 0.0
        """The longest, in seconds."""
        resources.hold(__name__, "lags of event loops", in_child=self._forget)

    def _forget(self) -> None:
        self.longest = 0.0

    def saw(self, lag: float) -> float:
        """Note a lag that may grow further, and return it."""
        self.longest = max(self.longest, lag)
        return lag

    def add(self, lag: float) -> float:
        """Count the lag of a probe that has arrived, and return it."""
        self._histogram.observe(lag)
        return self.saw(lag)

    def publish(self) -> None:
        """Publish the Histogram in the default registry, unless that was done. A variable of the program stays."""
        if self._published:
            return
        self._published = True
        try:
            pyvars.default_registry.publish(NAME, self._histogram, help="Lag of the event loops", unit="seconds")
        except DuplicateNameError:
            warn("the Histogram of the lags is not published: the program has a variable of its own named %r", NAME)


LAGS: Lags = Lags()
"""Those of this process."""
