"""Every example runs and shows what it says."""

import ast
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # of datasette

from tests.conftest import strict, until
from tests.programs import ROOT, output
from tests.services import Client, fetch, free_port, port_in, service

SERVERS = ("gunicorn", "uvicorn")
EXAMPLES = {path.stem for path in (ROOT / "examples").glob("*.py")} - {"__init__"}
CLIENTS = ROOT / "examples" / "clients"


@pytest.fixture
def shop() -> Iterator[tuple[int, int]]:
    """The demo on free ports: yields the port of the service, and the port of the same service for WSGI."""
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "examples.shop", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        first = process.stdout.readline()
        asgi, wsgi = (port_in(part) for part in first.split("twin"))
        for line in process.stdout:
            if line.startswith("Ctrl-C"):
                break
        fetch(asgi)  # it handles SIGINT only after it has begun to serve
        yield asgi, wsgi
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_the_shop(shop: tuple[int, int]) -> None:
    asgi, _ = shop
    for port in shop:
        client = Client(port)
        assert json.loads(client.ask("/orders", "POST", b"amount=9.90").body)["state"] == "accepted"
        assert json.loads(client.ask("/orders", "POST", b"amount=-1").body)["state"] == "refused"
        assert client.ask("/nothing").status == 404
        client.close()
    client = Client(asgi)
    assert json.loads(client.ask("/shipments", "POST", b"").body) == {"open": 1}
    client.close()
    for port in shop:
        # On a busy machine a function may be late, and the end of a request.
        page = until(
            lambda port=port: strict(fetch(port).body),
            lambda page: page["stock"] is not None and page["http"]["requests"] == 7,
        )
        assert page["orders"] == 2
        assert float(page["revenue_eur"]) == 19.8
        assert page["orders_by_state"] == {"accepted": 2, "refused": 2, "shipped": 1}
        assert page["orders_open"] == 1
        assert page["stock"] == {"apple": 40, "pear": 12}
        assert page["memstats"]["HeapAlloc"] > 0
        assert page["asyncio"]["loops"] == 1
        assert page["http"]["by_status"] == {"2xx": 5, "4xx": 2}  # of both services
        assert page["http"]["by_route"]["/orders"] >= 2
        assert page["http"]["seconds"]["count"] == page["http"]["requests"] == 7


def docstring(name: str) -> str:
    """The docstring of an example. Reads the source, since an import would publish variables here."""
    return ast.get_docstring(ast.parse((ROOT / f"{name.replace('.', '/')}.py").read_text())) or ""


def test_the_busy_shop() -> None:
    """What `make run` starts, examples.big_shop with customers: its first line is where to look, with much to see."""
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "examples.busy_shop", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout
        try:
            first = process.stdout.readline()
            assert first.startswith("Look at http://127.0.0.1:")
            assert first.endswith("/debug/\n")
            port, until = port_in(first), time.monotonic() + 60
            while True:
                try:
                    page, workers = strict(fetch(port).body), strict(fetch(port, "/debug/workers").body)
                    if (
                        workers["live"] == 4
                        and page.get("orders", 0)
                        and page["http"]["by_route"].get("/search/{word}", 0)
                    ):
                        break
                except OSError:
                    pass  # no worker has started yet
                assert time.monotonic() < until
                time.sleep(0.05)
        finally:
            os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
        assert process.wait(30) == 0
        assert "Traceback" not in process.stdout.read()


def test_memory() -> None:
    """malloc keeps freed memory: RSS stays, HeapAlloc falls, HeapIdle rises."""
    code = """
import examples.memory as memory
from pyvars.runtime.reading import expire
show = memory.show
memory.show = lambda moment: (expire(), show(moment))  # a reading that had to wait for its CPU is used for longer
memory.main()
"""
    lines = output(code).splitlines()
    table = {line[:16].strip(): [int(figure) for figure in line[16:].split()] for line in lines[1:]}
    (used_rss, used, _), (freed_rss, freed, idle) = table["300 MB in use"], table["freed"]
    assert freed_rss == pytest.approx(used_rss, rel=0.05)
    assert used - freed == pytest.approx(300, rel=0.1)
    assert idle == pytest.approx(300, rel=0.1)
    shown = [line[4:] for line in docstring("examples.memory").splitlines() if re.match(r"    \S", line)][1:]
    assert shown[0] == lines[0]
    assert [line[:16] for line in shown] == [line[:16] for line in lines]


def test_worker() -> None:
    port = free_port()
    with service("pyvars", "--port", str(port), "examples/worker.py", "60", ready=port):
        # The side port serves before the program runs.
        names = "/debug/vars?name=jobs&name=last_job"
        page = until(lambda: strict(fetch(port, names).body), lambda page: page.get("jobs"))
        assert page["last_job"] in (f"job {page['jobs']}", f"job {page['jobs'] - 1}", "")
    assert "jobs done" in output("from examples.worker import main; main(0.05)")


