"""The name of the program, by which people and readers of the page distinguish programs.

Sources: sys.argv[0], which the program may change; the `__spec__` of `__main__`, which has the name of the module of
`python -m`; sys.orig_argv.
"""

import os
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ("main_spec", "program_name")

_MAIN = "__main__"


def main_spec() -> ModuleSpec | None:
    """The spec of the module that runs as `__main__`; None for a script. Imports nothing."""
    main = sys.modules.get(_MAIN)  # a program may have put anything in its place
    spec: object = vars(main).get("__spec__") if issubclass(type(main), ModuleType) else None
    return spec if isinstance(spec, ModuleSpec) else None


def program_name(program: str, spec: ModuleSpec | None) -> str:
    """Returns the name of the program, given its sys.argv[0] and the spec of its `__main__`.

    This is the name of the module of `python -m`, else the name of the file or folder, such as a script or the
    executable of a frozen program. In a child of multiprocessing a package has no spec, and gets its name from its
    folders.
    """
    if spec is not None and spec.name != _MAIN and program == spec.origin:
        return spec.name.removesuffix(f".{_MAIN}")
    if program == "-m":  # python is still importing the package of the module, and sets sys.argv[0] after that
        return _module_in(sys.orig_argv, len(sys.argv)).removesuffix(f".{_MAIN}")
    folder, name = os.path.split(program.rstrip("/"))
    if name in (".", ".."):  # `python .`
        folder, name = os.path.split(os.path.realpath(getattr(sys.modules.get(_MAIN), "__file__", None) or program))
    if name in (f"{_MAIN}.py", f"{_MAIN}.pyc"):
        return _package(folder) or name
    return name


def _module_in(original: list[str], given: int) -> str:
    """Returns the module of `python -m module args` or `python -mmodule args`, given the whole command line."""
    word = original[-given] if given <= len(original) else ""
    return word.partition("m")[2] if word.startswith("-") else word


def _package(folder: str) -> str:
    """Returns the name of a folder with a `__main__.py`; if that is a package, the dotted name with those above it."""
    above, name = os.path.split(folder)
    if name and os.path.exists(os.path.join(folder, "__init__.py")):
        while os.path.exists(os.path.join(above, "__init__.py")):
            above, outer = os.path.split(above)
            name = f"{outer}.{name}"
    return name
