"""The hooks of forks: Python's, and where a server forks without them, the server's."""

import gc
import os
import sys
from collections.abc import Callable
from importlib import import_module

from pyvars.core.cells import after_fork, in_child

__all__ = ("follow",)


class _Collection:
    """Garbage collection around a fork: none in the child before the numbers have left the memory of the parent, since
    a callback or finalizer that counts would write there."""

    def __init__(self) -> None:
        self._forking = 0
        self._enabled = True

    def pause(self) -> None:
        """Several threads may fork at once."""
        if not self._forking:
            self._enabled = gc.isenabled()
        self._forking += 1
        gc.disable()

    def resume(self, *, child: bool) -> None:
        self._forking = 0 if child else max(0, self._forking - 1)
        if not self._forking and self._enabled:
            gc.enable()


def follow(
    *,
    before: Callable[[], None],
    in_parent: Callable[[], None],
    first: Callable[[], None],
    then: Callable[[], None],
) -> None:
    """Have these called at each fork from now on: in the child `first` before anything of ours, `then` after it."""
    collection = _Collection()

    def prepare() -> None:
        before()
        collection.pause()

    def parent() -> None:
        collection.resume(child=False)
        in_parent()

    def child() -> None:
        collection.resume(child=True)
        then()

    def without_hooks() -> None:
        after_fork()
        then()

    in_child.append(first)
    if hasattr(os, "register_at_fork"):  # pragma: no branch - it is missing on Windows only
        os.register_at_fork(before=prepare, after_in_parent=parent, after_in_child=child)
    if "uwsgi" in sys.modules:  # which runs no hooks of Python's unless it is started with enable-threads
        try:
            import_module("uwsgidecorators").postfork(without_hooks)
        except Exception:  # without a master it refuses to be imported
            sys.modules["uwsgi"].post_fork_hook = without_hooks  # type: ignore[attr-defined]
