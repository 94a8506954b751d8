"""The help text of the command line, and its error lines."""

import argparse
import sys
from typing import NoReturn

__all__ = ("HELP", "Parser", "failed")

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
  --token-file FILE allow also requests with a token of FILE, one a line, as
                    Bearer or as the password of Basic; the same with the token
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


class Parser(argparse.ArgumentParser):
    """An argument parser that prints HELP for --help, and one line for an error."""

    def format_help(self) -> str:
        """Returns HELP."""
        return HELP

    def error(self, message: str) -> NoReturn:
        """Print what is wrong, and exit with status 2."""
        self.exit(2, f"pyvars: {message}; try pyvars --help\n")


def failed(reason: str) -> int:
    """Print why the command failed. Returns its exit status, 1."""
    print(f"pyvars: {reason}", file=sys.stderr)
    return 1
