"""Debian's Prometheus, promtool and Alertmanager, with the examples of this project."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.formats.prometheus_program import HOSTILE
from tests.programs import ROOT
from tests.services import fetch, free_port, service
from tests.tools import tool

# One process makes what all tests here share.
pytestmark = pytest.mark.xdist_group("prometheus")

EXAMPLES = ROOT / "examples" / "prometheus"
RATE = 40.0
WINDOW = 8


def eventually(what: str, check: Callable[[], Any], seconds: float = 60) -> Any:
    """What `check` finds, once that is true; a refused connection is not yet."""
    until = time.monotonic() + seconds
    found: Any = None
    while time.monotonic() < until:
        try:
            found = check()
        except (OSError, urllib.error.URLError):
            found = None
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"never: {what}, but {found!r}")


def read(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.loads(answer.read())


def promtool(*arguments: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    command = [tool("promtool"), *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False)


@contextmanager
def running(log: Path, *command: str) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("ab") as output, subprocess.Popen(command, stdout=output, stderr=output, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


class Monitoring:
    """A Prometheus that scrapes a program and a service of four workers each second, and an Alertmanager."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        names = ("target", "service", "prometheus", "alertmanager", "receiver")
        self.ports = {name: free_port() for name in names}
        self.target: subprocess.Popen[bytes] | None = None
        self.start_target()
        self._start_alertmanager()
        self._start_prometheus()

    def start_target(self) -> None:
        arguments = (str(self.ports["target"]), str(RATE))
        command = (sys.executable, "-m", "tests.formats.prometheus_program", *arguments)
        self.target = self.stack.enter_context(running(self.folder / "target.log", *command))

    def _start_alertmanager(self) -> None:
        text = (
            (EXAMPLES / "alertmanager.yml").read_text().replace("localhost:8008", f"localhost:{self.ports['receiver']}")
        )
        config = self.folder / "alertmanager.yml"
        config.write_text(text)
        command = (
            tool("alertmanager"),
            *(f"--config.file={config}", f"--storage.path={self.folder / 'alertmanager'}"),
            *(f"--web.listen-address=127.0.0.1:{self.ports['alertmanager']}", "--cluster.listen-address="),
        )
        self.stack.enter_context(running(self.folder / "alertmanager.log", *command))

    def _start_prometheus(self) -> None:
        """The example with other ports, a scrape each second, and alerts without delay."""
        config = (EXAMPLES / "prometheus.yml").read_text().replace("15s", "1s")
        config = config.replace("localhost:6060", f"localhost:{self.ports['target']}")
        config = config.replace("localhost:9093", f"localhost:{self.ports['alertmanager']}")
        config += "  - job_name: service\n    metrics_path: /debug/metrics\n    static_configs:\n"
        config += f'      - targets: ["localhost:{self.ports["service"]}"]\n'
        (self.folder / "prometheus.yml").write_text(config)
        rules = re.sub(r"for: \w+", "for: 0s", (EXAMPLES / "rules.yml").read_text())
        (self.folder / "rules.yml").write_text(rules)
        command = (
            tool("prometheus"),
            f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.ports['prometheus']}",
        )
        self.stack.enter_context(running(self.folder / "prometheus.log", *command))

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        parameters = urllib.parse.urlencode({"query": expression})
        answer = read(f"http://127.0.0.1:{self.ports['prometheus']}/api/v1/query?{parameters}")
        assert answer["status"] == "success"
        return [(each["metric"], float(each["value"][1])) for each in answer["data"]["result"]]

    def value(self, expression: str) -> float | None:
        found = self.query(expression)
        assert len(found) <= 1, found
        return found[0][1] if found else None


@pytest.fixture(scope="module")
def monitoring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitoring]:
    for name in ("prometheus", "alertmanager"):
        tool(name)
    with ExitStack() as stack:
        found = Monitoring(tmp_path_factory.mktemp("prometheus"), stack)
        port = found.ports["service"]
        command = (
            "uvicorn",
            "--workers",
            "4",
            "--port",
            str(port),
            "--log-level",
            "critical",
            "tests.formats.metrics_app:app",
        )
        stack.enter_context(service(*command, ready=port))
        yield found


