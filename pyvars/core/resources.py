"""Resources: what a forked child must not use as it inherits it, and the hooks that run around a fork.

A resource is a lock, a thread, a file, a socket, or memory that is shared with other processes. The module that makes
one calls `hold`, with the functions that stop the resource before a fork, make it again in the parent, and give it up
in the child.

One set of hooks of `os.register_at_fork` serves all resources. If a fork does not run Python's hooks,
`after_fork_in_child` is called later, for example by a hook of uWSGI.

In the child, `first_in_child` of all resources runs before any `in_child`. After that, no thread that exists only in
the parent holds a lock, and the child no longer writes its numbers to the memory of the parent. Until then garbage
collection is off in the child, because a gc callback or a finalizer that counts would write there.
"""

import gc
import os
from collections.abc import Callable
from contextlib import suppress
from os import getpid  # at import: if the program replaces os.getpid later, that must not look like a fork
from threading import Thread, get_ident, main_thread
from time import sleep
from typing import NamedTuple

from pyvars.core.clock import monotonic
from pyvars.core.soon import pending

__all__ = ("Resource", "after_fork_in_child", "held", "hold", "join", "make_again", "release")


def _nothing() -> None:
    pass


class Resource(NamedTuple):
    """Something that a forked child must not use as it inherits it."""

    made_by: str
    """The module that made it."""
    description: str
    """What it is, such as `thread pyvars-standby`."""
    before: Callable[[], None]
    """Stops it, in the process that is about to fork."""
    in_parent: Callable[[], None]
    """Makes it again in the parent, soon after the fork; if forks overlap, once, after the last of them."""
    first_in_child: Callable[[], None]
    """Makes it harmless in the child, before any other code of pyvars runs there."""
    in_child: Callable[[], None]
    """Gives it up in the child, or makes a new one there."""


_held: list[Resource] = []  # changed by single operations and read as a copy: a fork may come at any moment


def hold(
    made_by: str,
    description: str,
    *,
    before: Callable[[], None] = _nothing,
    in_parent: Callable[[], None] = _nothing,
    first_in_child: Callable[[], None] = _nothing,
    in_child: Callable[[], None] = _nothing,
) -> Resource:
    """Call these functions around each fork from now on: `before` in reverse order of `hold`, the others in order."""
    resource = Resource(made_by, description, before, in_parent, first_in_child, in_child)
    _held.append(resource)
    return resource


def release(resource: Resource) -> None:
    """Forget the resource. Does nothing if it is not held."""
    with suppress(ValueError):
        _held.remove(resource)


def held() -> list[Resource]:
    """Returns the resources that are held, in order of `hold`."""
    return _held.copy()


class _Collection:
    """Turns garbage collection off while the process forks."""

    def __init__(self) -> None:
        self._forking = 0
        self._enabled = True

    @property
    def is_paused(self) -> bool:
        """Whether a fork is in progress."""
        return self._forking > 0

    def pause(self) -> None:
        """Turn it off. Calls are counted, since several threads may fork at once."""
        if not self._forking:
            self._enabled = gc.isenabled()
        self._forking += 1
        gc.disable()

    def resume(self, *, child: bool) -> None:
        """Turn it on again after the last fork in progress, if it was on. A child has no other fork in progress."""
        if not self._forking:  # the fork ran no hook before it
            return
        self._forking = 0 if child else max(0, self._forking - 1)
        if not self._forking and self._enabled:
            gc.enable()


_collection = _Collection()
_pid = getpid()
_made_again = True
"""Whether `in_parent` of all resources has run since the last fork; False from the moment before a fork."""
_makes_again: list[Callable[[], object] | None] = []
"""The hook that schedules `make_again`, or None if there cannot be one. It is made at the first fork, so that it is
registered after all other hooks; until then the list is empty."""


def join(thread: Thread, seconds: float) -> None:
    """Wait up to `seconds` until a thread has ended and has left /proc, where Python 3.12 counts threads at a fork."""
    until = monotonic() + seconds
    thread.join(seconds)
    task = f"/proc/self/task/{thread.native_id}"
    while not thread.is_alive() and os.path.exists(task) and monotonic() < until:
        sleep(0.0001)


def _before() -> None:
    global _made_again
    _made_again = False
    _collection.pause()
    for resource in reversed(held()):
        resource.before()
    if not _makes_again:
        _makes_again.append(pending(make_again))
        if _makes_again[0] is not None:
            os.register_at_fork(after_in_parent=_makes_again[0])


def _in_parent() -> None:
    global _made_again
    _made_again = False  # again, because `make_again` in another thread may have set it to True since `_before`
    _collection.resume(child=False)
    if _makes_again == [None] or get_ident() != main_thread().ident:
        make_again()


def make_again() -> None:
    """Run `in_parent` of all resources, unless it has run since the last fork, or a fork is in progress."""
    global _made_again
    if not _made_again and not _collection.is_paused:
        _made_again = True
        for resource in held():
            resource.in_parent()


def after_fork_in_child() -> None:
    """Run the hooks of the child after a fork. Does nothing if they have run, or if the process was not forked."""
    global _pid, _made_again
    if _pid == getpid():
        return
    _pid, _made_again = getpid(), True
    for resource in held():
        resource.first_in_child()
    _collection.resume(child=True)
    for resource in held():
        resource.in_child()


if hasattr(os, "register_at_fork"):  # pragma: no branch - it is missing on Windows only
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=after_fork_in_child)
