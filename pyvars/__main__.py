"""`python -m pyvars`."""

import sys

from pyvars.cli import main

__all__ = ()

sys.exit(main())
