"""The JSON form of a value of the program: what a function or `snapshot()` may return, and how the page shows it.

    value                                               JSON form
    --------------------------------------------------  ------------------------------------------------------------
    None, bool, str, int of up to 64 bits, float        itself; NaN and the infinities are null
    subclasses of these; numpy scalars; 0-d arrays      a number or a text
    Decimal, Fraction, any numbers.Real                 a float; for any numbers.Integral an integer
    timedelta, timedelta64                              a float: the seconds
    datetime, Timestamp, datetime64                     RFC 3339; without an offset if it has no time zone
    date, time                                          ISO 8601: 2026-01-02, 03:04:05
    NaT, pandas.NA, a masked element, msgspec.UNSET     null
    UUID, Path                                          its text
    Enum                                                the form of its value
    list, tuple, deque, range, array, any Sequence      a list
    numpy array of any layout; pandas.Index, .array     a list, nested by its dimensions
    dict, any Mapping                                   an object by key
    pandas.Series, pandas.DataFrame                     an object by index label; by column name
    namedtuple, os.stat_result and its like             an object by field
    dataclass, attrs, msgspec.Struct, SimpleNamespace   an object by field
    record of a structured numpy array                  an object by field
    pydantic model (1 and 2)                            an object by field: with computed fields, without those that
                                                        have `exclude`; for a root model, the form of its root

The keys of an object are shown as text: a key that is no str as its JSON form (`2`, `1.5`, `true`, `null`,
`2026-01-02`), and the tuple `("GET", 200)` as `GET,200`. If two keys become the same text, the second one is shown as
`text~2`. A lone surrogate is shown as U+FFFD.

All other values have no JSON form: bytes (decode them), sets (return a sorted list, whose order is always the same),
iterators and generators (reading would empty them), complex numbers, integers over 64 bits, classes and other objects,
cycles, more than 250 levels. If a value contains one of these, the whole variable is null. It is also null if code of
the program raises while the value is read; `pyvars.errors` has the type of the exception, and the log its text. A value
of over 1 MiB of JSON is null, with the error `too_large`.

`/metrics` shows a value that is a number, and the numbers in objects, but not the numbers in lists, which have no key
that could be a label. This module imports none of these packages: it recognises a class by its name, or by the
attributes that its package gives it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from datetime import UTC, timedelta
from enum import Enum
from functools import lru_cache
from itertools import islice
from numbers import Integral, Real
from typing import Any, NamedTuple, TypeAlias, cast

from pyvars.formats.json import NotJSONError, valid_text

__all__ = ("Form", "Items", "Members", "Ready", "form_of")


class Items(NamedTuple):
    """A list whose items are made one by one, while they are read."""

    items: Iterable[object]
    size: int
    """The number of them."""


class Members(NamedTuple):
    """An object by key. Different keys may become the same text."""

    members: Iterable[tuple[object, object]]
    size: int
    """The number of them."""


class Ready(NamedTuple):
    """A value that orjson encodes without a copy, and a lower bound of the size of its JSON in bytes."""

    value: object
    size: int


# A Form takes a value, and the number of bytes left for its JSON. It reads at most as many items as fit into these, at
# two bytes an item and four a member. It returns plain data, an Items, Members or Ready, or another value that has a
# form. The class decides which form a value has, since an object can deceive `isinstance`. Containers are read in one
# call of C, since another thread may change them; of subclasses of Python's containers no overridden method is called.
Form: TypeAlias = Callable[[Any, int], object]


def _simple(plain: Callable[[Any], object]) -> Form:
    return lambda data, limit: plain(data)


def _stored(kind: type[Any]) -> Form:
    return lambda data, limit: [*islice(kind.__iter__(data), limit // 2 + 1)]


def _sequence(data: Iterable[object], limit: int) -> object:
    return [*islice(data, limit // 2 + 1)]


def _stored_members(data: Any, limit: int) -> object:
    members = [*islice(dict[Any, Any].items(data), limit // 4 + 1)]
    return Members(members, len(members))


def _mapping(data: Any, limit: int) -> object:
    members = [*islice(data.items(), limit // 4 + 1)]
    return Members(members, len(members))


def _by_field(names: Sequence[str]) -> Form:
    return lambda data, limit: Members([(name, getattr(data, name)) for name in names], len(names))


def _moment(data: Any, limit: int) -> object:
    """A datetime; in UTC if its offset has seconds, as historical offsets may: RFC 3339 has no such offsets."""
    text = data.isoformat()
    if text == "NaT":
        return None
    offset = data.utcoffset()
    return data.astimezone(UTC).isoformat() if offset is not None and offset % timedelta(minutes=1) else text


def _array(data: Any, limit: int) -> object:
    """A numpy array or scalar of numbers, as orjson takes it: contiguous, in the byte order of this machine."""
    dtype = data.dtype
    if dtype.kind not in "biuf":
        return _elements(data.astype(dtype, copy=False, subok=False), limit)
    size, lists = 1, 0
    for length in data.shape:  # an array of 10**9 empty rows has no elements
        size *= length
        lists += size
    if size + lists > limit:
        return Ready(None, size + lists)
    wanted = "f8" if dtype.itemsize > 8 else dtype.newbyteorder("=")
    return Ready(data.astype(wanted, order="C", copy=False, subok=False)[()], size)


def _elements(data: Any, limit: int) -> object:
    """A numpy array whose elements are not numbers, or a masked array."""
    return Items(islice(data, len(data)), len(data)) if data.ndim else data[()]


def _scalar(data: Any, limit: int) -> object:
    """A numpy scalar."""
    kind, names = data.dtype.kind, data.dtype.names
    if kind in "biuf":
        return _array(data, limit)
    if kind == "m":
        return float(data / type(data)(1, "s"))
    if kind == "M":
        moment = data.astype("M8[us]").item()
        if type(moment) is int:
            raise NotJSONError("a datetime64 that is not in the years 1 to 9999")
        return moment
    return _other(data, limit) if names is None else Members([(name, data[name]) for name in names], len(names))


def _pydantic(data: Any, limit: int) -> object:
    """A pydantic model. Values are read from `__dict__`, since reading a deprecated field as an attribute warns."""
    kind, values = cast("Any", type(data)), cast("dict[str, object]", vars(data))
    if not hasattr(kind, "__pydantic_decorators__"):  # of version 1
        hidden = {name for name, field in kind.__fields__.items() if field.field_info.exclude}
        shown = {name: value for name, value in values.items() if name not in hidden}
        return shown.get("__root__", shown)
    if kind.__pydantic_root_model__:
        return values["root"]
    shown = {name: values[name] for name, field in kind.model_fields.items() if name in values and not field.exclude}
    shown.update(data.__pydantic_extra__ or {})
    return shown | {name: getattr(data, name) for name in kind.__pydantic_decorators__.computed_fields}


def _other(data: Any, limit: int) -> object:
    """An object that is registered as a Mapping, Sequence or number, or a proxy of such an object."""
    if isinstance(data, Mapping):
        return _mapping(data, limit)
    if isinstance(data, Sequence) and not isinstance(data, (str, *_BYTES)):
        return _sequence(cast("Sequence[object]", data), limit)
    if isinstance(data, Integral):
        return int(data)
    if isinstance(data, Real):
        return float(data)
    raise _no_form(cast("object", data))


_BYTES: tuple[type, ...] = (bytes, bytearray, memoryview)
_NAME: Callable[[type], str] = type.__dict__["__qualname__"].__get__


def _no_form(data: object) -> NotJSONError:
    """The error that says what to return instead."""
    name, hint = _NAME(type(data)), ": return a text, such as its hex()" if isinstance(data, _BYTES) else ""
    if isinstance(data, Set | Iterator):
        hint = ": return a list, sorted(…) or list(…)"
    return NotJSONError(f"a {name}{hint}")


_BY_NAME: dict[str, Form] = {
    "builtins.dict": _stored_members,
    "builtins.float": _simple(float.__float__),
    "builtins.int": _simple(int.__int__),
    "builtins.list": _stored(list),
    "builtins.str": _simple(valid_text),
    "builtins.tuple": _stored(tuple),
    "collections.UserString": _simple(str),
    "collections.deque": _stored(deque),
    "datetime.date": _simple(lambda data: data.isoformat()),
    "datetime.datetime": _moment,
    "datetime.time": _simple(lambda data: data.isoformat()),
    "datetime.timedelta": _simple(lambda data: float(data.total_seconds())),
    "decimal.Decimal": _simple(float),
    "msgspec.UnsetType": _simple(lambda data: None),
    "numpy.MaskedArray": _elements,
    "numpy.MaskedConstant": _simple(lambda data: None),
    "numpy.generic": _scalar,
    "numpy.ndarray": _array,
    "pandas.DataFrame": _mapping,
    "pandas.ExtensionArray": _sequence,
    "pandas.Index": _sequence,
    "pandas.NAType": _simple(lambda data: None),
    "pandas.Series": _mapping,
    "pathlib.PurePath": _simple(str),
    "pydantic.BaseModel": _pydantic,
    "types.SimpleNamespace": _simple(vars),
    "uuid.UUID": _simple(str),
}
"""The forms by package and class. A subclass has the form of the first class of its mro that is in this table."""


@lru_cache(maxsize=1024)
def form_of(kind: type) -> Form:
    """The Form that reads instances of the class."""
    if issubclass(kind, Enum):
        return _simple(lambda data: data.value)
    names = _field_names(kind)
    if names is not None:
        return _by_field(names)
    for base in kind.__mro__:
        form = _BY_NAME.get(f"{str(base.__module__).partition('.')[0]}.{base.__qualname__}")
        if form is not None:
            return form
    return _other


def _field_names(kind: Any) -> Sequence[str] | None:
    """The fields of a class whose instances are shown as objects by field; None for other classes."""
    if tuple in kind.__mro__:
        like_stat = hasattr(kind, "n_sequence_fields")  # os.stat_result and its like
        return cast("Sequence[str] | None", getattr(kind, "__match_args__" if like_stat else "_fields", None))
    if hasattr(kind, "__struct_fields__"):
        return cast("Sequence[str]", kind.__struct_fields__)
    if hasattr(kind, "__attrs_attrs__"):
        return [attribute.name for attribute in kind.__attrs_attrs__]
    return [field.name for field in fields(kind)] if is_dataclass(kind) else None
