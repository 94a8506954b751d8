"""A program that serves no HTTP. A side port shows its variables:

python -m pyvars --port 6060 examples/worker.py 30
pyvars get localhost:6060 jobs last_job
"""

import sys
import time

from pyvars import Int, String, publish

jobs = publish("jobs", Int(), help="Jobs done")
last_job = publish("last_job", String(), help="What was done last")


def main(seconds: float = 30.0) -> None:
    """Work for some seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.01)
        jobs.add()
        last_job.set(f"job {jobs.value}")
    print(f"{jobs.value} jobs done")


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
