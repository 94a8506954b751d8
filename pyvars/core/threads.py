"""Threads of pyvars: whether they can run in this process, and which of them must be started when they are missing."""

import os
import sys
from collections.abc import Callable

__all__ = ("keep", "keep_up", "threads_run", "why_no_threads")

_starts: list[Callable[[], None]] = []


def keep(start: Callable[[], None]) -> None:
    """Register `start`, which starts a thread if one is needed and none runs; `keep_up` calls it."""
    _starts.append(start)


def keep_up() -> None:
    """Start the threads that are needed. The thread of `pyvars.workers`, which integrations start, calls this."""
    for start in _starts:
        start()


def threads_run() -> bool:
    """Whether pyvars can run threads of its own in this process."""
    return not why_no_threads()


def why_no_threads() -> str:
    """Why pyvars can run no threads in this process; empty if it can.

    It cannot under gevent or eventlet, which turn threads into greenlets; in uWSGI without `enable-threads`; and in the
    master of uWSGI. That master forks without holding the GIL: if a thread holds the GIL at that moment, the new worker
    waits for it for ever (https://github.com/unbit/uwsgi/issues/2387).
    """
    for module, question in (("gevent.monkey", "is_module_patched"), ("eventlet.patcher", "is_monkey_patched")):
        patched = getattr(sys.modules.get(module), question, None)
        if patched is not None and (patched("threading") or patched("thread")):
            return f"{module.partition('.')[0]} makes threads greenlets"
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is None:
        return ""
    options = getattr(uwsgi, "opt", {})
    enabled = "enable-threads" in options or options.get("threads", b"1") != b"1"
    if not enabled:
        return "uWSGI runs no threads without enable-threads"
    return "" if uwsgi.masterpid() != os.getpid() else "no threads may run in the master of uWSGI"
