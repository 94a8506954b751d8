"""Programs frozen by PyInstaller: the hook names all modules that pyvars imports by string; no options are needed."""

import json
import os
import runpy
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from pyvars.site.default import DEBUG_VIEWS, OPEN_VIEWS, ROOT_VIEWS, STATUS_VIEWS
from tests.programs import ROOT
from tests.services import fetch, free_port, service
from tests.tools import library


def test_the_hook_names_what_is_loaded_by_import_string() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, function = project["entry-points"]["pyinstaller40"]["hook-dirs"].partition(":")
    (folder,) = getattr(import_module(module), function)()
    hook = runpy.run_path(str(Path(folder, "hook-pyvars.py")))
    hidden = hook["hiddenimports"]
    assert {(Path(source).is_dir(), target) for source, target in hook["datas"]} == {
        (True, "pyvars/dashboard/assets"),
        (True, "pyvars/dashboard/vendor"),
    }
    views = {**DEBUG_VIEWS, **OPEN_VIEWS, **ROOT_VIEWS, **STATUS_VIEWS}.values()
    assert {view.partition(":")[0] for view in views} <= {*hidden}
    assert {"pyvars.runtime.memstats", "pyvars.formats.json", "pyvars.server"} <= {*hidden}
    assert "pyvars.__main__" not in hidden


PROGRAM = """\
import signal, sys, pyvars
pyvars.serve(int(sys.argv[1]))
signal.pause()
"""


@pytest.mark.timeout(300)  # a build takes about a minute
def test_a_build_without_flags_serves_every_view(tmp_path: Path) -> None:
    library("PyInstaller", "none")
    Path(tmp_path, "plain.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-m", "PyInstaller", "plain.py"],
        cwd=tmp_path,
        env={**os.environ, "PYINSTALLER_CONFIG_DIR": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    port = free_port()
    with service(str(tmp_path / "dist" / "plain" / "plain"), str(port), ready=port):
        page = json.loads(fetch(port).body)
        assert page["cmdline"] == ["plain"]
        assert page["memstats"]["Sys"] > 0
        assert "pyvars.errors" not in page
        for path in ("", *(f"debug/{view}" for view in DEBUG_VIEWS), *ROOT_VIEWS):
            assert (path, fetch(port, f"/{path}").status) == (path, 200)
        for path in STATUS_VIEWS:
            assert fetch(port, f"/status/{path}").status in (200, 503)  # 503: a figure of the machine cannot be read
