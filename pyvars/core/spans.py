"""Span: calls one function before, and another one after, a block of code or each call of a decorated function."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from functools import partial, wraps
from time import perf_counter
from types import TracebackType
from typing import Any, TypeVar, cast

__all__ = ("Span",)

F = TypeVar("F", bound=Callable[..., Any])

# Bits of co_flags, as in functions.py
_GENERATOR, _COROUTINE, _ITERABLE_COROUTINE, _ASYNC_GENERATOR = 0x20, 0x80, 0x100, 0x200


class Span:
    """A context manager and decorator: calls `begin` at the start, and `end` with the result of `begin` at the end.

    `end` is called also if the block or call raises. A decorated function keeps its signature. For a plain function the
    Span covers each call; for a coroutine function, each coroutine from its first step (not from its creation) to its
    end; for a generator or asynchronous generator function, each generator from the request for its first value until
    it is exhausted or closed. Calls of a decorated function may overlap in any number, in threads too. As a context
    manager a Span is for one block at a time: two blocks that overlap need two Spans.
    """

    __slots__ = ("_begin", "_end", "_mark")

    def __init__(self, begin: Callable[[], Any], end: Callable[[Any], object]) -> None:
        self._begin = begin
        self._end = end
        self._mark: Any = None

    @classmethod
    def timing(cls, observe: Callable[[float], object]) -> "Span":
        """Returns a Span that calls `observe` with the seconds that the block or call took (time.perf_counter)."""
        return cls(perf_counter, lambda started: observe(perf_counter() - started))

    def __enter__(self) -> None:
        self._mark = self._begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end(self._mark)

    def __call__(self, function: F) -> F:
        """Decorate a function.

        Raises:
            TypeError: `function` is not callable.
        """
        if not callable(function):
            raise TypeError(f"this decorates a function, or is used in a with statement; got {function!r}")
        flags = _flags(function)
        if flags & _ASYNC_GENERATOR:
            return cast("F", self._async_generator(function))
        if flags & (_COROUTINE | _ITERABLE_COROUTINE):
            return cast("F", self._coroutine(function))
        if flags & _GENERATOR:
            return cast("F", self._generator(function))
        return cast("F", self._plain(function))

    def _again(self) -> "Span":
        return Span(self._begin, self._end)

    def _plain(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            mark = self._begin()
            try:
                return function(*args, **kwargs)
            finally:
                self._end(mark)

        return wrapper

    def _coroutine(self, function: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
        @wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return await function(*args, **kwargs)

        return wrapper

    def _generator(self, function: Callable[..., Any]) -> Callable[..., Generator[Any, Any, Any]]:
        @wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            with self._again():
                returned = cast("Any", (yield from function(*args, **kwargs)))
                return returned

        return wrapper

    def _async_generator(self, function: Callable[..., Any]) -> Callable[..., AsyncGenerator[Any, Any]]:
        @wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            with self._again():
                inner = function(*args, **kwargs)
                try:
                    value = await anext(inner)
                    while True:
                        try:
                            sent = yield value
                        except GeneratorExit:
                            await inner.aclose()
                            raise
                        except BaseException as error:
                            value = await inner.athrow(error)
                        else:
                            value = await inner.asend(sent)
                except StopAsyncIteration:
                    return

        return wrapper


def _flags(function: Any) -> int:
    while isinstance(function, partial):
        function = cast("Any", function).func
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    flags: int = getattr(code, "co_flags", 0)
    return flags
