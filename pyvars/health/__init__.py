"""Health checks of the program, and figures of the machine or container that it runs on.

    from pyvars.health import HealthApp, check

    @check("db", timeout=1)
    def db() -> None:
        pool.execute("select 1")

    app = Starlette(routes=[Mount("/status", HealthApp())])       # /status/health, /status/hardware/disk, ram and cpu

The side port has the same paths. The modules: checks (health checks, which are functions of the program); cgroup and
hardware (figures of the kernel); views (the views below /status); app (the ASGI application).
"""

from pyvars.health.app import HealthApp
from pyvars.health.checks import check, delete
from pyvars.health.hardware import CRITICAL_PERCENT, WARNING_PERCENT

__all__ = ("CRITICAL_PERCENT", "WARNING_PERCENT", "HealthApp", "check", "delete")
