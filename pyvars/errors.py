"""The exceptions and warnings of pyvars.

    Exception
    └── PyvarsError                the base class of the exceptions of pyvars
        ├── DuplicateNameError     (ValueError)  the name is already taken
        ├── UnknownNameError       (KeyError)    there is no variable of that name
        └── ConfigurationError     (ValueError)  an integration, access rule or side port cannot work as configured
    UserWarning
    └── PyvarsWarning              the call works, but probably not as intended

Other wrong arguments raise the built-in TypeError, ValueError or OverflowError. If a function of the program raises,
pyvars never wraps that exception in another one.
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
    """An integration, an access rule or the side port cannot work as configured. The text says what to do."""


class PyvarsWarning(UserWarning):
    """The call works, but probably not as intended.

    The reason is one of these. A known reader cannot read the name of a variable. A variable replaces one of pyvars
    itself, or a function that is defined elsewhere. A built-in variable is left out, because the program has published
    its name. A framework will call a middleware for some requests only.
    """


def warn_caller(text: str, *, through: frozenset[str] = frozenset(("pyvars",))) -> None:
    """Emit a PyvarsWarning at the line of the program that called pyvars. Skips frames of the packages `through`."""
    level, frame = 1, sys._getframe().f_back
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in through:
        level, frame = level + 1, frame.f_back
    warnings.warn(text, PyvarsWarning, stacklevel=level + 1)
