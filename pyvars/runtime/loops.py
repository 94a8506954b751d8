"""Finds the asyncio event loops that run in this process, in the frames of threads and in asyncio's list of tasks.

A loop written in Python is `self` in the frame of its `run_forever`. A loop that asyncio.run runs is in the frame of
asyncio.Runner. A loop written in C (uvloop) that the program runs itself has no such frame: it is found through its
tasks. From Python 3.14 on asyncio lists only the tasks of a known loop: there it is found if it is a local variable of
a frame.
"""

import gc
import sys
import threading
from collections.abc import Iterator
from itertools import islice
from operator import call
from types import FrameType
from typing import TYPE_CHECKING, Any, cast

from pyvars.core import resources

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

__all__ = ("running_loops",)

MAX_DEPTH = 500
"""The maximum number of frames of a thread that are searched. A loop below more frames is found later."""
MAX_TASKS = 64
"""The maximum number of tasks that are searched, which bounds the cost."""
TASKS_ARE_KNOWN = sys.version_info < (3, 14)
"""Whether asyncio lists the tasks of loops that are not known."""
_ENTRIES = ("run_forever", "run_until_complete", "run")


def running_loops() -> "list[AbstractEventLoop]":
    """Returns the loops of the program that run in any thread. Does not import asyncio."""
    if "asyncio" not in sys.modules:
        return []
    found = [(thread, loop) for thread, frame in _frames().items() for loop in _in_stack(frame)]
    if found:
        ours = {each.ident for each in threading.enumerate() if str(getattr(each, "_name", "")).startswith("pyvars-")}
        found = [(thread, loop) for thread, loop in found if thread not in ours]
    return [*{id(loop): loop for loop in (*(loop for _, loop in found), *_of_tasks())}.values()]


def _frames() -> dict[int, FrameType]:
    """The frame that runs in each thread.

    In Python 3.11 a garbage collection during sys._current_frames may wait for ever (python/cpython#106883), so
    collections are disabled meanwhile. No bytecode runs between the three calls, so no other thread can see that.
    """
    calls: tuple[Any, ...] = (gc.disable, sys._current_frames, gc.enable if gc.isenabled() else gc.disable)
    _, frames, _ = map(call, calls)
    return cast("dict[int, FrameType]", frames)


def _in_stack(frame: FrameType | None) -> "Iterator[AbstractEventLoop]":
    from asyncio import AbstractEventLoop, Runner

    for _ in range(MAX_DEPTH):
        if frame is None:
            return
        code = frame.f_code
        # Read the locals of no other frame: up to Python 3.12 that keeps them alive until the frame ends.
        if code.co_name in _ENTRIES and (code.co_name != "run" or code is Runner.run.__code__):
            owner: Any = frame.f_locals.get("self")
            if issubclass(type(owner), Runner):
                owner = owner._loop
            if issubclass(type(owner), AbstractEventLoop):
                yield owner
        if not TASKS_ARE_KNOWN:  # here to read the locals does not keep them alive
            yield from _of_locals(frame)
        frame = frame.f_back


def _of_locals(frame: FrameType) -> "Iterator[AbstractEventLoop]":
    """The loops among the local variables of a frame that run and are not written in Python.

    One that is written in Python is found by its own frame.
    """
    from asyncio import AbstractEventLoop, BaseEventLoop

    for each in [*frame.f_locals.values()]:
        if issubclass(type(each), AbstractEventLoop) and not isinstance(each, BaseEventLoop) and each.is_running():
            yield each


def _of_tasks() -> "Iterator[AbstractEventLoop]":
    """The loops that are not written in Python, of some tasks."""
    from asyncio import BaseEventLoop

    for reference in () if _inherited else _some_tasks():
        task = reference()
        loop = task.get_loop() if task is not None else None
        if loop is not None and not isinstance(loop, BaseEventLoop):
            yield loop


def _some_tasks() -> list[Any]:
    """Weak references to some tasks, of any loop."""
    tasks = sys.modules.get("asyncio.tasks")
    known = getattr(tasks, "_scheduled_tasks", None) or getattr(tasks, "_all_tasks", None)  # since 3.12; before
    return [*islice(getattr(known, "data", ()), MAX_TASKS)]  # in one step, since other threads make tasks meanwhile


_inherited = False
"""Whether this process was forked from one that had tasks. In the child their loops seem to run, but do not."""


def _note_inherited() -> None:
    global _inherited
    _inherited = _inherited or bool(_some_tasks())


resources.hold(__name__, "tasks of event loops", in_child=_note_inherited)
