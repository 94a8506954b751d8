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
    """The Histogram of the lags. A variable of the program may replace it."""

    __slots__ = ()

    builtin = True
    """Lets a variable of the program replace this one."""


class Lags:
    """The lags seen so far."""

    def __init__(self) -> None:
        self._histogram = LagHistogram()
        self._published = False
        self.longest: float = 0.0
        """The longest lag, in seconds."""
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
        """Publish the Histogram in the default registry once, unless the program has a variable of that name."""
        if self._published:
            return
        self._published = True
        try:
            pyvars.default_registry.publish(NAME, self._histogram, help="Lag of the event loops", unit="seconds")
        except DuplicateNameError:
            warn("the Histogram of event loop lags is not published: the program has published a variable as %r", NAME)


LAGS: Lags = Lags()
"""The lags of this process."""
