"""Runs Python programs as processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
DATA = ROOT / "tests" / "data"


# Coverage keeps an object for each thread that ever ran, so tests of memory run without it.
UNMEASURED = {"COVERAGE_PROCESS_CONFIG": "", "COVERAGE_PROCESS_START": ""}


def run(code: str, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `code` with this interpreter, with warnings as errors, and return its output."""
    variables = {name: value for name, value in {**os.environ, **environment}.items() if value}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=check,
        cwd=ROOT,
        timeout=100,
        env=variables,
    )


def output(code: str, *arguments: str, **environment: str) -> str:
    """The output of the program, which must print nothing to standard error."""
    done = run(code, *arguments, check=False, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
