"""Texts of the program in the figures of built-ins: read without code of the program, and cut if they are too long."""

from pathlib import PurePath
from typing import cast

__all__ = ("MAX_CHARACTERS", "cut", "plain")

MAX_CHARACTERS: int = 1024
"""How many characters of one text are shown."""


def plain(thing: object) -> str:
    """Returns a text, or a path as text, as a plain str. No method of a subclass is called: it may hang.

    Raises:
        TypeError: it is neither.
    """
    if issubclass(type(thing), str):
        return str.__str__(cast("str", thing))
    if issubclass(type(thing), PurePath):
        return PurePath.__str__(cast("PurePath", thing))
    raise TypeError("no text")


def cut(texts: list[str]) -> tuple[list[str], bool]:
    """Returns the texts, each up to MAX_CHARACTERS, and whether one was longer."""
    return [text[:MAX_CHARACTERS] for text in texts], any(len(text) > MAX_CHARACTERS for text in texts)
