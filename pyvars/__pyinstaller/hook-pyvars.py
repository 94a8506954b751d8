"""Modules of pyvars that PyInstaller does not find by itself: views and built-ins are loaded by import string."""

from pkgutil import walk_packages

import pyvars

__all__ = ("hiddenimports",)

hiddenimports = [
    module.name
    for module in walk_packages(pyvars.__path__, "pyvars.")
    if not module.name.startswith("pyvars.__")  # not pyvars.__main__, which runs the command line
]
