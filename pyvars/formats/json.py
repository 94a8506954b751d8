"""JSON as Go's expvar writes it. The only user of orjson."""

from array import array
from collections.abc import Container, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, time
from enum import Enum
from itertools import accumulate, count
from typing import TYPE_CHECKING, cast
from uuid import UUID

import orjson

from pyvars.core.cells import Cell, native

if TYPE_CHECKING or native:
    from pyvars.core._cells import join

__all__ = (
    "MAX_VALUE_BYTES",
    "Fragment",
    "Lines",
    "NotJSONError",
    "TooLargeError",
    "distinct",
    "document",
    "encode",
    "encode_user_value",
    "member",
    "parsed",
    "plain",
    "splice",
    "text",
    "valid_text",
    "value",
)

Fragment = orjson.Fragment
"""JSON text that is spliced as it is into a document."""

MAX_VALUE_BYTES = 1024 * 1024

_MAX_DEPTH = 250  # orjson's own limit is 254


class NotJSONError(TypeError):
    """JSON cannot hold the value of a variable."""

    word = "TypeError"
    """For `pyvars.errors`."""


class TooLargeError(ValueError):
    """The value of one variable takes over 1 MiB."""

    word = "too_large"
    """For `pyvars.errors`."""


def document(members: Mapping[str, object]) -> bytes:
    """One JSON object, a member on each line and each value compact, in the order of `members`.

    The keys must be valid Unicode, and the values plain data or Fragments.

    Raises:
        TypeError: a value is nothing that JSON can hold.
    """
    # With the values compact Fragments or scalars, indentation puts line breaks at the top level only.
    return _escaped(orjson.dumps(members, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


class Lines:
    """The names of a page, valid Unicode and in its order, encoded once for all pages that have them."""

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._heads = b""
        self._ends = array("I")
        if native:
            heads = [(b",\n  " if place else b"{\n  ") + value(name)[:-1] + b": " for place, name in enumerate(names)]
            self._heads = b"".join(heads)
            self._ends = array("I", accumulate(map(len, heads)))

    def document(self, values: list[object]) -> bytes:
        """The same as `document`, ten times as fast for Ints.

        Each value is a cell, or what `document` takes, or a `text`.

        Raises:
            Exception: a value is nothing that JSON can hold.
        """
        if native and values:
            return join(self._heads, self._ends, values, text)
        return document(dict(zip(self._names, map(member, values), strict=True)))


def text(data: object) -> bytes:
    """One value, compact: what `Lines.document` takes the fastest. `data` is what it takes."""
    return _escaped(orjson.dumps(member(data)))


def member(data: object) -> object:
    """What `document` takes, of what `Lines.document` takes."""
    if type(data) is bytes:
        return Fragment(data)
    return cast("Cell", data).snapshot() if issubclass(type(data), Cell) else data


def value(data: object) -> bytes:
    """One value, compact, on a line of its own. Takes what `document` takes as a value."""
    return _escaped(orjson.dumps(data, option=orjson.OPT_APPEND_NEWLINE))


def plain(data: object) -> bytes:
    """Plain data of pyvars' own, as other processes of pyvars read it.

    Raises:
        TypeError: JSON cannot hold it.
    """
    return orjson.dumps(data)


def parsed(text: bytes) -> object:
    """The data that a JSON text says.

    Raises:
        ValueError: it is none.
    """
    return cast("object", orjson.loads(text))


def splice(members: Mapping[str, object]) -> Fragment:
    """An object whose values are Fragments or plain data of ours, compact, of any size."""
    return Fragment(orjson.dumps(members))


def encode(data: object) -> Fragment:
    """Data of pyvars' own as a compact Fragment: at once, and if that fails (invalid text in a key), by a copy.

    Raises:
        NotJSONError, TooLargeError: as `encode_user_value`.
    """
    try:
        text = orjson.dumps(data)
    except TypeError:
        return encode_user_value(data)
    return _bounded(text)


def encode_user_value(data: object) -> Fragment:
    """Any data of the program's as a compact Fragment.

    NaN and the infinities are null; keys that are numbers, dates or None are their text; a lone surrogate is U+FFFD; an
    Enum is its value, a dataclass an object. orjson is given a copy of the containers: it walks them in C with borrowed
    references, and would crash if code that runs in between, such as a property of an Enum, changed them.

    Raises:
        NotJSONError: JSON cannot hold it (a set, bytes, an integer over 64 bits, a cycle, more than 250 levels).
        TooLargeError: it takes over 1 MiB. What is far too large is refused before it is encoded: orjson encodes 100 MB
            in a fraction of a second, but with the GIL held.
    """
    copy = _Copier().copy(data, 0)
    try:
        return _bounded(orjson.dumps(copy, option=orjson.OPT_SERIALIZE_NUMPY))
    except TypeError as error:
        raise NotJSONError(str(error)) from None


def _bounded(text: bytes) -> Fragment:
    if len(text) > MAX_VALUE_BYTES:
        raise TooLargeError(f"it takes {len(text)} bytes")
    return Fragment(text)


class _Copier:
    """Copies containers, with valid text, as long as the least that the copy can take in JSON is within bounds."""

    def __init__(self) -> None:
        self._left = MAX_VALUE_BYTES

    def copy(self, data: object, depth: int) -> object:
        if data is None or (isinstance(data, bool | int | float) and not isinstance(data, Enum)):
            self._spend(1)
            return data
        if isinstance(data, str) and not isinstance(data, Enum):
            self._spend(len(data) + 2)
            return valid_text(data)
        if depth > _MAX_DEPTH:
            raise NotJSONError(f"more than {_MAX_DEPTH} levels, or a cycle")
        if isinstance(data, list | tuple):
            items = cast("list[object] | tuple[object, ...]", data)
            self._spend(2 * len(items) + 1)
            return [self.copy(item, depth + 1) for item in tuple(items)]
        if isinstance(data, dict):
            members = cast("dict[object, object]", data)
            self._spend(4 * len(members) + 1)
            return self._members({**members}, depth)
        if isinstance(data, Enum):
            return self.copy(data.value, depth + 1)
        if is_dataclass(data) and not isinstance(data, type):
            return self._members({field.name: getattr(data, field.name) for field in fields(data)}, depth)
        return self._leaf(data)

    def _members(self, members: dict[object, object], depth: int) -> dict[str, object]:
        copy: dict[str, object] = {}
        for key, item in members.items():
            while isinstance(key, Enum):
                key = key.value
            if not isinstance(key, str):  # as orjson would write it; but here it is told from the same text
                key = orjson.dumps(self._leaf(key), option=orjson.OPT_NON_STR_KEYS).decode().strip('"')
            self._spend(len(key))
            copy[distinct(valid_text(key), copy)] = self.copy(item, depth + 1)
        return copy

    def _leaf(self, data: object) -> object:
        if data is None or isinstance(data, bool | int | float | date | time | UUID):
            return data
        if type(data).__module__ == "numpy":
            self._spend(int(getattr(data, "size", 1)))
            return data
        raise NotJSONError(f"a {type(data).__qualname__}")

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise TooLargeError(f"it takes over {MAX_VALUE_BYTES} bytes")


def _escaped(text: bytes) -> bytes:
    """As Go's encoding/json: what could end a script element or a line of JavaScript is written as an escape.

    These characters stand only inside strings. Go over the text again only where they are: looking for one byte costs
    0.2 us in 24 KB, looking for three costs 14 us.
    """
    text = text.replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")
    if not text.isascii():
        text = text.replace("\u2028".encode(), b"\\u2028").replace("\u2029".encode(), b"\\u2029")
    return text


def valid_text(text: str) -> str:
    """`text` with each lone surrogate replaced by U+FFFD, as Go does with invalid UTF-8; mostly `text` itself."""
    text = str.__str__(text)  # a plain one, if it was of a subclass
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def distinct(key: str, taken: Container[object]) -> str:
    """`key`, or if making text valid made it one of those `taken`, the first free one of `key~2`, `key~3`, ..."""
    if key not in taken:
        return key
    return next(other for n in count(2) if (other := f"{key}~{n}") not in taken)
