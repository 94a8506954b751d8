"""Put the data files of coverage together: `python -m tests.combine`.

Tests kill programs at any moment, so some of these files are empty or incomplete; these are left out.
"""

import sqlite3
from pathlib import Path

from coverage import CoverageData
from coverage.exceptions import CoverageException


def main() -> None:
    whole, left_out = CoverageData(), 0
    paths = sorted(Path().glob(".coverage.*"))
    for path in paths:
        part = CoverageData(str(path))
        try:
            part.read()
            whole.update(part)
        except (CoverageException, sqlite3.Error):
            left_out += 1
        part.close()
        path.unlink()
    print(f"data of {len(paths) - left_out} processes; of {left_out} that were killed there is none")


if __name__ == "__main__":
    main()
