"""The load of a worker: figures that it sends as its answer when a peer asks it to write its runtime figures."""

from typing import Any, cast

from pyvars.formats.json import from_json
from pyvars.runtime import BUILTINS, runtime_figures
from pyvars.runtime.event_loop import loop_lag
from pyvars.traffic.in_flight import oldest, requests_in_flight

__all__ = ("load_of", "own_load")


def own_load() -> dict[str, float | None]:
    """The load of this process. Runs no code of the program.

    lag_seconds: the lag of its event loop, None without a loop. in_flight: its requests in flight. oldest_seconds: the
    age of the oldest of them, None without one. HeapAlloc: bytes, as in memstats; None if it cannot be read now.
    """
    memstats: Any = runtime_figures().get(BUILTINS["memstats"], {})
    return {
        "lag_seconds": loop_lag(),
        "in_flight": requests_in_flight(),
        "oldest_seconds": oldest(),
        "HeapAlloc": memstats.get("HeapAlloc"),
    }


def load_of(answer: bytes | None) -> dict[str, float | None]:
    """The load in the answer of a peer. A figure is None if the peer did not answer, or sent no number for it."""
    try:
        found = from_json(answer or b"")
    except ValueError:
        found = None
    load = cast("dict[str, object]", found) if isinstance(found, dict) else {}
    return {key: each if isinstance(each := load.get(key), int | float) else None for key in own_load()}
