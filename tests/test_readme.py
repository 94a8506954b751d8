"""Every block of the README runs, prints the output shown there, and is valid input for its program."""

import doctest
import http.client
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from dockerfile_parse import DockerfileParser

from tests.programs import ROOT, output
from tests.services import fetch, free_port, service
from tests.tools import tool

README = (ROOT / "README.md").read_text()
MAX_LINES = 300
TOKEN = "a-token-of-the-tests"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


class Command(NamedTuple):
    """A command of a console block, and its output: `...` matches any text, and so does an empty output."""

    line: str
    shown: str


def commands(block: str) -> list[Command]:
    assert block.startswith("$ ")
    parts = (part.partition("\n") for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:])
    return [Command(line, shown.strip()) for line, _, shown in parts]


FIRST, *OTHERS = (commands(block) for block in blocks("console"))


def shell(command: Command, ports: dict[str, int]) -> None:
    """Run the command with these ports instead of those in the README, and compare its output."""
    line = command.line
    for name, port in ports.items():
        line = line.replace(f"localhost:{name}", f"localhost:{port}").replace(f"--port {name}", "--port 0")
    if line.startswith("curl"):
        tool("curl")
        line = line.replace("curl", "curl --silent --show-error --fail", 1)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PATH": path},
    )
    assert done.returncode == 0, f"{line}: {done.stderr}"
    if command.shown:
        shown, printed = any_size(command.shown), any_size(done.stdout)
        matches = doctest.OutputChecker().check_output(shown, printed, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        assert matches, f"{line} printed\n{printed}instead of\n{shown}"


def any_size(text: str) -> str:
    """The text with each size replaced, since sizes differ between machines."""
    return re.sub(r"[\d.]+ [KMG]iB", "a size", text)


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= MAX_LINES


def test_its_links_lead_somewhere() -> None:
    anchors = {
        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    }
    for link in re.findall(r"\]\(([^)]+)\)", README):
        if link.startswith("#"):
            assert link[1:] in anchors, link
        else:
            assert (ROOT / link).exists(), link
    for name in re.findall(r"help\(\"?([\w.]+)\"?\)", README):
        assert output(f"import pydoc; print(bool(pydoc.locate({name!r}).__doc__))") == "True\n", name


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[int]:
    """The service of the first block, started with the command of the second."""
    (tmp_path / "shop.py").write_text(blocks("python")[0])
    port = free_port()
    start = FIRST[0].line.split()
    with service(*start, "--port", str(port), ready=port, PYTHONPATH=str(tmp_path)):
        yield port


def test_the_first_screen(shop: int) -> None:
    for command in FIRST[1:]:
        shell(command, {"8000": shop})


@pytest.mark.parametrize("code", blocks("python"))
def test_python_runs(code: str) -> None:
    output(code)


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, int]]:
    """Workers on the port that the README calls 8000, and a program with a side port on 6060."""
    (start,) = (command.line for block in OTHERS for command in block if command.line.startswith("gunicorn"))
    workers, side = free_port(), free_port()
    with service(*start.split(), "--bind", f"127.0.0.1:{workers}", ready=workers):
        with service("pyvars", "--port", str(side), "-m", "examples.shop", "0", ready=side):
            yield {"8000": workers, "6060": side}


@pytest.mark.xdist_group("README")
@pytest.mark.parametrize(
    "command",
    [command for block in OTHERS for command in block if not command.line.startswith("gunicorn")],
    ids=lambda command: command.line,
)
def test_commands_run(command: Command, ports: dict[str, int]) -> None:
    shell(command, ports)


def prometheus(config: str, tmp_path: Path) -> None:
    path = tmp_path / "prometheus.yml"
    path.write_text(config)
    subprocess.run([tool("promtool"), "check", "config", "--syntax-only", path], check=True, capture_output=True)


@pytest.mark.parametrize("text", blocks("yaml"))
def test_yaml_is_valid(text: str, tmp_path: Path) -> None:
    parsed = yaml.safe_load(text)
    if "scrape_configs" in parsed:
        prometheus(text, tmp_path)
    else:
        (container,) = parsed["containers"]
        assert {"name", "image", "env", "securityContext"} == set(container)
        assert [each["name"] for each in container["env"]] == ["PYVARS_TOKEN"]


def test_what_the_container_runs(tmp_path: Path) -> None:
    """The command of the Dockerfile, outside of a container: only clients with the token may read the page."""
    (text,) = blocks("dockerfile")
    image = DockerfileParser(fileobj=io.BytesIO(text.encode()))
    application = "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'shop']\n"
    (tmp_path / "shop.py").write_text(application)
    side, port = free_port(), free_port()
    variables = image.envs | {"PYVARS_PORT": str(side), "PYVARS_TOKEN": TOKEN, "PYTHONPATH": str(tmp_path)}
    python, _, *command = json.loads(image.cmd)
    assert (python, variables["PYVARS_HOST"]) == ("python", "0.0.0.0")
    with service(*(part.replace("0.0.0.0:8000", f"127.0.0.1:{port}") for part in command), ready=port, **variables):
        assert fetch(port, "/").body == b"shop"
        assert status(side, "localhost") == 200
        assert status(side, "shop:6060") == 401
        assert status(side, "shop:6060", "another-token-of-tests") == 401
        assert status(side, "shop:6060", TOKEN) == 200


def status(port: int, host: str, token: str = "") -> int:
    """The status of `/metrics`, requested as Prometheus does with the scrape configuration of the README."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(
            "GET", "/metrics", headers={"Host": host} | ({"Authorization": f"Bearer {token}"} if token else {})
        )
        return connection.getresponse().status
