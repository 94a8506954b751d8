"""Calls a function soon after a fork has returned, although nothing else may call code of pyvars then.

Some versions of Python from 3.12 on warn of a fork if the process has several threads once its fork hooks have run. So
the hooks must not start threads. Instead the last hook, which is written in C, adds a "pending call". The main thread
runs pending calls between two instructions of Python, and so just after `os.fork` has returned.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial

__all__ = ("pending",)


class _Call:
    """C calls the function by asking whether this is true; the answer is no, which means success."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function

    def __bool__(self) -> bool:
        with suppress(Exception):  # an exception would be raised somewhere in the program
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
