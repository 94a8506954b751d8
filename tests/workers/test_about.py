"""A process without the variables of its workers shows them to Prometheus as the workers do."""

from tests.programs import output

PROGRAM = """
import os, sys, urllib.request
import pyvars
from pyvars import Float, Histogram, Int, Map, Registry, publish

def variables():
    publish("orders", Int(), help="Orders accepted").add(2)
    publish("weight", Float(), unit="kilograms").add(1.5)
    publish("states", Map(label="state"), help="By state").add("paid")
    publish("plain", Map()).add("a")
    routes = publish("took", Map(label="route"), unit="seconds")
    routes.set("/a", Histogram(bounds=(1, 2)))
    routes.var("/a").observe(1.5)
    parts = publish("parts", Map())
    parts.set("by_method", Map(label="method"))
    parts.var("by_method").add("GET")
    database = publish("database", Registry(), help="The database")
    database.publish("queries", Int(), help="Queries sent", unit="queries").add(3)

server = pyvars.serve(0)
if sys.argv[1] == "own":
    variables()
else:
    counted, told = os.pipe()
    go_on, end = os.pipe()
    if os.fork() == 0:
        os.close(end)
        variables()
        os.write(told, b".")
        os.read(go_on, 1)
        os._exit(0)
    os.close(go_on)
    os.read(counted, 1)
names = ("orders", "weight", "states", "plain", "took", "parts", "database")
with urllib.request.urlopen(server.url + "/metrics?" + "&".join(f"name={name}" for name in names)) as answer:
    print(answer.read().decode())
"""


def test_it_asks_them_for_labels_helps_and_units() -> None:
    own = output(PROGRAM, "own")
    assert 'took_seconds_bucket{le="2.0",route="/a"} 1' in own
    assert output(PROGRAM, "others") == own


def test_it_asks_again_for_what_is_new_and_whom_it_did_not_reach() -> None:
    code = """
import os, signal, time, urllib.request
import pyvars
from pyvars import Int, publish

server = pyvars.serve(0)
counted, told = os.pipe()
pid = os.fork()
if pid == 0:
    publish("first", Int(), help="The first")
    os.kill(os.getpid(), signal.SIGSTOP)
    publish("second", Int(), help="The second")
    time.sleep(60)
    os._exit(0)

def told(name):
    with urllib.request.urlopen(server.url + "/metrics") as answer:
        return f"The {name}" in answer.read().decode()

os.waitpid(pid, os.WUNTRACED)
print(told("first"))
os.kill(pid, signal.SIGCONT)
until = time.monotonic() + 30
while not (told("first") and told("second")):
    assert time.monotonic() < until
    time.sleep(0.1)
os.kill(pid, signal.SIGKILL)
"""
    assert output(code) == "False\n"
