"""Calls a function soon after a fork, in a program that does nothing else that runs code of pyvars.

Some Pythons from 3.12 on warn of a fork if the process has several threads when its fork hooks have run. So the hooks
start none. The main thread runs "pending calls" of C between two instructions, so one that the last hook adds without
an instruction of Python runs just after `os.fork` has returned.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial

__all__ = ("pending",)


class _Call:
    """Is called by having C ask whether it is true; it is not, which means success."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function

    def __bool__(self) -> bool:
        with suppress(Exception):  # the program would get it, wherever it is
            self._function()
        return False


def pending(function: Callable[[], None]) -> Callable[[], object] | None:
    """A callable of C that has the main thread call the function soon, and drop its exceptions.

    None in a Python without `ctypes.pythonapi`. Keep the callable: C keeps nothing alive.
    """
    try:
        import ctypes

        ask = ctypes.cast(ctypes.pythonapi.PyObject_IsTrue, ctypes.c_void_p)
        prototype = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.py_object)
        return partial(prototype(("Py_AddPendingCall", ctypes.pythonapi)), ask, _Call(function))
    except (ImportError, AttributeError):
        return None
