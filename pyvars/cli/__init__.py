"""The command line: `pyvars`, or `python -m pyvars`. One file a command, which is imported when it is asked for.

run       an unchanged program with a side port
get       a page of a running program
reader    the page at a URL, and lines for a terminal of it
usage     the help, and what is printed when something went wrong
"""

import sys
from collections.abc import Sequence
from importlib import import_module

__all__ = ("main",)

COMMANDS = {"get": "pyvars.cli.get"}
"""The word that comes first, and the module whose `main` it is. Without such a word a program is run."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, `sys.argv` by default; the exit status comes back. A program's own exit is not caught."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = COMMANDS.get(given[0]) if given else None
    if command is None:
        command = "pyvars.cli.run"
    else:
        del given[0]
    status: int = import_module(command).main(given)
    return status
