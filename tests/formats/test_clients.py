"""Debian's Netdata, collectd and Zabbix agent read a real page, with the configurations in examples/clients.

The page is that of the demo shop, with all hostile variables of `tests.formats.hostile`.
"""

import csv
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import strict
from tests.programs import ROOT
from tests.services import Client, fetch, free_port, port_in, service
from tests.tools import PATH, lacking, tool

# One process makes what all tests here share.
pytestmark = pytest.mark.xdist_group("clients")

EXAMPLES = ROOT / "examples" / "clients"
TIMEOUT_SECONDS = 60.0
"""Seconds that a tool has for its first figures."""


class Shop(NamedTuple):
    """The side port of the shop, after two orders of 9.90 EUR, one of which was shipped, and a refused one."""

    port: int

    def page(self) -> Any:
        return strict(fetch(self.port).body)

    def configuration(self, name: str) -> str:
        """The text of a configuration, with this port."""
        text = (EXAMPLES / name).read_text()
        assert "6060" in text
        return text.replace("6060", str(self.port))


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    port = free_port()
    with service("pyvars", "--port", str(port), "-m", "tests.formats.hostile", ready=port) as process:
        assert process.stdout
        line = process.stdout.readline()
        while "The shop is open" not in line:
            assert line, "the shop did not open"
            line = process.stdout.readline()
        threading.Thread(target=process.stdout.read, daemon=True).start()  # otherwise its log could fill the pipe
        client = Client(port_in(line))
        for amount in (b"9.90", b"9.90", b"-1"):
            client.ask("/orders", "POST", b"amount=" + amount)
        client.ask("/shipments", "POST", b"")
        client.close()
        yield Shop(port)


