"""Health checks of the program, and figures of the machine or container that it runs on.

    from pyvars.health import HealthApp, check

    @check("db", timeout=1)         # seconds; 1 if it is not given, 60 at most
    def db() -> None:
        pool.execute("select 1")

    app = Starlette(routes=[Mount("/status", HealthApp())])       # /status/health, /status/hardware/disk, ram and cpu

The side port has the same paths. All of this is about the process that answers and its machine or container, not about
the other workers.

A check is a function without arguments. It passes if it returns in time and does not return False; it fails if it
raises. All checks run at the same time, each in a thread of its own, so the response takes at most as long as the
longest timeout. Two calls of one check never overlap: a check that hangs is not called again before it returns.
`delete(name)` removes a check. Failures of a check are logged once a minute.

/status/health is 200 with `OK` if all checks pass or there are none, else 503 with `UNAVAILABLE`. Clients that may see
the variables also get a line `name: reason` for each check that failed: the type of an exception, `returned False`,
`timeout` or `no thread`. Everybody may ask, because load balancers have no credential; clients that may not see the
variables get a result up to a second old, so that a flood of their requests calls each check only once a second. Use
GET or HEAD (HAProxy: `option httpchk GET /status/health`). In Kubernetes use it as the readiness probe, not as the
liveness probe: with a check of a database, that would restart healthy programs whenever the database is down.

/status/hardware/disk, ram and cpu are JSON objects, always with status 200:

total       bytes of the file system of `/`; bytes of memory; CPUs, such as 1.5
used        bytes; bytes that cannot be freed at once; CPUs in use, as the mean over 10 s or more
percent     0 to 100; for the disk as `df` computes it, which leaves out the blocks reserved for root
status      `OK`, from 80 % `WARNING`, from 90 % `CRITICAL`; `UNKNOWN`, with `error`, if the use cannot be read
source      only ram and cpu: `cgroup` if a container limits them below the machine (memory.max, cpu.max, cpuset.cpus,
            and the same of version 1), else `machine`
path        only disk: the file system
count       only cpu: the CPUs of the machine

The mean of `cpu` covers the time since the last response that is at least 10 s old, so that several readers do not
shorten it for one another. The first mean begins with the machine, or in a container when the integration was made.

The modules: checks (health checks, which are functions of the program); cgroup and hardware (figures of the kernel);
views (the views below /status); app (the ASGI application).
"""

from pyvars.health.app import HealthApp
from pyvars.health.checks import check, delete
from pyvars.health.hardware import CRITICAL_PERCENT, WARNING_PERCENT

__all__ = ("CRITICAL_PERCENT", "WARNING_PERCENT", "HealthApp", "check", "delete")
