"""The help text of the command line, and its error lines."""

import argparse
import sys
from typing import NoReturn

__all__ = ("HELP", "Parser", "failed")

HELP = """\
usage: pyvars [option ...] script.py [argument ...]
       pyvars [option ...] -m module [argument ...]
       pyvars get [option ...] URL [name ...]
       pyvars workers [option ...] URL
       pyvars history [option ...] URL|FILE [name ...]

Run an unchanged Python program, and serve its variables at
http://127.0.0.1:6060/debug/vars. Or print the variables of a running program.
`python -m pyvars` is the same command.

run a program:
  script.py         a script, or a folder or zip file with a __main__.py
  -m module         a module or package, as `python -m` runs it
  argument ...      what the program finds in sys.argv
  --port PORT       port of the side port; 0 takes a free one and prints it on
                    standard error (default: PYVARS_PORT, else 6060)
  --host HOST       address of the side port; one that other machines can
                    reach needs a token (default: PYVARS_HOST, else 127.0.0.1)
  --optional        if the port is not available, say so on standard error, and
                    run the program without a side port
  --http            count the requests of the program as `http`, if uvicorn,
                    hypercorn, gunicorn or granian serves it
  --token-file FILE also allow requests that send a token of FILE, as Bearer or
                    as the password of Basic; FILE has one token on each line;
                    the environment variable PYVARS_TOKEN allows one more token
  The program runs as under plain python: sys.argv, __main__, sys.path[0], exit
  status, tracebacks, signals and standard input are the same. If the port is
  not available, the exit status is 1 and the program does not run, except with
  --optional.

print the figures of a page (get), or the table of the workers (workers):
  URL               port, host, host:port or URL of a page of pyvars or of
                    Go's expvar; the default path is /debug/vars, or for
                    workers /debug/workers; without http:// the default port
                    is 6060; user:password@ is sent as Basic
  name ...          variables or figures to print, such as memstats.HeapAlloc;
                    a name includes all figures below it (default: all)
  --worker PID      print the page of this worker alone; with `all` the pages
                    of all workers, with the pid on each line; ?worker= in the
                    URL does the same
  --human           print bytes and seconds in readable units, and times as
                    dates; the name of a figure gives its unit: cache_bytes,
                    wait_seconds, pause_ns; memstats has the units of Go
  --token-file FILE send the first token of FILE as Bearer (default: the token
                    in PYVARS_TOKEN)
  --timeout SECONDS give up after this time (default: 5)
  `get` prints one figure on each line, sorted. The exit status is 1 if the page
  cannot be read, or if a name or worker is missing; then the other figures are
  printed, and standard error has a line for each reason. To run a script that
  is called `get`, `workers` or `history`, write ./get, ./workers or ./history.

print the history of the figures (history):
  URL               as above; without a path, /debug/history
  FILE              a history file: the one that PYVARS_HISTORY names, or one
                    in the group directory of a service; the service may have
                    ended
  name ...          print only series whose names begin with one of these; if
                    none is given, a URL returns 300 series of 150 points at
                    most
  --step 10         print the last two hours, one point each 10 s (default: the
                    last ten minutes, one point each second)
  --csv             print a line for each point in time (default: a line for
                    each series, with its first, last, lowest and highest
                    number)
  --json            print the JSON of /debug/history, in one line
  --token-file FILE, --timeout SECONDS
                    as above

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
