"""When each function of the program is called for the history."""

import math

from pyvars.collect.calls import Call
from pyvars.collect.functions import FUNCTIONS, Job, Times

__all__ = ("COST_SHARE", "Pace")

SLOW_SECONDS = 10.0
"""How often functions are called."""
QUICK_SECONDS = 0.005
"""A function that takes less is called each second while somebody looks at the history."""
COST_SHARE = 0.01
"""The share of the time that all functions together may take."""
_EARLY_SECONDS = 0.5
"""A function that is due so soon is called now: samples are not made to the millisecond."""


class _State:
    """What is known of one function."""

    def __init__(self) -> None:
        self.called = -math.inf
        """When it was called last, by the moments of samples."""
        self.seconds = 0.0
        """How long that took, or the call before while that runs."""
        self.call: Call | None = None
        self.taken = 0.0
        """When the call ended whose value was taken last."""


class Pace:
    """Runs the functions that are due. Not thread-safe."""

    def __init__(self) -> None:
        self.longest: float = SLOW_SECONDS
        """The longest time between two calls of a function."""
        self._moment = self._deadline = 0.0
        self._watched = False
        self._slow = self._quick = 1.0  # by how much calls are rarer, so that all together are not too costly
        self._states: dict[str, _State] = {}

    def begin(self, moment: float, *, deadline: float, watched: bool) -> None:
        """Begin a sample at this moment, in seconds; `watched` tells whether somebody looks at the history."""
        self._moment, self._deadline, self._watched = moment, deadline, watched

    def run(self, jobs: list[Job]) -> None:
        """Call the functions that are due, and wait for them until the deadline.

        A job gets a value if its function has returned since the last sample, and one with `every` each time. It gets
        no error: a page says what is wrong. Functions that are on the page no more are forgotten.
        """
        self._states = {job.label: self._states.get(job.label) or _State() for job in jobs}
        due = [job for job in jobs if job.periodic is not None or self._is_due(self._states[job.label])]
        FUNCTIONS.begin(due, Times.of_question(self._deadline)).wait()
        for job in jobs:
            state = self._states[job.label]
            if job.periodic is not None:
                outcome = FUNCTIONS.background.outcome(job.periodic)
                job.value = outcome.value if outcome is not None else None
                continue
            state.call = job.call or state.call
            outcome = state.call.outcome if state.call is not None else None
            if outcome is not None and outcome.at > state.taken:
                job.value, state.taken, state.seconds = outcome.value, outcome.at, outcome.seconds
        self._set_pace([state.seconds for state in self._states.values()])

    def _is_due(self, state: _State) -> bool:
        due = self._moment >= state.called + self._pause(state.seconds) - _EARLY_SECONDS
        if due:
            state.called = self._moment
        return due

    def _set_pace(self, times: list[float]) -> None:
        """Set how often functions are called that take so long."""
        self._slow = 1.0
        self._slow = max(1.0, sum(seconds / self._pause_slow(seconds) for seconds in times) / COST_SHARE)
        self._quick = max(1.0, sum(seconds for seconds in times if seconds < QUICK_SECONDS) / COST_SHARE)
        self.longest = max([SLOW_SECONDS, *map(self._pause_slow, times)])

    def _pause(self, seconds: float) -> float:
        """The seconds between two calls of a function that takes so long."""
        slow = self._pause_slow(seconds)
        return min(self._quick, slow) if self._watched and seconds < QUICK_SECONDS else slow

    def _pause_slow(self, seconds: float) -> float:
        return max(SLOW_SECONDS, seconds / COST_SHARE) * self._slow
