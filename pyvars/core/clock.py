"""The clock of deadlines: `time.monotonic` as it was at import, whatever a program puts in its place later."""

import time

__all__ = ("monotonic",)


class _Real:
    # Tools that stop the time for tests (freezegun) replace the functions of `time` in the modules that have imported
    # them; attributes of a class they leave alone.
    monotonic = staticmethod(time.monotonic)


def monotonic() -> float:
    """The time of time.monotonic, in seconds."""
    return _Real.monotonic()
