"""JSON as Go's expvar writes it. The only user of orjson."""

from array import array
from bisect import bisect_left
from collections.abc import Container, Mapping, Sequence
from itertools import accumulate, count
from typing import TYPE_CHECKING, cast

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
    "compact",
    "distinct",
    "document",
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
    """The names of a page in their order, encoded once for all pages with these names. They must be valid Unicode."""

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._heads = b""
        self._ends: array[int] = array("I")
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
                start: int = span.start
                begin = self._ends[start - 1] if start else 0
                ends, shift = self._ends[span], len(heads) - begin
                heads += self._heads[begin : ends[-1]]
                part._ends.extend([end + shift for end in ends])
        part._heads = b"{" + heads[1:]  # the first line of a page begins with a brace, all others with a comma
        return part

    def document(self, values: list[object], more: Mapping[str, object] | None = None) -> bytes:
        """The page with these values, as `document` writes it, but ten times as fast for Ints.

        Each value is a cell, bytes made by `text`, or a value that `document` takes. `more` are further members, which
        are sorted in by name; each of them adds to the cost of the page.

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
    """A value that `Lines.document` takes as compact JSON: the form of which it makes a page fastest."""
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


def compact(data: object) -> bytes:
    """Data as compact JSON without escapes for HTML, plain numpy arrays and scalars included. Keys are str.

    Raises:
        TypeError: JSON cannot hold the data.
    """
    return orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY)


def _escaped(text: bytes) -> bytes:
    """Escapes the characters that could end a script element or a line of JavaScript, as Go's encoding/json does.

    In JSON these characters occur only inside strings. U+2028 and U+2029 are searched only in text that is not ASCII:
    in 24 KB the search for one byte takes 0.2 us, the search for three bytes 14 us.
    """
    text = text.replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")
    if not text.isascii():
        text = text.replace("\u2028".encode(), b"\\u2028").replace("\u2029".encode(), b"\\u2029")
    return text


def valid_text(text: str) -> str:
    """`text` with each lone surrogate replaced by U+FFFD, as Go does with invalid UTF-8."""
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
