"""The command line: `pyvars`, or `python -m pyvars`. Each command is one file, which is imported only when it runs.

run       runs an unchanged program with a side port
children  shares variables with the processes that the program starts through multiprocessing
counting  counts the requests of the program
reloaders finds children of reloaders, which the side port does not cover
get       prints the figures of a running program
history   prints its figures of the last minutes and hours, of a URL or a file
workers   prints the table of its worker processes
reader    fetches the page at a URL, and prints the lines of a command
figures   the figures of a page with their units, as text for a terminal
usage     the help text and the error lines
"""

import sys
from collections.abc import Sequence
from importlib import import_module

__all__ = ("main",)

COMMANDS = {"get": "pyvars.cli.get", "history": "pyvars.cli.history", "workers": "pyvars.cli.workers"}
"""The first argument, and the module whose `main` it runs. Any other first argument runs a program."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, `sys.argv` by default. Returns the exit status; SystemExit of the program is not caught."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = COMMANDS.get(given[0]) if given else None
    if command is None:
        command = "pyvars.cli.run"
    else:
        del given[0]
    status: int = import_module(command).main(given)
    return status
