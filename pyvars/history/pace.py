"""Decides when each function of the program is called for the history."""

import math

from pyvars.collect.calls import Call
from pyvars.collect.functions import FUNCTIONS, Job, Times

__all__ = ("COST_SHARE", "Pace")

SLOW_SECONDS = 10.0
"""The shortest time between two calls of a function while nobody reads the history."""
QUICK_SECONDS = 0.005
"""A function that takes less is called each second while somebody reads the history, if COST_SHARE allows it."""
COST_SHARE = 0.01
"""The share of the time that all slow functions together may take, and that all quick ones may take besides."""
_EARLY_SECONDS = 0.5
"""A function that is due within this time is called now, since the times of samples vary a little."""


class _State:
    """The calls of one function."""

    def __init__(self) -> None:
        self.called = -math.inf
        """The moment of the sample that called it last, in seconds since the machine started."""
        self.seconds = 0.0
        """How long its last call that has ended took."""
        self.call: Call | None = None
        self.taken = 0.0
        """When the call ended whose value went into a sample last, by `monotonic`."""


class Pace:
    """Runs the functions that are due. Not thread-safe."""

    def __init__(self) -> None:
        self.longest: float = SLOW_SECONDS
        """The longest time between two calls of a function."""
        self._moment = self._deadline = 0.0
        self._watched = False
        self._slow = self._quick = 1.0  # factors that lengthen the pauses, because of COST_SHARE
        self._states: dict[str, _State] = {}

    def begin(self, moment: float, *, deadline: float, watched: bool) -> None:
        """Begin a sample at this moment, in seconds. `watched` tells whether somebody reads the history."""
        self._moment, self._deadline, self._watched = moment, deadline, watched

    def run(self, jobs: list[Job]) -> None:
        """Call the functions that are due, and wait for them until the deadline.

        A job gets a value if its function has returned since the last sample. A job with `every` gets the value of its
        latest call in each sample. No job gets an error: /debug/vars shows the errors. The state of a function that is
        no longer published is dropped.
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
        """Set the two factors and `longest`; `times` are the seconds that a call of each function takes."""
        self._slow = 1.0
        self._slow = max(1.0, sum(seconds / self._pause_slow(seconds) for seconds in times) / COST_SHARE)
        self._quick = max(1.0, sum(seconds for seconds in times if seconds < QUICK_SECONDS) / COST_SHARE)
        self.longest = max([SLOW_SECONDS, *map(self._pause_slow, times)])

    def _pause(self, seconds: float) -> float:
        """The seconds between two calls of a function that takes `seconds`."""
        slow = self._pause_slow(seconds)
        return min(self._quick, slow) if self._watched and seconds < QUICK_SECONDS else slow

    def _pause_slow(self, seconds: float) -> float:
        return max(SLOW_SECONDS, seconds / COST_SHARE) * self._slow
