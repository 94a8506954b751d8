"""The fork hooks of pyvars under uWSGI, which does not run Python's hooks unless it is started with enable-threads."""

import sys
from importlib import import_module

from pyvars.core.resources import after_fork_in_child

__all__ = ("hook_uwsgi",)


def hook_uwsgi() -> None:
    """Under uWSGI, register `after_fork_in_child` to run in each new worker; elsewhere do nothing."""
    if "uwsgi" not in sys.modules:
        return
    try:
        import_module("uwsgidecorators").postfork(after_fork_in_child)
    except Exception:  # the import of uwsgidecorators fails without a uWSGI master
        sys.modules["uwsgi"].post_fork_hook = after_fork_in_child  # type: ignore[attr-defined]
