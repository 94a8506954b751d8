"""The command line: runs an unchanged program with a side port, or prints a page."""

import argparse
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Callable, Sequence
from http.client import HTTPException
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType, ModuleType, TracebackType
from typing import NoReturn

import pyvars
from pyvars.access import default, token_file
from pyvars.errors import ConfigurationError

__all__ = ("HELP", "main")

HELP = """\
usage: pyvars [option ...] script.py [argument ...]
       pyvars [option ...] -m module [argument ...]
       pyvars get [option ...] URL [name ...]

Run an unchanged Python program with its variables served beside it, at
http://127.0.0.1:6060/debug/vars, or print the page of a running program.
`python -m pyvars` is the same command.

run a program:
  script.py         a script, or a folder or zip file with a __main__.py
  -m module         a module or package, as `python -m` runs it
  argument ...      what the program finds in sys.argv
  --port PORT       port of the side port; 0 takes a free one, and says which
                    on standard error (default: 6060)
  --host HOST       address of the side port (default: 127.0.0.1); one that
                    other machines can reach needs a token
  --token-file FILE let in also who sends a token of FILE, one on each line, as
                    Bearer or as the password of Basic; and so with the token
                    in the environment variable PYVARS_TOKEN
  The program behaves as under plain python: sys.argv, __main__, sys.path[0],
  exit status, tracebacks, signals and standard input are its own. When the
  port cannot be had, the program is not started and the exit status is 1.

print a page:
  URL               port, host, host:port or URL of a page of pyvars or of
                    Go's expvar; without a path, /debug/vars; without a port,
                    6060; user:password@ is sent
  name ...          variables or figures to print, such as memstats.HeapAlloc;
                    a name stands for all that is below it (default: all)
  --human           bytes, nanoseconds and seconds in units that read well
  --token-file FILE send the first token of FILE as Bearer
  --timeout SECONDS give up after this time (default: 5)
  One figure a line, sorted. The exit status is 1, and the reason is one line,
  when the page cannot be had or a name is not on it. A script called `get` is
  run as ./get.

  --help            print this text
  --version         print the version
"""


class _Parser(argparse.ArgumentParser):
    def format_help(self) -> str:
        return HELP

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"pyvars: {message}; try pyvars --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, `sys.argv` by default; the exit status comes back. A program's own exit is not caught."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["get"]:
        return _get(given[1:])
    parser = _Parser(prog="pyvars", allow_abbrev=False)
    parser.add_argument("--port", type=int, default=6060)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--token-file")
    parser.add_argument("--version", action="version", version=f"pyvars {pyvars.__version__}")
    own, program, is_module = _split(given)
    options = parser.parse_args(own)
    if not program:
        parser.error("name a script, -m module, or get URL")
    try:
        access = default() if options.token_file is None else default() | token_file(options.token_file)
        server = pyvars.serve(options.port, options.host, access=access)
    except (OSError, ConfigurationError) as error:
        return _failed(f"no side port on {options.host}:{options.port}: {error}")
    if options.port == 0:
        print(f"pyvars: {server.url}/debug/vars", file=sys.stderr, flush=True)
    return _run(program, is_module=is_module)


def _split(given: list[str]) -> tuple[list[str], list[str], bool]:
    """Our own arguments, then the program with its own, and whether it is a module: as python itself splits them."""
    position = 0
    while position < len(given):
        word = given[position]
        if word == "-m" or (word.startswith("-m") and not word.startswith("--")):
            return given[:position], [*filter(None, [word[2:]]), *given[position + 1 :]], True
        if not word.startswith("-"):
            return given[:position], given[position:], False
        position += 2 if word in ("--port", "--host", "--token-file") else 1
    return given, [], False


def _get(arguments: Sequence[str]) -> int:
    from pyvars.reader import fetch, first_token, lines

    parser = _Parser(prog="pyvars get", allow_abbrev=False)
    parser.add_argument("url")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--human", action="store_true")
    parser.add_argument("--token-file")
    parser.add_argument("--timeout", type=float, default=5.0)
    options = parser.parse_intermixed_args(arguments)
    try:
        token = None if options.token_file is None else first_token(options.token_file)
        page = fetch(options.url, options.timeout, token=token)
        for line in lines(page, options.names, human=options.human):
            print(line)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough; spare the interpreter the same error at its exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, HTTPException, ValueError, LookupError) as error:
        place = options.url.rpartition("@")[2]  # without a password
        return _failed(f"{place}: {getattr(error, 'reason', error)}")
    return 0


def _failed(reason: str) -> int:
    print(f"pyvars: {reason}", file=sys.stderr)
    return 1


def _run(program: list[str], *, is_module: bool) -> int:
    """Run the program as `__main__` in this interpreter."""
    name = program[0]
    sys.argv = program.copy()
    try:
        spec, code = _find_module(name) if is_module else _find_script(name)
    except OSError as error:
        _failed(f"cannot run {name}: {error}")
        return 2  # as plain python
    except (ImportError, ValueError) as error:
        return _failed(f"cannot run {name}: {error}")
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
        # The traceback that plain python prints begins at the program's first line. The exception goes on to the
        # interpreter, which so ends with the right status (after Ctrl-C, by the signal), but must not print it again.
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
    """What plain python puts first on sys.path, in place of what it put there for this command."""
    if not sys.flags.safe_path:
        sys.path[0] = folder
