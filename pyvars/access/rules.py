"""What every rule is, how rules combine, and the rules that look at nothing."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import TypeAlias

from pyvars.access.request import Request
from pyvars.errors import ConfigurationError

__all__ = ("Access", "Anyone", "Rule", "rule")


class Rule(ABC):
    """Says of a request whether it may look. Immutable; thread-safe."""

    challenges: tuple[str, ...] = ()
    """The values of WWW-Authenticate that invite its credential; empty for a rule that takes none."""
    only_local: bool = False
    """Whether it lets in nobody from another machine."""

    @abstractmethod
    def refusal(self, request: Request) -> str:
        """Empty if the request may look, else why not: a fixed text, which never holds anything of the request."""

    def __or__(self, other: "Access") -> "Rule":
        return Either(self, rule(other))

    def __ror__(self, other: "Access") -> "Rule":
        return Either(rule(other), self)


Access: TypeAlias = Rule | Callable[[Request], bool]
"""What `access=` takes: a rule, or a function of the request that says whether it may look."""


class Either(Rule):
    """Lets in whom one of its rules lets in."""

    def __init__(self, *rules: Rule) -> None:
        self._rules = rules
        self.challenges: tuple[str, ...] = tuple(dict.fromkeys(word for each in rules for word in each.challenges))
        self.only_local: bool = all(each.only_local for each in rules)

    def refusal(self, request: Request) -> str:
        """See `Rule.refusal`."""
        refusals: list[str] = []
        for each in self._rules:
            refusal = each.refusal(request)
            if not refusal:
                return ""
            refusals.append(refusal)
        return ", and ".join(refusals)


class Function(Rule):
    """Lets in whom a function of the program returns True for."""

    def __init__(self, function: Callable[[Request], bool]) -> None:
        self._function = function

    def refusal(self, request: Request) -> str:
        """See `Rule.refusal`."""
        return "" if self._function(request) is True else "the function given as access did not return True"


class Anyone(Rule):
    """Lets everybody in."""

    def refusal(self, request: Request) -> str:
        """See `Rule.refusal`."""
        return ""


def rule(access: Access) -> Rule:
    """`access` as a Rule.

    Raises:
        ConfigurationError: it is neither a rule nor a function of the request; or a coroutine function.
    """
    if isinstance(access, Rule):
        return access
    if getattr(access, "__module__", "").startswith("pyvars.access"):
        raise ConfigurationError(f"access was given {access!r} itself, which is to be called: local(), token(...)")
    if not callable(access) or isinstance(access, type) or iscoroutinefunction(access):
        raise ConfigurationError(
            "access takes a rule, such as local() | token(...), or a plain function of the request, got"
            f" a {type(access).__name__}"
        )
    return Function(access)
