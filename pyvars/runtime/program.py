"""The name of the program, for people and for readers that tell programs apart by it.

Sources: sys.argv[0], which the program may change; the `__spec__` of `__main__`, which knows the module of `python -m`;
sys.orig_argv.
"""

import os
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ("main_spec", "program_name")

_MAIN = "__main__"


def main_spec() -> ModuleSpec | None:
    """The spec of the module that runs as `__main__`: of `python -m`, a folder or a zip file. Imports nothing."""
    main = sys.modules.get(_MAIN)  # a program may have put anything in its place
    spec: object = vars(main).get("__spec__") if issubclass(type(main), ModuleType) else None
    return spec if isinstance(spec, ModuleSpec) else None


def program_name(program: str, spec: ModuleSpec | None) -> str:
    """Returns the name of the program that has `program` as sys.argv[0], and `spec` as that of its `__main__`.

    It is the name of a module (`python -m`), else of a file or folder, such as a script or the executable of a frozen
    program. A package in a child of multiprocessing has no spec, and is called by its folders.
    """
    if spec is not None and spec.name != _MAIN and program == spec.origin:
        return spec.name.removesuffix(f".{_MAIN}")
    if program == "-m":  # a package of the module is being imported, before the module is known
        return _module_in(sys.orig_argv, len(sys.argv)).removesuffix(f".{_MAIN}")
    folder, name = os.path.split(program.rstrip("/"))
    if name in (".", ".."):  # `python .`
        folder, name = os.path.split(os.path.realpath(getattr(sys.modules.get(_MAIN), "__file__", None) or program))
    if name in (f"{_MAIN}.py", f"{_MAIN}.pyc"):
        return _package(folder) or name
    return name


def _module_in(original: list[str], given: int) -> str:
    """Returns the module of `python -m module`, which stands before the arguments, or is glued to the option."""
    word = original[-given] if given <= len(original) else ""
    return word.partition("m")[2] if word.startswith("-") else word


def _package(folder: str) -> str:
    """Returns the dotted name of the package in a folder: folders above it count while they are packages, too."""
    above, name = os.path.split(folder)
    if name and os.path.exists(os.path.join(folder, "__init__.py")):
        while os.path.exists(os.path.join(above, "__init__.py")):
            above, outer = os.path.split(above)
            name = f"{outer}.{name}"
    return name
