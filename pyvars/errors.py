"""The exceptions and warnings of pyvars.

    Exception
    └── PyvarsError                what pyvars itself refuses
        ├── DuplicateNameError     (ValueError)  the name is already published
        ├── UnknownNameError       (KeyError)    nothing is published under the name
        └── ConfigurationError     (ValueError)  an integration or the side port is set up in a way that cannot work
    UserWarning
    └── PyvarsWarning              it works here, but it breaks a known client

Plain misuse of an argument is the built-in TypeError, ValueError or OverflowError. Exceptions of the user's own code
are never wrapped.
"""

__all__ = ("ConfigurationError", "DuplicateNameError", "PyvarsError", "PyvarsWarning", "UnknownNameError")


class PyvarsError(Exception):
    """The base of every exception that pyvars raises on its own account."""


class DuplicateNameError(PyvarsError, ValueError):
    """A variable of that name is already published in the registry."""


class UnknownNameError(PyvarsError, KeyError):
    """No variable of that name is published in the registry or held by the Map."""

    def __str__(self) -> str:
        return Exception.__str__(self)  # KeyError shows the repr of its text


class ConfigurationError(PyvarsError, ValueError):
    """An integration or the side port was configured in a way that cannot be right; the text names the ways out."""


class PyvarsWarning(UserWarning):
    """What was asked for works, but a known reader of the page will stumble over it."""
