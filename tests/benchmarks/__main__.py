"""Runs the scripts named on the command line, or all, and prints their tables."""

import os
import platform
import subprocess
import sys

SCRIPTS = (
    "speed",
    "page",
    "workers",
    "middleware",
    "security",
    "refusals",
    "beside",
    "busy",
    "footprint",
    "history",
    "profiles",
    "forks",
)


def main(names):
    unknown = set(names) - set(SCRIPTS)
    if unknown:
        sys.exit(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(SCRIPTS)}")
    print(f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} CPUs.")
    print("A ratio is the median of the ratios of all rounds, its spread their 10th to 90th percentile.", flush=True)
    for name in names or SCRIPTS:
        # A process for each, since the imports of one script would be on the heap that the next one measures.
        subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}"], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
