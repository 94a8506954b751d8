"""`python -m pyvars`."""

import sys

from pyvars.cli import main

__all__ = ()

if __name__ == "__main__":
    sys.exit(main())
