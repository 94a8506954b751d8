"""workers: the processes of one program share their numbers."""


def group_of(live: int, *, retired: int = 0, reason: str = "") -> dict[str, object]:
    """`pyvars.workers` of a page, in a group of which no worker is stuck. With a reason, nothing is shared."""
    stuck = {"blocked": 0, "stopped": 0, "silent": 0}
    return {"live": live, "retired": retired, **stuck, "shared": not reason, "reason": reason, "threads": True}
