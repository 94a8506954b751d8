"""`?worker=all`: each live worker is in the first answer, also if there are many, and if they were late before."""

import json
import os
import signal

from tests.conftest import until
from tests.programs import output
from tests.workers.test_several import Deployment, deployed, deployment

__all__ = ("deployment",)

WORKERS = 50

# A request has a minute here: a machine with other work may not let all of them run within 200 ms.
PROGRAM = f"""
import json, os, sys
import pyvars
from pyvars.access import request
request.DEADLINE_SECONDS = 60
from pyvars import wsgi
for number in range(100):
    pyvars.publish(f"counter_{{number}}", pyvars.Int(number))
application = wsgi.DebugApp()
ended, alive = os.pipe()
joined, tell = os.pipe()
for _ in range({WORKERS} - 1):
    if os.fork() == 0:
        os.close(alive)
        os.write(tell, b".")
        os.read(ended, 1)
        os._exit(0)
for _ in range({WORKERS} - 1):
    os.read(joined, 1)
environ = dict(REQUEST_METHOD="GET", PATH_INFO="/vars", QUERY_STRING="worker=all", REMOTE_ADDR="127.0.0.1",
               HTTP_HOST="localhost", SERVER_PROTOCOL="HTTP/1.1")
sys.stdout.buffer.write(b"".join(application(environ, lambda *_: None)))
"""


def test_all_workers_are_in_the_first_answer() -> None:
    # A peer on a busy machine may be too late even to read the question: then another program is tried.
    pages = until(lambda: json.loads(output(PROGRAM)), lambda pages: {"error": "timeout"} not in pages.values())
    assert len(pages) == WORKERS
    assert [pid for pid, page in pages.items() if "counter_99" not in page] == []
    assert {page["pyvars.workers"]["live"] for page in pages.values()} == {WORKERS}


def test_a_worker_that_owes_an_answer_is_asked_once_it_has_given_it() -> None:
    with deployed(PATIENCE="60") as deployment:
        stopped = deployment.pids[1]
        os.kill(stopped, signal.SIGSTOP)
        deployment.raw(0, "/debug/vars/orders")  # asks it for its figures, in vain
        os.kill(stopped, signal.SIGCONT)
        pages = deployment.read(0, "/debug/vars?worker=all&name=only")
        assert pages[str(stopped)] == {"only_2": 2}


def test_a_question_for_one_worker_forgets_no_stopped_one(deployment: Deployment) -> None:
    os.kill(deployment.pids[1], signal.SIGSTOP)
    deployment.raw(0)
    for _ in range(2):
        pages = until(
            lambda: deployment.read(0, "/debug/vars?worker=all&name=only"),
            lambda pages: pages[str(deployment.pids[0])] == {"only_1": 1},
        )
        assert pages[str(deployment.pids[1])] == {"error": "timeout"}
        assert deployment.whole(0, f"?worker={deployment.pids[2]}&name=only") == {"only_3": 3}
    os.kill(deployment.pids[1], signal.SIGCONT)
    assert deployment.whole(0, f"?worker={deployment.pids[1]}&name=only") == {"only_2": 2}


def test_many_variables_that_only_a_peer_has_are_sorted_among_the_others() -> None:
    """So is `pyvars.errors`, which comes before all of them here."""
    page = json.loads(
        output("""
import json, os, sys
import pyvars
from pyvars import wsgi
pyvars.publish("q500", pyvars.Int(1))
pyvars.publish("z", lambda: set())
application = wsgi.DebugApp()
ended, alive = os.pipe()
joined, tell = os.pipe()
if os.fork() == 0:
    os.close(alive)
    for number in range(150):
        pyvars.publish(f"q{number:03}", pyvars.Int(number))
    os.write(tell, b".")
    os.read(ended, 1)
    os._exit(0)
os.read(joined, 1)
import logging
logging.disable()
environ = dict(REQUEST_METHOD="GET", PATH_INFO="/vars", QUERY_STRING="name=q&name=z&name=pyvars.e",
               REMOTE_ADDR="127.0.0.1", HTTP_HOST="localhost", SERVER_PROTOCOL="HTTP/1.1")
sys.stdout.buffer.write(b"".join(application(environ, lambda *_: None)))
""")
    )
    numbers = {f"q{number:03}": number for number in range(150)}
    assert list(page) == ["pyvars.errors", *numbers, "q500", "z"]
    assert page == {**numbers, "pyvars.errors": page["pyvars.errors"], "q500": 1, "z": None}
