"""The load of a worker, which is its answer when a peer asks for its runtime figures."""

from typing import Any, cast

from pyvars.formats.json import from_json
from pyvars.runtime import BUILTINS, runtime_figures
from pyvars.runtime.event_loop import loop_lag
from pyvars.traffic.in_flight import oldest, requests_in_flight

__all__ = ("load_of", "own_load")


def own_load() -> dict[str, float | None]:
    """The load of this process: the lag of its event loop in seconds, None without a loop; its requests in flight, and
    the age of the oldest; HeapAlloc of memstats, None if that cannot be read now. Runs no code of the program.
    """
    memstats: Any = runtime_figures().get(BUILTINS["memstats"], {})
    return {
        "lag_seconds": loop_lag(),
        "in_flight": requests_in_flight(),
        "oldest_seconds": oldest(),
        "HeapAlloc": memstats.get("HeapAlloc"),
    }


def load_of(answer: bytes | None) -> dict[str, float | None]:
    """The load in the answer of a peer. A figure is None if there is no answer, or if it is no number."""
    try:
        found = from_json(answer or b"")
    except ValueError:
        found = None
    load = cast("dict[str, object]", found) if isinstance(found, dict) else {}
    return {key: each if isinstance(each := load.get(key), int | float) else None for key in own_load()}