@pytest.mark.parametrize("server", SERVERS)
def test_workers(server: str) -> None:
    """Starts the example with the command in its docstring, on a free port."""
    (command,) = (line for line in docstring("examples.workers").splitlines() if f"{server} --workers" in line)
    port = free_port()
    address = {"gunicorn": ("--bind", f"127.0.0.1:{port}"), "uvicorn": ("--port", str(port))}[server]
    with service(*command.split(), *address, ready=port):
        until(lambda: strict(fetch(port, "/debug/workers").body)["live"], lambda live: live == 4)
        assert all(fetch(port, "/").body.startswith(b"accepted by worker") for _ in range(20))
        whole, end = 0, time.monotonic() + 60
        while whole < 10:
            assert time.monotonic() < end
            page = strict(fetch(port).body)
            assert page["orders"] == page["orders_by_state"]["accepted"] == 20
            assert page["orders_in_flight"] == 0
            if page["connections"] == 20:
                whole += 1
            elif whole or "pyvars.errors" in page:  # a worker that has just started may not have published it yet
                # On a busy machine a worker may not call its function in time; then `pyvars.errors` is on the page.
                assert page["pyvars.errors"]["connections"]["type"] == "timeout"
        pages = until(
            lambda: strict(fetch(port, "/debug/vars?worker=all&name=orders").body),
            lambda pages: all("orders" in page for page in pages.values()),
        )
        assert sum(each["orders"] for each in pages.values()) == 20


def test_each_example_has_a_test() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.rglob("test_*.py"))
    for name in EXAMPLES:
        assert f"examples.{name}" in tests or f"examples/{name}" in tests, name


def of_collectd(text: str) -> list[str]:
    """The keys of curl_json; collectd itself reads the file in tests/formats/test_clients.py."""
    lines = [line.strip() for line in text.splitlines() if line and not line.startswith("#")]
    assert sum(line.startswith("</") for line in lines) * 2 == sum(line.startswith("<") for line in lines)
    return re.findall(r'<Key "(.*)">', text)


def of_zabbix(text: str) -> list[str]:
    """The names of variables and figures."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"Alias=[a-z.]+:web\.page\.\w+\[.+\]", line) for line in lines)
    found = [re.search(r'debug/vars/(\w+),6060,"(?:\\"(\w+))?', line) for line in lines]
    return ["/".join(filter(None, match.groups())) for match in found if match]


def of_expvarmon(text: str) -> list[str]:
    """The variables that the script passes to expvarmon."""
    instead = text.replace("exec expvarmon", "printf '%s\\n'")
    printed = subprocess.run(["sh"], input=instead, capture_output=True, text=True, check=True).stdout
    names = re.sub(r"\b(mem|duration|str):", "", printed.partition("-vars=")[2].strip()).split(",")
    return [re.sub(r"(?<!\\)\.", "/", name).replace("\\", "") for name in names]


def of_netdata(text: str) -> list[str]:
    (job,) = yaml.safe_load(text).values()
    return [line["expvar_key"].replace(".", "/") for chart in job["extra_charts"] for line in chart["lines"]]


def of_telegraf(text: str) -> list[str]:
    (http,) = tomllib.loads(text)["inputs"]["http"]
    return re.findall(r"name=(\w+)", http["urls"][0])


def of_opentelemetry(text: str) -> list[str]:
    config = yaml.safe_load(text)
    assert config["service"]["pipelines"]["metrics"]["receivers"] == list(config["receivers"])
    words = [name.rpartition(".")[2].split("_") for name in config["receivers"]["expvar"]["metrics"]]
    return ["memstats/" + "".join(word.capitalize() for word in each) for each in words]


FIGURES: dict[str, Callable[[str], list[str]]] = {
    "README.md": lambda text: [],
    "collectd.conf": of_collectd,
    "datadog.yaml": lambda text: [each["path"] for each in yaml.safe_load(text)["instances"][0]["metrics"]],
    "expvarmon.sh": of_expvarmon,
    "kibana.md": lambda text: [f"memstats/{name}" for name in re.findall(r"\| `([A-Z]\w+)` \|", text)],
    "metricbeat.yml": lambda text: [
        name.removeprefix("golang.shop.").replace(".", "/")
        for name in yaml.safe_load(text)[0]["processors"][0]["drop_fields"]["fields"]
    ],
    "netdata.conf": of_netdata,
    "opentelemetry-collector.yaml": of_opentelemetry,
    "telegraf.conf": of_telegraf,
    "zabbix_agent2.conf": of_zabbix,
}
"""For each configuration, the function that finds its figures, with the parser of its format if there is one."""


def on_page(page: Any, path: str) -> bool:
    """Whether the page has the figure. A part of the path is a name, a star or a regular expression."""
    part, _, rest = path.partition("/")
    if not part:
        return True
    if not isinstance(page, dict):
        return False
    return any(on_page(page[key], rest) for key in page if part in (key, "*") or re.fullmatch(part.lstrip("*"), key))


def test_configurations_name_figures_of_the_page(shop: tuple[int, int]) -> None:
    assert {path.name for path in CLIENTS.iterdir()} == set(FIGURES)
    client = Client(shop[0])
    client.ask("/orders", "POST", b"amount=-1")
    client.close()
    page = strict(fetch(shop[0]).body)
    capitals = {name.upper(): name for name in page["memstats"]}
    for name, figures in FIGURES.items():
        found = figures((CLIENTS / name).read_text())
        assert found or name == "README.md"
        for path in found:
            if path.startswith("memstats/"):  # the Collector writes num_gc
                path = f"memstats/{capitals[path.partition('/')[2].upper()]}"
            assert on_page(page, path), f"{name}: {path}"


def test_the_table_of_clients_has_each() -> None:
    table = (CLIENTS / "README.md").read_text()
    assert set(re.findall(r"\]\(([^)]+)\) \|", table)) == set(FIGURES) - {"README.md"}
