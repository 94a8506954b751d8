"""`cmdline`: the program, an array of strings as Go's os.Args. Source: sys.argv.

Readers insist on an array of strings that is not empty. A command line is where secrets end up (Dgraph's admin token
leaked through this very variable, GHSA-vvf7-6rmr-m29q), so by default only the program's name is shown.
"""

import re
import sys
from os.path import basename

__all__ = ("Cmdline", "Redacted")

_WORDS = "pass|pwd|secret|token|key|auth|cred|dsn"
_SECRET = re.compile(_WORDS, re.IGNORECASE)
_WHOLE = re.compile(rf"(-*[\w.-]*(?:{_WORDS})[\w.-]*)=.*", re.IGNORECASE | re.DOTALL)
_INSIDE = re.compile(rf"([\w.-]*(?:{_WORDS})[\w.-]*)=\S*", re.IGNORECASE)
_URL = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*://)(?:(?P<user>[^/?#\s]*)@)?(?P<rest>[^?#\s]*)(?P<query>\?[^#\s]*)?", re.IGNORECASE
)
_MASK = "***"


class Cmdline:
    """The basename of argv[0], alone."""

    def __init__(self) -> None:
        self._figures = [""]

    def figures(self) -> list[str]:
        """One string, empty when there is no argv[0]."""
        name = basename(sys.argv[0] if sys.argv else "")
        if name != self._figures[0]:  # a program may set sys.argv
            self._figures = [name]
        return self._figures


class Redacted:
    """The whole command line with what looks like a secret masked.

    Masked are what follows a flag, and the value of `k=v` anywhere, whose name looks like one; the user part of a URL
    and the whole of its query. A secret that looks like nothing, such as a bare password as an argument, cannot be told
    from other words.
    """

    def figures(self) -> list[str]:
        """The arguments, masked; one empty string when there are none."""
        shown: list[str] = []
        secret_follows = False
        for argument in sys.argv or [""]:
            shown.append(_MASK if secret_follows else _masked(argument))
            flag = argument.startswith("-") and shown[-1] == argument
            secret_follows = flag and _SECRET.search(argument) is not None
        return shown


def _masked(argument: str) -> str:
    whole = _WHOLE.fullmatch(argument)
    if whole is not None:
        return f"{whole[1]}={_MASK}"
    if re.match(r"-p[^=]", argument):  # mysql's -psecret
        return f"-p{_MASK}"
    return _INSIDE.sub(rf"\1={_MASK}", _URL.sub(_mask_url, argument))


def _mask_url(url: re.Match[str]) -> str:
    user = "" if url["user"] is None else f"{_MASK}@"
    query = "" if url["query"] is None else f"?{_MASK}"
    return f"{url['scheme']}{user}{url['rest']}{query}"
