"""JSON as Go's expvar writes it. The only user of orjson."""

from array import array
from bisect import bisect_left
from collections.abc import Container, Mapping, Sequence
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
    "from_json",
    "to_json",
    "splice",
    "text",
    "valid_text",
    "value",
)

Fragment = orjson.Fragment
"""JSON text that is spliced as it is into a document."""

MAX_VALUE_BYTES = 1024 * 1024
"""The size limit of the JSON of one variable."""

_MAX_DEPTH = 250  # orjson's own limit is 254


class NotJSONError(TypeError):
    """Raised when JSON cannot hold the value of a variable."""

    word = "TypeError"
    """The `type` of its entry in `pyvars.errors`."""


class TooLargeError(ValueError):
    """Raised when the value of one variable takes over 1 MiB of JSON."""

    word = "too_large"
    """The `type` of its entry in `pyvars.errors`."""


def document(members: Mapping[str, object]) -> bytes:
    """One JSON object, a member on each line and each value compact, in the order of `members`.

    The keys must be valid Unicode, and the values plain data or Fragments.

    Raises:
        TypeError: JSON cannot hold a value.
    """
    # With the values compact Fragments or scalars, indentation puts line breaks at the top level only.
    return _escaped(orjson.dumps(members, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


class Lines:
    """The names of a page, in its order, encoded once for all pages with the same names. They must be valid Unicode."""

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._heads = b""
        self._ends = array("I")
        if native:
            heads = [(b",\n  " if place else b"{\n  ") + value(name)[:-1] + b": " for place, name in enumerate(names)]
            self._heads = b"".join(heads)
            self._ends = array("I", accumulate(map(len, heads)))

    def part(self, spans: Sequence[slice]) -> "Lines":
        """The lines of the names in these spans, which are ascending, disjoint and not empty."""
        part = Lines([])
        heads = bytearray()
        for span in spans:
            part._names += self._names[span]
            if native:
                begin = self._ends[span.start - 1] if span.start else 0
                ends, shift = self._ends[span], len(heads) - begin
                heads += self._heads[begin : ends[-1]]
                part._ends.extend([end + shift for end in ends])
        part._heads = b"{" + heads[1:]  # whichever line is now the first
        return part

    def document(self, values: list[object], more: Mapping[str, object] | None = None) -> bytes:
        """The page with these values, as `document` writes it, but ten times as fast for Ints.

        Each value is a cell, bytes made by `text`, or a value that `document` takes. `more` are further members, where
        they belong by their names; it takes longer the more there are.

        Raises:
            Exception: JSON cannot hold a value.
        """
        if more:
            pages: list[bytes] = []
            begin = 0
            for name in (*sorted(more), None):
                end = len(values) if name is None else bisect_left(self._names, name, begin)
                if end > begin:
                    pages.append(self.part([slice(begin, end)]).document(values[begin:end]))
                if name is not None:
                    pages.append(document({name: more[name]}))
                begin = end
            return b"{" + b",".join([page[1:-3] for page in pages]) + b"\n}\n"
        if native and values:
            return join(self._heads, self._ends, values, text)
        return document(dict(zip(self._names, map(member, values), strict=True)))


def text(data: object) -> bytes:
    """One value as compact JSON, the form that `Lines.document` takes fastest. Takes any value that it takes."""
    return _escaped(orjson.dumps(member(data)))


def member(data: object) -> object:
    """Converts a value that `Lines.document` takes to one that `document` takes."""
    if type(data) is bytes:
        return Fragment(data)
    return cast("Cell", data).snapshot() if issubclass(type(data), Cell) else data


def value(data: object) -> bytes:
    """One value as compact JSON and a line break. Takes the values that `document` takes."""
    return _escaped(orjson.dumps(data, option=orjson.OPT_APPEND_NEWLINE))


def to_json(data: object) -> bytes:
    """Plain data of pyvars as compact JSON without escapes for HTML: for other processes of pyvars.

    Raises:
        TypeError: JSON cannot hold the data.
    """
    return orjson.dumps(data)


def from_json(text: bytes) -> object:
    """The data in a JSON text.

    Raises:
        ValueError: it is not JSON.
    """
    return cast("object", orjson.loads(text))


def splice(members: Mapping[str, object]) -> Fragment:
    """A JSON object as a compact Fragment of any size. Its values are Fragments or plain data of pyvars."""
    return Fragment(orjson.dumps(members))


def encode(data: object) -> Fragment:
    """Data of pyvars as a compact Fragment: encoded as it is, or as a copy if that fails (invalid text in a key).

    Raises:
        NotJSONError, TooLargeError: as `encode_user_value` does.
    """
    try:
        text = orjson.dumps(data)
    except TypeError:
        return encode_user_value(data)
    return _bounded(text)


def encode_user_value(data: object) -> Fragment:
    """Any data of the program as a compact Fragment.

    NaN and the infinities become null; keys that are numbers, dates or None become text; a lone surrogate becomes
    U+FFFD, an Enum its value, a dataclass an object. orjson is given a copy of the containers: it walks them in C with
    borrowed references, and would crash if code that runs in between, such as a property of an Enum, changed them.

    Raises:
        NotJSONError: JSON cannot hold the data (a set, bytes, an integer over 64 bits, a cycle, over 250 levels).
        TooLargeError: the JSON takes over 1 MiB. Data that are far too large are not encoded at all: orjson encodes 100
            MB in a fraction of a second, but holds the GIL meanwhile.
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
    """Copies containers and makes their text valid. Raises TooLargeError once the JSON is sure to be over the limit."""

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
            if not isinstance(key, str):  # as orjson writes it; here, since a str of the same text may be a key too
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
    """Escapes the characters that could end a script element or a line of JavaScript, as Go's encoding/json does.

    They stand only inside strings. U+2028 and U+2029 are searched only in text that is not ASCII: the search for one
    byte costs 0.2 us in 24 KB, the search for three bytes costs 14 us.
    """
    text = text.replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")
    if not text.isascii():
        text = text.replace("\u2028".encode(), b"\\u2028").replace("\u2029".encode(), b"\\u2029")
    return text


def valid_text(text: str) -> str:
    """`text` with each lone surrogate replaced by U+FFFD, as Go does with invalid UTF-8; mostly `text` itself."""
    text = str.__str__(text)  # a plain str of an instance of a subclass
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def distinct(key: str, taken: Container[object]) -> str:
    """`key` if it is not in `taken`, else the first of `key~2`, `key~3`, ... that is not.

    Different keys may become the same one in `valid_text`.
    """
    if key not in taken:
        return key
    return next(other for n in count(2) if (other := f"{key}~{n}") not in taken)
