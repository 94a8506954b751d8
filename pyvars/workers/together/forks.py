"""The forks of uWSGI, which runs no hooks of Python's unless it is started with enable-threads."""

import sys
from importlib import import_module

from pyvars.core.resources import after_fork_in_child

__all__ = ("hook_uwsgi",)


def hook_uwsgi() -> None:
    """Under uWSGI, have a new worker do what the child of a fork does."""
    if "uwsgi" not in sys.modules:
        return
    try:
        import_module("uwsgidecorators").postfork(after_fork_in_child)
    except Exception:  # without a master it refuses to be imported
        sys.modules["uwsgi"].post_fork_hook = after_fork_in_child  # type: ignore[attr-defined]
