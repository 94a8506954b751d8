"""Answers a request on an event loop: a view that may block runs in one of four threads, not on the loop."""

from contextlib import suppress
from importlib import import_module

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

from pyvars.access.request import Request
from pyvars.collect.functions import Round
from pyvars.runtime.event_loop import running_loop
from pyvars.site.gate import Admitted, Site
from pyvars.site.http import Response

# anyio, which comes with Starlette, would import this module at its first use. During a request that may fail, because
# the process has no file descriptor left. When an integration is made would be too late: uWSGI loses the signals that
# come between that moment and the first request.
with suppress(ImportError):  # another release may have the module elsewhere
    import_module("anyio._backends._asyncio")

__all__ = ("answer",)

MAX_THREADS = 4
"""Threads for views that may block: two render, two wait for a slot. Further requests wait on the event loop."""

_limiters: RunVar[CapacityLimiter] = RunVar("pyvars_limiter")


async def answer(site: Site, request: Request) -> Response:
    """Returns the response of the site. A view that may block runs in a thread, not on the event loop."""
    admitted = site.admit(request)
    if not isinstance(admitted, Admitted):
        return admitted
    functions = admitted.begin()
    if not admitted.may_block() and (functions is None or await _are_waited_for(functions)):
        return admitted.respond()
    with suppress(Exception):  # no thread can be started
        return await to_thread.run_sync(admitted.respond, limiter=_limiter())
    return admitted.respond()  # without threads no function runs either, so the page waits for little


async def _are_waited_for(functions: Round) -> bool:
    """Wait on the event loop for the functions of the page. Returns False if the loop is not one of asyncio."""
    try:
        loop = running_loop()
    except RuntimeError:
        return False
    from asyncio import Event

    woken, back = Event(), Event()

    def wake() -> None:
        with suppress(RuntimeError):  # the loop was closed a moment ago
            loop.call_soon_threadsafe(set_both)

    def set_both() -> None:
        back.set()
        woken.set()

    functions.when_back(wake)
    while not back.is_set() and (seconds := functions.seconds()) is not None:
        timer = loop.call_later(seconds, woken.set)
        await woken.wait()
        timer.cancel()
        woken.clear()
    return True


def _limiter() -> CapacityLimiter:
    """Returns the thread limit of the running event loop.

    It is not the default limit of anyio, which the service uses: the page must answer when all its threads are busy.
    """
    try:
        return _limiters.get()
    except LookupError:
        limiter = CapacityLimiter(MAX_THREADS)
        _limiters.set(limiter)
        return limiter
