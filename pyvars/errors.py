"""The exceptions and warnings of pyvars.

    Exception
    └── PyvarsError                the base of the exceptions of pyvars
        ├── DuplicateNameError     (ValueError)  the name is already published
        ├── UnknownNameError       (KeyError)    nothing is published under the name
        └── ConfigurationError     (ValueError)  an integration, access rule or side port cannot work as configured
    UserWarning
    └── PyvarsWarning              the call works, but a known reader of the page cannot read the result, or a framework
                                   will not call the middleware for each request

A wrong argument raises the built-in TypeError, ValueError or OverflowError. An exception that code of the program
raises is never wrapped in another one.
"""

import sys
import warnings

__all__ = ("ConfigurationError", "DuplicateNameError", "PyvarsError", "PyvarsWarning", "UnknownNameError")


class PyvarsError(Exception):
    """The base class of the exceptions of pyvars."""


class DuplicateNameError(PyvarsError, ValueError):
    """The name is taken by another variable of the registry, or by another health check."""


class UnknownNameError(PyvarsError, KeyError):
    """The registry or the Map holds no variable of that name."""

    def __str__(self) -> str:
        return Exception.__str__(self)  # KeyError would show the repr of the text


class ConfigurationError(PyvarsError, ValueError):
    """An integration, an access rule or the side port cannot work as configured. The text names the alternatives."""


class PyvarsWarning(UserWarning):
    """The call works, but a known reader cannot read its result, or a framework will not call it for each request."""


def warn_caller(text: str, *, through: frozenset[str] = frozenset(("pyvars",))) -> None:
    """Warn at the line of the program that called pyvars: frames of the packages `through` are skipped."""
    level, frame = 1, sys._getframe().f_back
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in through:
        level, frame = level + 1, frame.f_back
    warnings.warn(text, PyvarsWarning, stacklevel=level + 1)
