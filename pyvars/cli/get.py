"""`pyvars get`: prints the page of a running program."""

import os
import sys
from collections.abc import Sequence
from http.client import HTTPException

from pyvars.cli.reader import fetch, first_token, lines
from pyvars.cli.usage import Parser, failed

__all__ = ("main",)


def main(arguments: Sequence[str]) -> int:
    """Run the command. Returns the exit status."""
    parser = Parser(prog="pyvars get", allow_abbrev=False)
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
    except BrokenPipeError:  # `| head` has ended; the flush at exit must not raise the same error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, HTTPException, ValueError, LookupError) as error:
        place = options.url.rpartition("@")[2]  # without a password
        return failed(f"{place}: {getattr(error, 'reason', error)}")
    return 0
