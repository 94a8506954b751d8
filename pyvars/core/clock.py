"""The clocks of pyvars. All but `wall` are taken at import, so that the program cannot replace them later."""

import time
from functools import partial

__all__ = ("monotonic", "since_boot", "since_boot_ns", "wall")

_BOOTTIME = hasattr(time, "CLOCK_BOOTTIME")  # of Linux


class _Real:
    # Tools that stop the time in tests (freezegun) replace the functions of `time` that they find in the globals of
    # modules, but not those that are attributes of a class.
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
    """The seconds since the machine started, including suspend: CLOCK_BOOTTIME, or time.monotonic without it."""
    return _Real.since_boot()


def since_boot_ns() -> int:
    """The time of `since_boot`, in nanoseconds."""
    return _Real.since_boot_ns()


def wall() -> float:
    """The seconds since 1970, only to be shown: a user may set this clock, and the program may replace `time.time`."""
    try:
        return float(time.time())
    except Exception:
        return _Real.wall()
