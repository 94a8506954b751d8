"""Converts numbers of the program to the plain ints and floats that Int and Float hold."""

from operator import index
from typing import SupportsFloat, SupportsIndex

__all__ = ("BITS", "INT64_MAX", "INT64_MIN", "exact_bool", "exact_float", "exact_int")

INT64_MIN = -(2**63)
"""The smallest value of an Int."""
INT64_MAX = 2**63 - 1
"""The largest value of an Int."""

BITS = "64 bits with a sign"
"""The range of an Int, as the texts of OverflowError name it."""


def exact_int(value: SupportsIndex) -> int:
    """Returns `value` as a plain int of 64 bits, so that adding it runs no code of a subclass.

    Raises:
        TypeError: `value` is not an integer.
        OverflowError: `value` does not fit into 64 bits.
    """
    try:
        number = int.__pos__(index(value))
    except TypeError as error:
        hint = "; a Float takes fractions" if hasattr(value, "__float__") else ""
        cause = error if hasattr(value, "__index__") else None  # else it says nothing that this text does not say
        raise TypeError(f"an Int takes whole numbers, got {value!r}{hint}") from cause
    if not INT64_MIN <= number <= INT64_MAX:
        raise OverflowError(f"the number does not fit into {BITS}")  # not shown: it may have too many digits
    return number


def exact_float(value: SupportsFloat | SupportsIndex) -> float:
    """Returns `value` as a plain float, so that adding it runs no code of a subclass.

    Raises:
        TypeError: `value` is not a number. A str raises, too, although float() would parse it.
        OverflowError: `value` is an integer too large for a float.
    """
    if not hasattr(value, "__float__") and not hasattr(value, "__index__"):
        raise TypeError(f"a number is needed, such as 1.5, got {value!r}")
    return float.__pos__(float(value))


def exact_bool(gauge: object) -> bool:
    """Returns `gauge` if it is True or False.

    Raises:
        TypeError: it is anything else.
    """
    if not isinstance(gauge, bool):
        raise TypeError(f"gauge is True or False, got {gauge!r}")
    return gauge