def test_the_targets_are_up(monitoring: Monitoring) -> None:
    """In the format that Prometheus prefers, with all series, also with special characters in labels."""
    eventually("both are up", lambda: [value for _, value in monitoring.query("up")] == [1, 1])
    eventually("the labels", lambda: len(monitoring.query("hostile_total")) == len(HOSTILE))
    shown = {labels["text"] for labels, _ in monitoring.query("hostile_total")}
    assert shown == {key.replace("\udc80", "\ufffd") for key in HOSTILE}
    eventually("a large number", lambda: monitoring.value("large") == 2**53)
    url = f"http://127.0.0.1:{monitoring.ports['prometheus']}/api/v1/targets"
    # A scrape has a second; on a busy machine one may be late.
    eventually("no errors", lambda: [each["lastError"] for each in read(url)["data"]["activeTargets"]] == ["", ""])
    metadata = read(f"http://127.0.0.1:{monitoring.ports['prometheus']}/api/v1/metadata")["data"]
    assert metadata["checkout_seconds"][0]["type"] == "histogram"
    assert metadata["checkout_seconds"][0]["unit"] == "seconds"  # it was OpenMetrics
    assert {metadata[name][0]["type"] for name in ("orders_total", "orders") if name in metadata} == {"counter"}


def test_the_rate_is_that_of_the_load(monitoring: Monitoring) -> None:
    # rate() extrapolates to the ends of the window, but not to a time before the series began.
    older = f"count_over_time(orders_total[{3 * WINDOW}s])"
    eventually("more than a window of scrapes", lambda: (monitoring.value(older) or 0) > WINDOW + 2)

    def becomes(expression: str, expected: object) -> None:
        """In a window in which a busy machine let no scrape wait."""
        eventually(f"{expression} of {expected}", lambda: monitoring.value(expression) == expected)

    becomes(f"rate(orders_total[{WINDOW}s])", pytest.approx(RATE, rel=0.1))
    becomes(f"rate(checkout_seconds_count[{WINDOW}s])", pytest.approx(RATE, rel=0.1))
    mean = f"rate(checkout_seconds_sum[{WINDOW}s]) / rate(checkout_seconds_count[{WINDOW}s])"
    becomes(mean, pytest.approx(0.3 * 0.9 + 3 * 0.1, rel=0.1))
    median = f"histogram_quantile(0.5, rate(checkout_seconds_bucket[{WINDOW}s]))"
    eventually("the bucket that holds 0.3", lambda: 0.25 < (monitoring.value(median) or 0) <= 0.5)
    slowest = f"histogram_quantile(0.99, rate(checkout_seconds_bucket[{WINDOW}s]))"
    eventually("the bucket that holds 3", lambda: 2 < (monitoring.value(slowest) or 0) <= 4)
    assert monitoring.value(f"resets(orders_total[{WINDOW}s])") == 0


def test_an_alert_reaches_the_alertmanager(monitoring: Monitoring) -> None:
    """A quarter of the requests fail, and a function raises."""
    url = f"http://127.0.0.1:{monitoring.ports['alertmanager']}/api/v2/alerts"

    def alerts() -> dict[str, Any]:
        return {each["labels"]["alertname"]: each for each in read(url)}

    def firing() -> dict[str, Any]:
        """The alerts, without the one of a scrape that was late."""
        found = alerts()
        return found if {"HttpErrorRatio", "VariablesLeftOut"} <= found.keys() and "TargetDown" not in found else {}

    found = eventually("the alerts", firing)
    assert found["HttpErrorRatio"]["labels"]["job"] == "shop"
    summary = found["HttpErrorRatio"]["annotations"]["summary"]
    assert re.fullmatch(r"shop: 2\d(\.\d+)?% of the requests fail", summary)
    assert found["VariablesLeftOut"]["labels"]["variable"] == "broken"
    assert found["VariablesLeftOut"]["annotations"]["summary"].endswith("broken is missing: ZeroDivisionError")
    ratio = pytest.approx(0.25, rel=0.2)
    eventually("the ratio", lambda: monitoring.value("job:http_errors:ratio_rate5m") == ratio)


