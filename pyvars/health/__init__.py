"""Whether the program is well, and the machine or container that it runs on.

    from pyvars.health import HealthApp, check

    @check("db", timeout=1)
    def db() -> None:
        pool.execute("select 1")

    app = Starlette(routes=[Mount("/status", HealthApp())])       # /status/health, /status/hardware/disk, ram and cpu

The side port has the same paths. General layout: checks (what the program says of itself); cgroup, hardware (what the
kernel says); views (the answers); app (to mount them).
"""

from pyvars.health.app import HealthApp
from pyvars.health.checks import check, delete
from pyvars.health.hardware import CRITICAL_PERCENT, WARNING_PERCENT

__all__ = ("CRITICAL_PERCENT", "WARNING_PERCENT", "HealthApp", "check", "delete")
