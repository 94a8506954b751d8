"""Encodes values of the program, in the forms of `pyvars.formats.forms`."""

from collections.abc import Callable, Iterable
from typing import Any, cast

from pyvars.formats.forms import Items, Members, Ready, form_of
from pyvars.formats.json import MAX_VALUE_BYTES, Fragment, NotJSONError, TooLargeError, compact, distinct, valid_text

__all__ = ("encode", "encode_user_value")

_MAX_DEPTH = 250  # orjson's own limit is 254


def encode(data: object) -> Fragment:
    """Data of pyvars as a compact Fragment: encoded directly, or as a copy if that fails (invalid text in a key).

    Raises:
        NotJSONError, TooLargeError: as `encode_user_value` does.
    """
    try:
        text = compact(data)
    except TypeError:
        return encode_user_value(data)
    return _bounded(text)


def encode_user_value(data: object) -> Fragment:
    """Any data of the program as a compact Fragment, in the form that `pyvars.formats.forms` has for it.

    orjson gets a copy of all containers: it iterates over them with borrowed references, and would crash if code that
    it calls meanwhile, such as a property of an Enum, changed them.

    Raises:
        NotJSONError: the data have no form.
        TooLargeError: the JSON takes over 1 MiB. Data that are far too large are not encoded at all: orjson encodes 100
            MB in a fraction of a second, but holds the GIL meanwhile.
        Exception: code of the program raised while the data were read.
    """
    copy = _Copier().copy(data, 0)
    try:
        return _bounded(compact(copy))
    except TypeError as error:
        raise NotJSONError(str(error)) from None


def _bounded(text: bytes) -> Fragment:
    if len(text) > MAX_VALUE_BYTES:
        raise TooLargeError(f"it takes {len(text)} bytes")
    return Fragment(text)


class _Copier:
    """Copies a value into plain data: exact types of Python in lists and dicts of its own, and plain numpy arrays.

    Raises TooLargeError once the JSON is sure to be over the limit.
    """

    def __init__(self) -> None:
        self._left = MAX_VALUE_BYTES

    def copy(self, data: Any, depth: int) -> object:
        """The copy of a value. Each level of nesting takes two frames, so 250 levels stay below the recursion limit."""
        steps = 0
        while depth <= _MAX_DEPTH and steps <= _MAX_DEPTH:  # a value may lead to another one, such as that of an Enum
            kind = _class(data)
            if kind is str:
                self._spend(len(data) + 2)
                return valid_text(data)
            if kind is int or kind is float or kind is bool or data is None:
                return data
            if kind is list or kind is tuple:
                self._spend(2 * len(data) + 1)
                return self._items(data if kind is tuple else data.copy(), depth)
            if kind is dict:
                self._spend(4 * len(data) + 1)
                return self._members(data.copy().items(), depth)
            if kind is Items:
                self._spend(2 * data.size + 1)
                return self._items(data.items, depth)
            if kind is Members:
                self._spend(4 * data.size + 1)
                return self._members(data.members, depth)
            if kind is Ready:
                self._spend(data.size)
                return data.value
            data = form_of(kind)(data, self._left)
            steps += 1
        raise NotJSONError(f"more than {_MAX_DEPTH} levels, or a cycle")

    def _items(self, items: Iterable[object], depth: int) -> list[object]:
        copy: list[object] = []
        for item in items:
            kind = _class(item)
            copy.append(item if kind is int or kind is float else self.copy(item, depth + 1))
        return copy

    def _members(self, members: Iterable[tuple[object, object]], depth: int) -> dict[str, object]:
        copy: dict[str, object] = {}
        for key, item in members:
            text = valid_text(key) if type(key) is str else _text_of(self.copy(key, depth + 1))
            self._spend(len(text))
            kind = _class(item)
            copy[distinct(text, copy)] = item if kind is int or kind is float else self.copy(item, depth + 1)
        return copy

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise TooLargeError(f"it takes over {MAX_VALUE_BYTES} bytes")


def _text_of(key: object) -> str:
    """The text of a key, given its form: of a list or an object the texts of its values, with commas between them."""
    if isinstance(key, str):
        return key
    if isinstance(key, dict):  # the form of a key that is a named tuple, a dataclass and so on
        key = list(cast("dict[str, object]", key).values())
    if isinstance(key, list):
        return ",".join(map(_text_of, cast("list[object]", key)))
    return compact(key).decode()


_class: Callable[[object], type] = type
