"""`cmdline`: the command line as an array of strings, like Go's os.Args. Source: sys.argv.

Readers require an array of strings that is not empty. By default it holds only the name of the program, because command
lines often contain secrets: Dgraph's admin token leaked through `cmdline` of Go's expvar (GHSA-vvf7-6rmr-m29q).
"""

import re
import sys
from collections.abc import Iterable
from typing import Any, cast

from pyvars.runtime.program import main_spec, program_name
from pyvars.runtime.texts import cut, plain

__all__ = ("Cmdline", "Redacted")

_SECRET = re.compile(r"pass|pwd|secret|token|key|auth|cred|dsn", re.IGNORECASE)
_NAME = re.compile(r"[\w.\-\[\]\"']+")
_MASK = "***"


class Cmdline:
    """Shows only the name of the program: the basename of a script, the package of `python -m package`."""

    def __init__(self) -> None:
        self._key: tuple[str, object] = "", None
        self._figures = [""]
        self.truncated: bool = False
        """Whether the name is cut."""

    def figures(self) -> list[str]:
        """Returns a list of one string, which is empty if there is no argv[0]."""
        program, spec = next(map(plain, _arguments()), ""), main_spec()
        if self._key != (program, spec):  # the program may change sys.argv, and a child of multiprocessing its __main__
            self._figures, self.truncated = cut([program_name(program, spec)])
            self._key = program, spec
        return self._figures


class Redacted:
    """Shows the whole command line, in which all that looks like a secret is masked.

    It masks the argument after a flag whose name looks like that of a secret, such as `--token`; what follows `name=`
    or `name:` in an argument if the name looks like that of a secret; the value in `-pVALUE`; and user, password and
    query of a URL. It does not recognise other secrets, such as a password that is an argument without a name.
    """

    def __init__(self) -> None:
        self._argv: list[str] | None = None
        self._figures: list[str] = []
        self.truncated: bool = False
        """Whether an argument is cut."""

    def figures(self) -> list[str]:
        """Returns the arguments with secrets masked; one empty string if there are none."""
        argv = [*map(plain, _arguments())]
        if argv != self._argv:  # the program may change it
            self._figures, self.truncated = cut(_redacted(argv or [""]))
            self._argv = argv
        return self._figures


def _arguments() -> Iterable[object]:
    """sys.argv; empty if there is none, as in some embedded interpreters.

    Raises:
        TypeError: it is neither a list nor a tuple. To iterate over another object may run code of the program.
    """
    argv: Any = getattr(sys, "argv", ())
    if type(argv) not in (list, tuple):
        raise TypeError("sys.argv is no list")
    return cast("Iterable[object]", argv)


def _redacted(arguments: list[str]) -> list[str]:
    shown: list[str] = []
    secret_follows = False
    for argument in arguments:
        glued = re.match(r"-p[^=]", argument)  # mysql's -psecret
        shown.append(_MASK if secret_follows else f"-p{_MASK}" if glued else _masked(argument))
        flag = argument.startswith("-") and "=" not in argument and not glued
        secret_follows = flag and _SECRET.search(argument) is not None
    return shown


def _masked(argument: str) -> str:
    scheme, separator, rest = argument.partition("://")
    if separator:
        user, at, place = rest.rpartition("@")
        place, question, query = place.partition("?")
        argument = f"{scheme}{separator}{_MASK if user else ''}{at}{place}{question}{_MASK if query else ''}"
    for name in _NAME.finditer(argument):
        behind = argument[name.end() : name.end() + 3]
        if behind[:1] in ("=", ":") and behind != "://" and _SECRET.search(name[0]):
            return f"{argument[: name.end() + 1]}{_MASK}"
    return argument