def test_the_dashboard_shows_something(monitoring: Monitoring) -> None:
    """Prometheus has every name in the dashboard and in the rules."""
    eventually("rates", lambda: monitoring.value("job:http_requests:rate5m"))
    for expression in expressions():
        for name in set(re.findall(r"\b(?:http|process|python|pyvars)_\w+", expression)):
            eventually(name, lambda name=name: monitoring.query(name))
        if "> 0" not in expression.replace("> 0)", ""):
            eventually(expression, lambda expression=expression: monitoring.query(expression))


def test_a_worker_that_is_killed_resets_no_counter(monitoring: Monitoring) -> None:
    port = monitoring.ports["service"]
    for _ in range(20):
        assert fetch(port, "/work?n=1").status == 200
    eventually("all of them", lambda: monitoring.value("requests_total") == 20)
    pids = [each["pid"] for each in read(f"http://localhost:{port}/debug/workers")["workers"]]
    os.kill(pids[0], signal.SIGKILL)
    eventually("it is gone", lambda: monitoring.value("pyvars_workers_retired_total{job='service'}") == 1)
    eventually("one more scrape", lambda: fetch(port, "/work?n=1").status == 200)
    eventually("one more request", lambda: monitoring.value("requests_total") == 21)
    assert monitoring.value("resets(requests_total[1m])") == 0
    assert monitoring.value("resets(process_cpu_seconds_total{job='service'}[1m])") == 0
    gone = f'busy{{worker="{pids[0]}"}}'
    eventually("its level has gone", lambda: not monitoring.query(gone))


def test_a_restart_is_a_reset(monitoring: Monitoring) -> None:
    before = eventually("orders", lambda: monitoring.value("orders_total"))
    assert monitoring.target is not None
    monitoring.target.kill()
    monitoring.target.wait(20)
    down = "up{job='shop'}"
    eventually("it is down", lambda: monitoring.value(down) == 0)
    assert not monitoring.query("orders_total")  # a series ends with its target
    monitoring.start_target()
    eventually("the reset", lambda: monitoring.value("resets(orders_total[1m])") == 1)
    assert eventually("orders again", lambda: monitoring.value("orders_total")) < before
    started = "changes(process_start_time_seconds{job='shop'}[1m])"
    eventually("another start", lambda: monitoring.value(started) == 1)
    increase = eventually("more orders", lambda: monitoring.value("increase(orders_total[1m])"))
    assert increase >= 0


def test_promtool_has_nothing_to_say_of_the_page(monitoring: Monitoring) -> None:
    """promtool has no warnings: each metric has a help text, base units, and the suffix of its kind."""
    eventually("it is up again", lambda: monitoring.value("up{job='shop'}") == 1)
    page = fetch(monitoring.ports["target"], "/metrics").body
    assert b"\norders_total " in page
    checked = promtool("check", "metrics", stdin=page)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EXAMPLES / "dashboard.json").read_text())
    return found


def expressions() -> list[str]:
    """The expressions of the dashboard, with values for its variables."""
    shown = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]
    values = {"$job": "shop", "$instance": ".*", "$__rate_interval": "1m"}
    return [re.sub(r"\$\w+", lambda match: values[match[0]], each) for each in shown]


def test_the_dashboard_is_one() -> None:
    found = dashboard()
    variables = {each["name"]: each for each in found["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    panels = found["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 15
    places = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert (place["x"], place["y"]) not in places
        places.add((place["x"], place["y"]))
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
            assert panel["targets"]
            assert all(target["legendFormat"] for target in panel["targets"])


def test_promtool_reads_the_examples(tmp_path: Path) -> None:
    checked = promtool("check", "rules", str(EXAMPLES / "rules.yml"))
    assert checked.returncode == 0, checked.stderr
    assert promtool("check", "config", str(EXAMPLES / "prometheus.yml")).returncode == 0
    rules = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(expressions())]
    assert len(rules) > 20
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))  # JSON is YAML
    checked = promtool("check", "rules", str(path))
    assert checked.returncode == 0, checked.stderr


def test_an_alertmanager_reads_the_example() -> None:
    checked = subprocess.run(
        [tool("amtool"), "check-config", str(EXAMPLES / "alertmanager.yml")], capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
