"""`cmdline`: the program, an array of strings as Go's os.Args. Source: sys.argv.

Readers insist on an array of strings that is not empty. A command line is where secrets end up (Dgraph's admin token
leaked through this very variable, GHSA-vvf7-6rmr-m29q), so by default only the program's name is shown.
"""

import re
import sys
from os.path import basename

__all__ = ("Cmdline", "Redacted")

_SECRET = re.compile(r"pass|pwd|secret|token|key|auth|cred|dsn", re.IGNORECASE)
_NAME = re.compile(r"[\w.\-\[\]\"']+")
_MASK = "***"


class Cmdline:
    """The basename of argv[0], alone."""

    def __init__(self) -> None:
        self._program = ""
        self._figures = [""]

    def figures(self) -> list[str]:
        """One string, empty when there is no argv[0]."""
        program = sys.argv[0] if sys.argv else ""
        if program != self._program:  # a program may set sys.argv
            self._program, self._figures = program, [basename(program)]
        return self._figures


class Redacted:
    """The whole command line with what looks like a secret masked.

    Masked are what follows a flag whose name looks like one; all of an argument behind `k=` or `k:` whose name does;
    and of a URL all before the last @ and the whole of its query. A secret that looks like nothing, such as a bare
    password as an argument, cannot be told from other words.
    """

    def __init__(self) -> None:
        self._argv: list[str] | None = None
        self._figures: list[str] = []

    def figures(self) -> list[str]:
        """The arguments, masked; one empty string when there are none."""
        if sys.argv != self._argv:  # a program may set it
            self._argv = sys.argv.copy()
            self._figures = _redacted(self._argv or [""])
        return self._figures


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
