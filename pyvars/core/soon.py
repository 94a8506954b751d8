"""Calls a function in the main thread soon after a fork, without a call from the program.

CPython from 3.12 on warns of a fork if the process has several threads, and some versions count the threads after the
fork hooks have run. So the hooks must not start threads. Instead the last hook, a function of C, adds a "pending call"
(Py_AddPendingCall). The main thread runs pending calls between two instructions of Python, so it runs this one just
after `os.fork` has returned.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial

__all__ = ("pending",)


class _Call:
    """An object whose truth value calls the function: PyObject_IsTrue is a C function of the form of a pending call.

    It is false, because 0 is the result of a pending call that succeeded.
    """

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function

    def __bool__(self) -> bool:
        with suppress(Exception):  # it would be raised in whatever code of the program runs now
            self._function()
        return False


def pending(function: Callable[[], None]) -> Callable[[], object] | None:
    """Returns a C callable. When it is called, the main thread calls `function` soon, and drops its exceptions.

    None in a Python without `ctypes.pythonapi`. The caller must keep a reference to the callable: C keeps none.
    """
    try:
        import ctypes

        ask = ctypes.cast(ctypes.pythonapi.PyObject_IsTrue, ctypes.c_void_p)
        prototype = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.py_object)
        return partial(prototype(("Py_AddPendingCall", ctypes.pythonapi)), ask, _Call(function))
    except (ImportError, AttributeError):
        return None
