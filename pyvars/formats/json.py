"""JSON as Go's expvar writes it. The only user of orjson."""

from collections.abc import Collection, Container, Mapping, Sequence
from itertools import count
from typing import cast

import orjson

__all__ = ("MAX_VALUE_BYTES", "Fragment", "TooLargeError", "document", "encode", "encode_foreign", "splice", "value")

Fragment = orjson.Fragment
"""JSON text that is spliced as it is into a document."""

MAX_VALUE_BYTES = 1024 * 1024

_VALUE = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
_MAX_DEPTH = 254  # orjson's own limit


class TooLargeError(ValueError):
    """The value of one variable takes over 1 MiB."""


def document(members: Mapping[str, object]) -> bytes:
    """One JSON object, a member on each line and each value compact, in the order of `members`.

    The keys must be valid Unicode, and the values plain data or Fragments.

    Raises:
        TypeError: a value is nothing that JSON can hold.
    """
    # With the values compact Fragments or scalars, indentation puts line breaks at the top level only.
    return _escaped(orjson.dumps(members, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def value(data: object) -> bytes:
    """One value, compact, on a line of its own. Takes what `document` takes as a value."""
    return _escaped(orjson.dumps(data, option=orjson.OPT_APPEND_NEWLINE))


def splice(members: Mapping[str, object]) -> Fragment:
    """An object whose values are Fragments or null, compact, of any size."""
    return Fragment(orjson.dumps(members))


def encode(data: object) -> Fragment:
    """Any data as a compact Fragment: the fast way, and if that fails, with invalid text made valid.

    NaN and the infinities are null; keys that are numbers, dates or None are their text; a lone surrogate is U+FFFD.

    Raises:
        TypeError: JSON cannot hold it (a set, bytes, an integer over 64 bits, a cycle, more than 254 levels).
        TooLargeError: it takes over 1 MiB.
    """
    try:
        text = orjson.dumps(data, option=_VALUE)
    except TypeError:
        text = orjson.dumps(_valid(data, 0), option=_VALUE)
    if len(text) > MAX_VALUE_BYTES:
        raise TooLargeError(f"the value takes {len(text)} bytes of JSON")
    return Fragment(text)


def encode_foreign(data: object) -> Fragment:
    """As `encode`, for data of the program's: what is far too large is refused before it is encoded, not after.

    orjson encodes 100 MB in a fraction of a second, but with the GIL held.
    """
    if _surely_too_large(data, 3):
        raise TooLargeError("the value takes over 1 MiB of JSON")
    return encode(data)


def _surely_too_large(data: object, levels: int) -> bool:
    if isinstance(data, str):
        return len(data) > MAX_VALUE_BYTES
    if not isinstance(data, list | tuple | dict):
        return False
    items = cast("Collection[object]", data)
    if 2 * len(items) > MAX_VALUE_BYTES:
        return True
    if levels == 0 or len(items) > 64:
        return False
    members = cast("dict[object, object]", data).values() if isinstance(data, dict) else items
    return any(_surely_too_large(item, levels - 1) for item in members)


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
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def distinct(key: str, taken: Container[object]) -> str:
    """`key`, or if making text valid made it one of those `taken`, the first free one of `key~2`, `key~3`, ..."""
    if key not in taken:
        return key
    return next(other for n in count(2) if (other := f"{key}~{n}") not in taken)


def _valid(data: object, depth: int) -> object:
    """A copy of the containers with valid text; whatever else is left to orjson to accept or refuse."""
    if depth > _MAX_DEPTH:
        raise TypeError(f"more than {_MAX_DEPTH} levels, or a cycle")
    if isinstance(data, str):
        return valid_text(data)
    if isinstance(data, list | tuple):
        return [_valid(item, depth + 1) for item in cast("Sequence[object]", data)]
    if isinstance(data, dict):
        copy: dict[object, object] = {}
        for key, item in cast("dict[object, object]", data).items():
            copy[distinct(valid_text(key), copy) if isinstance(key, str) else key] = _valid(item, depth + 1)
        return copy
    return data
