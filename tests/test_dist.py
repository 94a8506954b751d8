"""Installs what `make dist` builds into empty environments, and runs the first commands of the README there."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import pyvars
from tests.programs import ROOT
from tests.services import Client, fetch, free_port, service
from tests.test_readme import blocks

pytestmark = [pytest.mark.xdist_group("dist"), pytest.mark.timeout(300)]
NO_COMPILER = "no-compiler-of-this-name"


def run(*command: str | Path, **environment: str) -> str:
    """Run a command without the environment of the tests, and return what it printed."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE"))}
    done = subprocess.run(command, capture_output=True, text=True, env=bare | environment, cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The source distribution and the wheel, by their suffixes."""
    source = tmp_path_factory.mktemp("source")
    shutil.copytree(ROOT / "pyvars", source / "pyvars", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    run(sys.executable, "-m", "build", "--outdir", source / "dist", source)
    built = {path.suffix: path for path in (source / "dist").iterdir()}
    assert set(built) == {".gz", ".whl"}
    return built


@pytest.mark.parametrize(
    ("suffix", "compiler"), [(".whl", NO_COMPILER), (".gz", "cc"), (".gz", NO_COMPILER)], ids=["wheel", "sdist", "pure"]
)
def test_it_runs_the_first_minute(dist: dict[str, Path], suffix: str, compiler: str, tmp_path: Path) -> None:
    python = tmp_path / "env" / "bin" / "python"
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "env")
    install = (sys.executable, "-m", "pip", "--python", python, "install", "--no-cache-dir", "-v")
    told = run(*install, dist[suffix], "fastapi", CC=compiler)
    if (suffix, compiler) == (".gz", NO_COMPILER):
        assert 'building extension "pyvars.core._cells" failed' in told
    native = pyvars.native and (suffix, compiler) != (".gz", NO_COMPILER)
    assert run(python, "-c", "import pyvars; print(pyvars.native)") == f"{native}\n"

    (tmp_path / "shop.py").write_text(blocks("python")[0])
    port = free_port()
    start = (str(python), "-m", "uvicorn", "shop:app", "--port", str(port))
    with service(*start, ready=port, PYTHONPATH=str(tmp_path)):
        client = Client(port)
        assert client.ask("/orders", "POST").body == b"null"
        client.close()
        page = json.loads(fetch(port).body)
        assert page["orders"] == page["http"]["requests"] == 1
        assert page["python"]["pyvars"] == pyvars.__version__
    files = "from pyvars.dashboard.files import FILES, PAGE; print(len(PAGE) > 0, sorted(FILES))"
    assert run(python, "-c", files) == "True ['page.css', 'page.js', 'uPlot.iife.min.js']\n"
    assert [*(tmp_path / "env").rglob("pyvars-*.dist-info/licenses/pyvars/dashboard/vendor/LICENSE")]
    assert run(python.parent / "pyvars", "--version") == f"pyvars {pyvars.__version__}\n"


def test_the_metadata_name_each_python_that_it_is_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    named = {each.rpartition(" ")[2] for each in project["project"]["classifiers"] if ":: 3." in each}
    built = {f"3.{each[3:-2]}" for each in project["tool"]["cibuildwheel"]["build"].split()}
    assert named == built
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in named
