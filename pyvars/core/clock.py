"""Clocks that nobody can set, taken at import, so that a program cannot replace them later."""

import time
from functools import partial

__all__ = ("monotonic", "since_boot", "since_boot_ns", "wall")

_BOOTTIME = hasattr(time, "CLOCK_BOOTTIME")  # of Linux


class _Real:
    # Tools that stop the time in tests (freezegun) replace functions of `time` in the modules that import them, but not
    # attributes of a class.
    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)
    since_boot = staticmethod(partial(time.clock_gettime, time.CLOCK_BOOTTIME) if _BOOTTIME else time.monotonic)
    since_boot_ns = staticmethod(
        partial(time.clock_gettime_ns, time.CLOCK_BOOTTIME) if _BOOTTIME else time.monotonic_ns
    )


def monotonic() -> float:
    """The time of time.monotonic, in seconds."""
    return _Real.monotonic()


def since_boot() -> float:
    """The seconds since the machine started, with the time it slept: CLOCK_BOOTTIME, or else time.monotonic."""
    return _Real.since_boot()


def since_boot_ns() -> int:
    """The same in nanoseconds."""
    return _Real.since_boot_ns()


def wall() -> float:
    """The seconds since the epoch, only to be shown: somebody may set this clock, or replace `time.time`."""
    try:
        return float(time.time())
    except Exception:
        return _Real.wall()
