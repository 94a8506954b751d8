"""What happens when a second variable is published under a name with `exist_ok=True`."""

import sys
from collections.abc import Callable
from functools import partial
from os.path import isabs, realpath
from types import BuiltinMethodType, FunctionType, MethodType, MethodWrapperType, ModuleType, NoneType
from typing import Any, NamedTuple, cast

from pyvars.core.functions import Func
from pyvars.core.histogram import Histogram
from pyvars.core.names import is_builtin
from pyvars.core.variables import Var, Variable

__all__ = ("moved", "same_kind", "stays")


def same_kind(present: Var, new: Var) -> bool:
    """Whether `new` is of the kind of `present`, so that `exist_ok=True` accepts it.

    All objects of the program are of one kind: when a module runs twice, it makes each of its classes twice.
    """

    def kind(var: Var) -> tuple[object, ...]:
        if not issubclass(type(var), Variable):  # the class decides: an object of the program may have any `kind`
            return ("object",)
        bounds = var.bounds if isinstance(var, Histogram) else None
        return getattr(var, "kind", type(var)), getattr(var, "gauge", False), bounds, is_builtin(var)

    return kind(present) == kind(new)


def stays(present: Var) -> bool:
    """Whether `present` stays when a later variable is published: it is neither a Func nor an object of the program."""
    return is_builtin(present) or (issubclass(type(present), Variable) and not issubclass(type(present), Func))


class _Place(NamedTuple):
    """Where a function or class is defined."""

    name: str
    """Its qualified name."""
    file: str
    """The file, or the module if there is none."""
    namespace: object
    """The globals of a function. All cells of a notebook share them, although each cell has a file name of its own."""


def moved(name: str, present: Var, later: Var) -> str:
    """The text of a warning if the two variables are defined in different places; empty if in the same place.

    The place is the same if the qualified name is the same, and the file or the namespace is: for example, if a module
    is run and also imported, or is reloaded, or if a cell of a notebook runs again.
    """
    old, new = _place(present), _place(later)
    same_namespace = old.namespace is new.namespace is not None
    if old.name == new.name and (same_namespace or _same_file(old.file, new.file)):
        return ""
    return (
        f"{name!r} was {old.name} of {old.file}, and is now {new.name} of {new.file}: with exist_ok=True the later one"
        " replaces the first; give one of them another name to show both"
    )


def _same_file(one: str, other: str) -> bool:
    return one == other or (isabs(one) and isabs(other) and realpath(one) == realpath(other))


def _place(var: Var) -> _Place:
    """Where the function or class of a variable is defined. Decorators, `partial` and methods are unwrapped first."""
    thing: Any = cast("Func", var)._function if issubclass(type(var), Func) else var
    method = ""
    for _ in range(_MAX_LAYERS):
        kind = _class(thing)
        attributes = cast("Any", getattr(thing, "__dict__", None))
        if issubclass(kind, partial):
            thing = thing.func
        elif kind is MethodType:
            thing = thing.__func__
        elif kind in _BUILT_IN and _class(thing.__self__) not in (ModuleType, NoneType):
            thing, method = thing.__self__, f".{thing.__name__}"
        elif _class(attributes) is dict and "__wrapped__" in attributes:
            thing = attributes["__wrapped__"]
        else:
            break
    kind = _class(thing)
    if kind is FunctionType:
        return _Place(thing.__qualname__ + method, thing.__code__.co_filename, thing.__globals__)
    named = thing if issubclass(kind, type) or kind in _BUILT_IN else kind
    file = getattr(sys.modules.get(str(named.__module__)), "__file__", None) or named.__module__
    return _Place(named.__qualname__ + method, str(file), None)


_MAX_LAYERS = 100  # `__wrapped__` of a function may be the function itself
_BUILT_IN = (BuiltinMethodType, MethodWrapperType)
_class: Callable[[Any], Any] = type
