"""The hook for PyInstaller: what pyvars loads by import string is in it."""

import runpy
import tomllib
from importlib import import_module
from pathlib import Path

from pyvars.site.default import DEBUG_VIEWS, OPEN_VIEWS, ROOT_VIEWS, STATUS_VIEWS
from tests.programs import ROOT


def test_the_hook_names_what_is_loaded_by_import_string() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, function = project["entry-points"]["pyinstaller40"]["hook-dirs"].partition(":")
    (folder,) = getattr(import_module(module), function)()
    hidden = runpy.run_path(str(Path(folder, "hook-pyvars.py")))["hiddenimports"]
    views = {**DEBUG_VIEWS, **OPEN_VIEWS, **ROOT_VIEWS, **STATUS_VIEWS}.values()
    assert {view.partition(":")[0] for view in views} <= {*hidden}
    assert {"pyvars.runtime.memstats", "pyvars.formats.json", "pyvars.server"} <= {*hidden}
    assert "pyvars.__main__" not in hidden
