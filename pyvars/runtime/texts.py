"""Texts of the program in the figures of built-ins: read without calling code of the program, and cut if too long."""

from pathlib import PurePath
from typing import cast

__all__ = ("MAX_CHARACTERS", "cut", "plain")

MAX_CHARACTERS: int = 1024
"""The maximum number of characters of one text."""


def plain(thing: object) -> str:
    """Returns a str or a path as a plain str. Calls no method of a subclass, which may hang.

    Raises:
        TypeError: `thing` is neither.
    """
    if issubclass(type(thing), str):
        return str.__str__(cast("str", thing))
    if issubclass(type(thing), PurePath):
        return PurePath.__str__(cast("PurePath", thing))
    raise TypeError("no text")


def cut(texts: list[str]) -> tuple[list[str], bool]:
    """Returns the texts, each up to MAX_CHARACTERS, and whether one was longer."""
    return [text[:MAX_CHARACTERS] for text in texts], any(len(text) > MAX_CHARACTERS for text in texts)
