"""What PyInstaller does not find by itself: views and built-ins are loaded by import string, and the page has files."""

from pathlib import Path
from pkgutil import walk_packages

import pyvars

__all__ = ("datas", "hiddenimports")

hiddenimports = [
    module.name
    for module in walk_packages(pyvars.__path__, "pyvars.")
    if not module.name.startswith("pyvars.__")  # not pyvars.__main__, which runs the command line
]

datas = [
    (str(Path(path, "dashboard", folder)), f"pyvars/dashboard/{folder}")
    for path in pyvars.__path__
    for folder in ("assets", "vendor")
]
