from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

_Message = MutableMapping[str, Any]

class Exchange:
    open: bool
    def __init__(
        self,
        parts: object,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[_Message]],
        send: Callable[[_Message], Awaitable[None]],
        /,
    ) -> None: ...
    def __call__(self, message: _Message, /) -> Awaitable[None]: ...

def count(
    parts: object, method: str, status: int, route: str, size: int, seconds: float, failed: bool = False, /
) -> None: ...