@contextmanager
def running(*command: str, errors: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Runs a tool in the foreground. It is killed at the end, or after the time limit."""
    with (
        errors.open("w") as stderr,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=errors.parent,
            env={"PATH": PATH, "HOME": str(errors.parent), **environment},
        ) as process,
    ):
        timer = threading.Timer(TIMEOUT_SECONDS, process.kill)
        timer.start()
        try:
            yield process
        finally:
            timer.cancel()
            process.kill()


def is_between(figure: float, *others: float) -> bool:
    """Whether a memory figure is between those read before and after it, with a tolerance: it changes all the time."""
    return 0.75 * min(others) <= figure <= 1.25 * max(others)


def test_netdata(shop: Shop, tmp_path: Path) -> None:
    plugin = Path(tool("netdata"))
    tool("go_expvar of netdata")
    for folder in ("python.d", "stock", "lib", "lock"):
        (tmp_path / folder).mkdir()
    (tmp_path / "python.d.conf").write_text("go_expvar: yes\n")
    (tmp_path / "python.d" / "go_expvar.conf").write_text(shop.configuration("netdata.conf"))
    environment = {
        "NETDATA_USER_CONFIG_DIR": str(tmp_path),
        "NETDATA_STOCK_CONFIG_DIR": str(tmp_path / "stock"),
        "NETDATA_LIB_DIR": str(tmp_path / "lib"),
        "NETDATA_LOCK_DIR": str(tmp_path / "lock"),
        "NETDATA_PLUGINS_DIR": str(plugin.parent),
        "PYTHONDONTWRITEBYTECODE": "1",  # write nothing into the directories of its modules
    }
    figures: dict[str, int] = {}
    charts: list[str] = []
    before = shop.page()
    errors = tmp_path / "errors"
    with running(str(plugin), "go_expvar", "debug", "1", "nolock", errors=errors, **environment) as process:
        assert process.stdout
        for line in process.stdout:
            if line.startswith("BEGIN netdata.runtime_go_expvar"):  # this line ends the figures of a round
                latest = shop.page()  # at once, since memory figures change
                break
            if found := re.match(r"SET '(\w+)' = (-?\d+)$", line):
                figures[found[1]] = int(found[2])
            elif line.startswith("CHART go_expvar_shop."):
                charts.append(line.split()[1])
    assert figures, errors.read_text()
    assert "go_expvar_shop.orders_open" in charts
    assert (figures["orders"], figures["refused"], figures["orders_open"]) == (2, 1, 1)
    assert figures["revenue"] == 1980  # hundredths
    memstats, process_ = latest["memstats"], latest["process"]
    for figure, name in {"heap_alloc": "HeapAlloc", "heap_inuse": "HeapInuse", "sys": "Sys"}.items():
        assert is_between(figures[f"memstats_{figure}"], before["memstats"][name], memstats[name])
    assert is_between(figures["memstats_live_objects"], before["memstats"]["HeapObjects"], memstats["HeapObjects"])
    assert (figures["memstats_mspan_inuse"], figures["memstats_mcache_inuse"]) == (0, 0)
    assert min(memstats["PauseNs"][: memstats["NumGC"]]) <= figures["memstats_gc_pauses"] <= max(memstats["PauseNs"])
    assert is_between(figures["rss"], before["process"]["rss_bytes"], process_["rss_bytes"])


COLLECTD = """
Hostname "here"
FQDNLookup false
Interval 1
BaseDir "{folder}"
PIDFile "{folder}/pid"
LoadPlugin csv
<Plugin csv>
  DataDir "{folder}/data"
  StoreRates false
</Plugin>
"""


def test_collectd(shop: Shop, tmp_path: Path) -> None:
    collectd = tool("collectd")
    configuration, errors = tmp_path / "collectd.conf", tmp_path / "errors"
    configuration.write_text(COLLECTD.format(folder=tmp_path) + shop.configuration("collectd.conf"))
    tested = subprocess.run(
        [collectd, "-t", "-C", str(configuration)], capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    said = tested.stdout + tested.stderr
    if "cannot open shared object file" in said:
        lacking("what curl_json of collectd needs", "libyajl2, libcurl3-gnutls")
    assert (tested.returncode, said) == (0, "")

    def series() -> dict[str, list[float]]:
        """The values written so far, by type and instance."""
        found = {}
        for path in tmp_path.glob("data/here/curl_json-shop/*"):
            with path.open() as rows:
                found[path.name[: -len("-2026-01-01")]] = [float(row["value"]) for row in csv.DictReader(rows)]
        return found

    first = shop.page()
    before = first["memstats"]
    with running(collectd, "-f", "-C", str(configuration), errors=errors) as process:
        until = time.monotonic() + TIMEOUT_SECONDS
        while len((figures := series()).get("derive-orders", ())) < 2 or len(figures) < 12:
            assert process.poll() is None, (figures, errors.read_text())
            assert time.monotonic() < until, (figures, errors.read_text())
            time.sleep(0.1)
    latest = {name: values[-1] for name, values in figures.items()}
    after = shop.page()["memstats"]
    assert latest["derive-orders"] == 2
    assert latest["derive-orders_by_state-accepted"] == 2
    assert latest["derive-orders_by_state-refused"] == latest["derive-orders_by_state-shipped"] == 1
    assert latest["gauge-orders_open"] == 1
    assert latest["gauge-revenue_eur"] == pytest.approx(19.8)
    assert latest["gauge-workers"] == 1
    assert is_between(latest["memory-heap_alloc"], before["HeapAlloc"], after["HeapAlloc"])
    assert latest["memory-heap_idle"] >= 0
    assert is_between(latest["memory-rss"], first["process"]["rss_bytes"], shop.page()["process"]["rss_bytes"])
    assert before["NumGC"] <= latest["derive-collections"] <= after["NumGC"]
    assert before["PauseTotalNs"] <= latest["derive-pause_ns"] <= after["PauseTotalNs"]


ZABBIX = """
LogType=console
Server=127.0.0.1
Hostname=here
ControlSocket={folder}/control
PluginSocket={folder}/plugin
"""


def test_zabbix(shop: Shop, tmp_path: Path) -> None:
    agent = tool("zabbix agent")
    configuration = tmp_path / "agent.conf"
    configuration.write_text(ZABBIX.format(folder=tmp_path) + shop.configuration("zabbix_agent2.conf"))

    def item(key: str) -> str:
        """The output of the agent for an item: `key   [s|text]`."""
        done = subprocess.run(
            [agent, "-c", str(configuration), "-t", key],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
            cwd=tmp_path,
        )
        found = re.fullmatch(rf"{re.escape(key)}\s+\[s\|(.*)\]\s*", done.stdout, re.DOTALL)
        assert found, done.stdout + done.stderr
        return found[1]

    before = shop.page()["memstats"]
    assert item("shop.orders") == "2"
    assert item("shop.revenue") == "19.8"
    assert item("shop.refused") == "1"
    heap, after = int(item("shop.heap")), shop.page()["memstats"]
    assert is_between(heap, before["HeapAlloc"], after["HeapAlloc"])
    assert before["NumGC"] <= int(item("shop.collections")) <= shop.page()["memstats"]["NumGC"]
    head, _, body = item("shop.page").replace("\r\n", "\n").partition("\n\n")
    assert head.startswith("HTTP/1.1 200 OK\n")
    page = strict(body.encode())  # without the lines of chunked encoding
    assert page["orders"] == 2
    assert len(page["memstats"]["PauseNs"]) == 256
