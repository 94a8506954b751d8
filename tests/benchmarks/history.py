"""What the history costs: CPU of a sample, in the process that makes them, and bytes of its file.

Each process is one of its own that rests: it has its numbers, and nobody asks for a page. The CPU is that of the whole
process, once with the history and once without it, each over the same time: so what its other threads take is left out.
"""

import os
import subprocess
import sys
from tempfile import TemporaryDirectory

from tests.programs import ROOT

from .table import FOOTPRINT, print_table, verdict

SECONDS = float(os.environ.get("PYVARS_HISTORY_SECONDS", "30"))
"""How long each is measured."""

CODE = """
import os, resource, sys, time, pyvars
from pyvars.access.request import Request, deadline
from pyvars.site.default import debug
for number in range(int(sys.argv[1])): pyvars.publish(f"a_number_of_the_program_{number:04}", pyvars.Int(number))
site = debug(None, None, prefix="/debug")
request = Request("GET", "/debug/vars", "", None, "", (("host", "localhost"),), "127.0.0.1", "1.1", deadline())
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
children = []
for _ in range(int(sys.argv[2]) - 1):
    if (pid := os.fork()) == 0:
        time.sleep(float(sys.argv[3]) + 60)
        os._exit(0)
    children.append(pid)
time.sleep(1)
site.respond(request)  # with which the history begins
time.sleep(4)
begun = cpu()
time.sleep(float(sys.argv[3]))
print(cpu() - begun)
for pid in children: os.kill(pid, 9)
path = f"{os.environ['PYVARS_SHARE']}/h-default"
if os.path.exists(path):
    status = os.stat(path)
    from pyvars.core.own_file import OwnFile
    from pyvars.history.ring import RingReader
    print(status.st_blocks * 512, len(RingReader(OwnFile.open(path, os.O_RDONLY)).columns))
"""


def measure(numbers, workers, *, history):
    """The CPU seconds in a second, and of the file its bytes and series."""
    with TemporaryDirectory(dir="/dev/shm") as directory:
        environment = {**os.environ, "PYVARS_SHARE": f"{directory}/shared", "PYVARS_HISTORY": "" if history else "off"}
        command = [sys.executable, "-c", CODE, str(numbers), str(workers), str(SECONDS)]
        done = subprocess.run(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    first, *rest = done.stdout.split()
    return float(first) / SECONDS, [int(each) for each in rest]


def main():
    rows = []
    for numbers, workers, most in ((100, 1, 1.0), (1000, 4, 6.0)):
        without, _ = measure(numbers, workers, history=False)
        with_history, (size, series) = measure(numbers, workers, history=True)
        cost = (with_history - without) * 1000
        by_hundred = size / series * 100 / 1e6
        about = f"{numbers} numbers, {workers} worker{'s' * (workers > 1)}"
        rows.append((f"CPU of a sample: {about}", f"{cost:.2f} ms", *verdict(cost, at_most=most)))
        told = f"the file: {about}, {series} series kept"
        rows.append((f"{told}, for 100", f"{by_hundred:.2f} MB", *verdict(by_hundred, at_most=1.4)))
    print_table(f"The history, over {SECONDS:g} s", FOOTPRINT, rows)


if __name__ == "__main__":
    main()
