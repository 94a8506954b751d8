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

Run an unchanged Python program with its variables served beside it, at
http://127.0.0.1:6060/debug/vars, or print those of a running program.
`python -m pyvars` is the same command.

run a program:
  script.py         a script, or a folder or zip file with a __main__.py
  -m module         a module or package, as `python -m` runs it
  argument ...      what the program finds in sys.argv
  --port PORT       port of the side port; 0 takes a free one, and says which
                    on standard error (default: PYVARS_PORT, else 6060)
  --host HOST       address of the side port; one that other machines can
                    reach needs a token (default: PYVARS_HOST, else 127.0.0.1)
  --optional        when the port cannot be had, say so on standard error, and
                    run the program without a side port
  --http            count the requests of the program as `http`, if uvicorn,
                    hypercorn, gunicorn or granian serves it
  --token-file FILE allow also requests with a token of FILE, one a line, as
                    Bearer or as the password of Basic; the same with the token
                    in the environment variable PYVARS_TOKEN
  The program behaves as under plain python: sys.argv, __main__, sys.path[0],
  exit status, tracebacks, signals and standard input are its own. When the
  port cannot be had, the program is not started and the exit status is 1.

print the figures of a page (get), or the table of the workers (workers):
  URL               port, host, host:port or URL of a page of pyvars or of
                    Go's expvar; without a path, /debug/vars, or for workers
                    /debug/workers; without a port, 6060; user:password@ is
                    sent
  name ...          variables or figures to print, such as memstats.HeapAlloc;
                    a name stands for all that is below it (default: all)
  --worker PID      the page of one worker alone; all: those of all workers,
                    each line with the pid; the same with ?worker= in the URL
  --human           bytes and seconds in units that read well, and times as
                    such; the names tell what they are: cache_bytes,
                    wait_seconds, pause_ns, and memstats those of Go
  --token-file FILE send the first token of FILE as Bearer (default: the token
                    in PYVARS_TOKEN)
  --timeout SECONDS give up after this time (default: 5)
  One figure a line, sorted. The exit status is 1 when the page cannot be had,
  or a name or worker is missing: the rest is printed, and standard error has a
  line for each reason. Scripts called `get` and `workers` are run as ./get and
  ./workers.

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
