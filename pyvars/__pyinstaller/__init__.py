"""Tells PyInstaller where the hook of pyvars is, through the entry point `pyinstaller40`."""

import os

__all__ = ("hook_dirs",)


def hook_dirs() -> list[str]:
    """The directories of hooks."""
    return [os.path.dirname(__file__)]
