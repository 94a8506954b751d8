"""The base class of access rules, their combination with `|`, and the rules for `anyone()` and for functions."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from inspect import iscoroutinefunction
from typing import TypeAlias

from pyvars.access.request import Request
from pyvars.errors import ConfigurationError

__all__ = ("Access", "Anyone", "Rule", "refusal_by", "rule")


class Rule(ABC):
    """An access rule: decides whether a request may see the variables. Thread-safe."""

    challenges: tuple[str, ...] = ()
    """The values of WWW-Authenticate that ask for the credential of the rule; empty if it takes none."""
    only_local: bool = False
    """Whether the rule refuses all requests from other machines."""

    @abstractmethod
    def refusal(self, request: Request) -> str:
        """Returns why the request is refused, or "". The text is logged, so it contains no data of the request."""

    def __or__(self, other: "Access") -> "Rule":
        return Either(self, rule(other))

    def __ror__(self, other: "Access") -> "Rule":
        return Either(rule(other), self)


Access: TypeAlias = Rule | Callable[[Request], bool]
"""What `access=` takes: a rule, or a function of the request that returns True to allow it."""


class Either(Rule):
    """Allows a request that one of its rules allows."""

    def __init__(self, *rules: Rule) -> None:
        self._rules = rules
        self.challenges: tuple[str, ...] = tuple(dict.fromkeys(word for each in rules for word in each.challenges))
        self.only_local: bool = all(each.only_local for each in rules)

    def refusal(self, request: Request) -> str:
        """See `Rule.refusal`."""
        refusals: list[str] = []
        for each in self._rules:
            refusal = refusal_by(each, request)
            if refusal == "":
                return ""
            refusals.append(refusal)
        return ", and ".join(refusals)


class Function(Rule):
    """Allows a request if a function of the program returns True for it."""

    def __init__(self, function: Callable[[Request], bool]) -> None:
        self._function = function

    def refusal(self, request: Request) -> str:
        """See `Rule.refusal`."""
        allowed: object = self._function(request)
        if isinstance(allowed, Coroutine):
            allowed.close()  # otherwise CPython warns that it was never awaited
        return "" if allowed is True else "the function given as access did not return True"


class Anyone(Rule):
    """Allows every request."""

    def refusal(self, request: Request) -> str:
        """See `Rule.refusal`."""
        return ""


def refusal_by(rule: Rule, request: Request) -> str:
    """Returns what `rule.refusal` returns. A rule that raises, or does not return a str, refuses the request."""
    try:
        refusal: object = rule.refusal(request)
    except BaseException as error:  # the rule or the function may be code of the program
        return f"the access rule raised {type(error).__name__}"
    return refusal if isinstance(refusal, str) else "the access rule returned no text"


def rule(access: Access) -> Rule:
    """Converts `access` to a Rule.

    Raises:
        ConfigurationError: it is neither a rule nor a function of the request, or it is a coroutine function.
    """
    if isinstance(access, Rule):
        return access
    if str(getattr(access, "__module__", "")).startswith("pyvars.access"):
        raise ConfigurationError(f"access is the function {access!r}; pass its result, as in access=local()")
    if (
        not callable(access)
        or isinstance(access, type)
        or iscoroutinefunction(access)
        or iscoroutinefunction(getattr(access, "__call__", None))  # noqa: B004 # an object with __call__
    ):
        raise ConfigurationError(
            "access takes a rule, such as local() | token(...), or a plain function of the request, got"
            f" a {type(access).__name__}"
        )
    return Function(access)
