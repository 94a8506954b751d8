"""`cmdline` has the name of the program, however it was started."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.programs import ROOT

SHOW = "import json, pyvars\nprint(json.dumps(pyvars.get('cmdline').snapshot()), flush=True)\n"
IN_CHILDREN = """\
import multiprocessing

def show():
    import json, pyvars
    return json.dumps(pyvars.get('cmdline').snapshot())

if __name__ == '__main__':
    for kind in ('spawn', 'forkserver', 'fork'):
        with multiprocessing.get_context(kind).Pool(1) as pool:
            print(pool.apply(show), flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Scripts, modules, packages and archives that print their `cmdline`."""
    files = {
        "script.py": SHOW,
        "module.py": SHOW,
        "children.py": IN_CHILDREN,
        "shop/__init__.py": "",
        "shop/__main__.py": SHOW,
        "shop/worker.py": SHOW,
        "shop/admin/__init__.py": "",
        "shop/admin/__main__.py": SHOW,
        "early/__init__.py": SHOW,
        "early/__main__.py": SHOW,
        "spawning/__init__.py": "",
        "spawning/inner/__init__.py": "",
        "spawning/inner/__main__.py": "from spawning.inner.work import main\nif __name__ == '__main__':\n    main()\n",
        "spawning/inner/work.py": IN_CHILDREN.replace("if __name__ == '__main__':", "def main():"),
        "bare/__main__.py": SHOW,
        "changed/__init__.py": "",
        "changed/__main__.py": f"import sys\nsys.argv[0] = 'shop-worker'\n{SHOW}",
        "emptied.py": f"import sys\nsys.argv = []\n{SHOW}",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with zipfile.ZipFile(tmp_path / "app.pyz", "w") as archive:
        archive.writestr("__main__.py", SHOW)
    return tmp_path


def shown(folder: Path, *command: str) -> list[object]:
    """The `cmdline` that the program and its children print."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


PROGRAMS = [
    (["script.py", "--token", "x"], "script.py"),
    (["-m", "module", "-m", "x"], "module"),
    (["-m", "shop"], "shop"),
    (["-m", "shop.__main__"], "shop"),
    (["-m", "shop.worker", "a"], "shop.worker"),
    (["-m", "shop.admin"], "shop.admin"),
    (["-mshop"], "shop"),
    (["shop"], "shop"),
    (["bare/"], "bare"),
    (["bare/__main__.py"], "bare"),
    (["shop/admin/__main__.py"], "shop.admin"),
    (["app.pyz", "a"], "app.pyz"),
    (["-m", "changed"], "shop-worker"),
    (["emptied.py"], ""),
]


@pytest.mark.parametrize(("program", "name"), PROGRAMS, ids=str)
def test_the_name_of_the_program(folder: Path, program: list[str], name: str) -> None:
    assert shown(folder, *program) == [[name]]


@pytest.mark.parametrize(
    ("program", "name"), [(["script.py", "x"], "script.py"), (["-m", "shop"], "shop"), (["bare/"], "bare")]
)
def test_pyvars_shows_the_program_that_it_runs(folder: Path, program: list[str], name: str) -> None:
    assert shown(folder, "-m", "pyvars", "--port", "0", *program) == [[name]]


def test_code_on_the_command_line_and_a_folder_that_is_here(folder: Path) -> None:
    assert shown(folder, "-c", SHOW, "x") == [["-c"]]
    assert shown(folder / "bare", ".") == [["bare"]]


@pytest.mark.parametrize("program", [["-m", "early", "x"], ["-mearly", "-m", "x"], ["-Bmearly"]])
def test_while_a_package_is_imported(folder: Path, program: list[str]) -> None:
    """If a package runs the service during its import, sys.argv does not name the module yet."""
    assert shown(folder, *program) == [["early"], ["early"]]


@pytest.mark.parametrize(
    ("program", "name"), [(["children.py"], "children.py"), (["-m", "children"], "children")], ids=["script", "module"]
)
def test_children_are_called_as_their_parent(folder: Path, program: list[str], name: str) -> None:
    assert shown(folder, *program) == [[name]] * 3


def test_children_of_a_package_are_called_as_it(folder: Path) -> None:
    assert shown(folder, "-m", "spawning.inner") == [["spawning.inner"]] * 3
