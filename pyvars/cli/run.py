"""Runs an unchanged program with a side port: `pyvars script.py`, `pyvars -m module`."""

import importlib.util
import os
import pkgutil
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType, ModuleType, TracebackType

import pyvars
from pyvars.access import default, token_file
from pyvars.cli.children import share_with_children
from pyvars.cli.counting import count_http
from pyvars.cli.reloaders import CHILD_OF_RELOADER
from pyvars.cli.usage import Parser, failed
from pyvars.errors import ConfigurationError
from pyvars.workers.membership.census import ADVICE

__all__ = ("main",)


def main(arguments: Sequence[str]) -> int:
    """Start the side port and run the program. Returns the exit status; SystemExit of the program is not caught."""
    parser = Parser(prog="pyvars", allow_abbrev=False)
    parser.add_argument("--port")
    parser.add_argument("--host")
    parser.add_argument("--optional", action="store_true")
    parser.add_argument("--http", action="store_true")
    parser.add_argument("--token-file")
    parser.add_argument("--version", action="version", version=f"pyvars {pyvars.__version__}")
    own, program, is_module = _split(list(arguments))
    options = parser.parse_args(own)
    if not program:
        parser.error("name a script, -m module, get URL, workers URL or history URL")
    host, host_source = _chosen(options.host, "PYVARS_HOST", "127.0.0.1")
    port, port_source = _chosen(options.port, "PYVARS_PORT", "6060")
    if not (port.isascii() and port.isdecimal() and len(port) <= 5):
        parser.error(f"a port is a number from 0 to 65535, got {port!r}{port_source}")
    place = f"{host}:{port}{host_source}{port_source}"
    try:
        access = default() if options.token_file is None else default() | token_file(options.token_file)
        server = pyvars.serve(int(port), host, access=access)
    except ConfigurationError as error:
        return failed(f"no side port on {place}: {error}. On the command line, --token-file FILE sets a token")
    except OSError as error:
        if not options.optional:
            hint = "--port 0 takes a free port, --optional runs the program without a side port"
            return failed(f"no side port on {place}: {error}; {hint}")
        failed(f"no side port on {place}: {error}; the program runs without one")
    else:
        share_with_children(http=options.http)
        ADVICE.append(CHILD_OF_RELOADER.get)
        if options.http:
            count_http()
        if server.port != int(port):
            print(f"pyvars: {server.url}/debug/vars", file=sys.stderr, flush=True)
    return _run(program, is_module=is_module)


def _chosen(given: str | None, variable: str, otherwise: str) -> tuple[str, str]:
    """Returns the value of an option, else of an environment variable, else the default; and a text for its source."""
    if given is not None:
        return given, ""
    set_ = os.environ.get(variable)
    return (set_, f" ({variable})") if set_ else (otherwise, "")


def _split(given: list[str]) -> tuple[list[str], list[str], bool]:
    """Splits the command line as python does: options of pyvars, program with arguments, whether `-m` names it."""
    position = 0
    while position < len(given):
        word = given[position]
        if word == "-m" or (word.startswith("-m") and not word.startswith("--")):
            return given[:position], [*filter(None, [word[2:]]), *given[position + 1 :]], True
        if not word.startswith("-"):
            return given[:position], given[position:], False
        position += 2 if word in ("--port", "--host", "--token-file") else 1
    return given, [], False


def _run(program: list[str], *, is_module: bool) -> int:
    """Run the program as `__main__` in this interpreter."""
    name = program[0]
    sys.argv = program.copy()
    try:
        spec, code = _find_module(name) if is_module else _find_script(name)
    except OSError as error:
        failed(f"cannot run {name}: {error}")
        return 2  # as plain python does
    except (ImportError, ValueError) as error:
        return failed(f"cannot run {name}: {error}")
    except SyntaxError as error:
        sys.excepthook(SyntaxError, error.with_traceback(None), None)
        return 1
    module = ModuleType("__main__")
    module.__dict__.update(__builtins__=__builtins__, __annotations__={}, __cached__=None)
    if spec is None:
        module.__file__ = os.path.abspath(name)
        module.__loader__ = SourceFileLoader("__main__", module.__file__)
    else:
        module.__spec__, module.__loader__, module.__package__ = spec, spec.loader, spec.parent
        module.__file__ = spec.origin or name
        if is_module:
            sys.argv[0] = module.__file__
        module.__dict__["__cached__"] = spec.cached
    sys.modules["__main__"] = module
    try:
        exec(code, module.__dict__)
    except SystemExit:
        raise
    except BaseException as error:
        # Print the traceback that plain python prints, which begins at the program's first line. Then raise it again,
        # so that the interpreter ends with the right status (after Ctrl-C, by the signal), but does not print it twice.
        traceback = error.__traceback__.tb_next if error.__traceback__ else None
        sys.excepthook(type(error), error.with_traceback(traceback), traceback)
        sys.excepthook = _silent
        raise
    return 0


def _silent(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    pass


def _find_script(path: str) -> tuple[ModuleSpec | None, CodeType]:
    if os.path.isdir(path) or (os.path.isfile(path) and not path.endswith(".py") and pkgutil.get_importer(path)):
        whole = os.path.abspath(path)
        _set_path0(whole)
        finder = pkgutil.get_importer(whole)
        spec = finder.find_spec("__main__") if finder is not None else None
        if spec is None:
            raise ImportError(f"can't find '__main__' module in {path!r}")
        return spec, _code(spec)
    _set_path0(os.path.dirname(os.path.realpath(path)))
    with open(path, "rb") as file:
        return None, compile(file.read(), os.path.abspath(path), "exec", dont_inherit=True)


def _find_module(name: str) -> tuple[ModuleSpec, CodeType]:
    _set_path0(os.getcwd())
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        spec = importlib.util.find_spec(f"{name}.__main__")
    if spec is None:
        raise ImportError(f"no module named {name!r}, or a package without __main__")
    return spec, _code(spec)


def _code(spec: ModuleSpec) -> CodeType:
    get_code: Callable[[str], CodeType | None] | None = getattr(spec.loader, "get_code", None)
    code = get_code(spec.name) if get_code is not None else None
    if code is None:
        raise ImportError(f"{spec.name} holds no Python code")
    return code


def _set_path0(folder: str) -> None:
    """Set the first entry of sys.path to the one that plain python would have set."""
    if not sys.flags.safe_path:
        sys.path[0] = folder
