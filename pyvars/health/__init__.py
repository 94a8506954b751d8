"""Health checks of the program, and figures of the machine or container that it runs on.

    from pyvars.health import HealthApp, check

    @check("db", timeout=1)         # seconds; 1 if it is not given, 60 at most
    def db() -> None:
        pool.execute("select 1")

    app = Starlette(routes=[Mount("/status", HealthApp())])       # /status/health, /status/hardware/disk, ram and cpu

The side port has the same paths. The responses describe the process that answers and its machine or container, not the
other workers.

A check is a function without arguments. It passes if it returns within its timeout, and returns anything but False; it
fails if it raises. All checks run at the same time, each in a thread of its own, so the response takes at most as long
as the longest timeout. Two calls of one check never overlap: a check that hangs is not called again before it returns.
`delete(name)` removes a check. pyvars logs the failures of a check, at most one a minute.

/status/health is 200 with `OK` if all checks pass or there are none, else 503 with `UNAVAILABLE`. Clients that may see
the variables also get a line `name: reason` for each check that failed: the type of an exception, `returned False`,
`timeout` or `no thread`. /status/health answers all clients, because load balancers send no credential. Clients that
may not see the variables get a result that is up to a second old, so that many such requests call each check only once
a second. Use GET or HEAD (HAProxy: `option httpchk GET /status/health`). In Kubernetes use /status/health as the
readiness probe. Do not use it as the liveness probe if a check reads a database: Kubernetes would restart healthy
programs whenever the database is down.

/status/hardware/disk, ram and cpu are JSON objects. The HTTP status is 200 whatever the `status` in the object is, or
503 if no figures can be read. `total` and `used` are described for disk, then for ram, then for cpu:

total       bytes of the file system of `/`; bytes of memory; CPUs, such as 1.5
used        bytes; bytes that cannot be freed at once; the mean number of CPUs in use
percent     0 to 100; for the disk as `df` computes it, which leaves out the blocks reserved for root
status      `OK`, from 80 % `WARNING`, from 90 % `CRITICAL`; `UNKNOWN`, with `error`, if the use cannot be read
source      only ram and cpu: `cgroup` if the container has a limit below the total of the machine (memory.max, cpu.max,
            cpuset.cpus, and the same of cgroup version 1), else `machine`
path        only disk: the file system
count       only cpu: the CPUs of the machine

`used` of `cpu` is the mean since an earlier response that is at least 10 s old, however many clients read it. Before
there is such a response, it is the mean since the machine started, or, if a cgroup has a limit, since the integration
was made; only this mean may cover less than 10 s.

The modules: checks (health checks, which are functions of the program); hardware (figures of the kernel);
views (the views below /status); app (the ASGI application).
"""

from pyvars.health.app import HealthApp
from pyvars.health.checks import check, delete
from pyvars.health.hardware import CRITICAL_PERCENT, WARNING_PERCENT

__all__ = ("CRITICAL_PERCENT", "WARNING_PERCENT", "HealthApp", "check", "delete")
