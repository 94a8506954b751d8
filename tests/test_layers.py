"""Which module may import which, and the cost of `import pyvars`."""

import ast
import importlib
import json
import pkgutil
from pathlib import Path

import pyvars
from tests.programs import output

PACKAGE = Path(pyvars.__file__).parent

ROOMS = (
    *("errors", "core", "traffic", "__init__", "runtime", "formats"),
    *("workers.together", "workers.numbers", "workers.asking", "workers.membership", "workers"),
    *(
        "access",
        "collect",
        "history",
        "site",
        "asgi",
        "wsgi",
        "sideport",
        "server",
        "cli",
        "dashboard",
        "health",
        "prometheus",
        "django",
    ),
    *("__main__", "__pyinstaller"),
)
"""The layers from the inside out: a module imports from its own layer and from those before it."""

SATELLITES = ("pyvars.dashboard", "pyvars.django", "pyvars.health", "pyvars.prometheus")
COMPILED = "pyvars.core._cells"  # it imports only pyvars.core.exact, for the texts of errors


def modules() -> dict[str, ast.Module]:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text())
    return found


MODULES = {**modules(), COMPILED: ast.parse("")}


def imports(tree: ast.Module) -> set[str]:
    """The imports that run when the module is imported: not those in functions, nor those for type checkers."""
    found: set[str] = set()
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in MODULES else node.module)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (
            isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        ):
            continue
        waiting.extend(ast.iter_child_nodes(node))
    return found


def room(module: str) -> int:
    """The index in ROOMS of the layer of the module."""
    within = module.removeprefix("pyvars").removeprefix(".") or "__init__"
    while within not in ROOMS:
        assert within, f"{module} stands in no room"
        within = within.rpartition(".")[0]
    return ROOMS.index(within)


def test_arrows_point_inward() -> None:
    for name, tree in MODULES.items():
        for imported in imports(tree):
            if imported.partition(".")[0] == "pyvars":
                assert room(imported) <= room(name), f"{name} imports {imported}, which stands further out"


def test_satellites_are_known_to_the_composition_root_alone() -> None:
    """It loads them by import string. No other module imports one, not even inside a function."""
    for name, tree in MODULES.items():
        if not name.startswith(SATELLITES):
            for node in ast.walk(tree):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    within = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
                    assert not any(f"{within}{alias.name}".startswith(SATELLITES) for alias in node.names), name


def test_a_satellite_that_is_not_used_costs_nothing() -> None:
    code = """
import sys, pyvars
from pyvars import asgi, wsgi
asgi.DebugApp(), asgi.VarsMiddleware(None), wsgi.DebugApp(), wsgi.VarsMiddleware(None)
unused = ("pyvars.django", "pyvars.health", "django", "prometheus_client")
print(any(name.startswith(unused) for name in sys.modules))
pyvars.serve(0).close()
print("psutil" in sys.modules or "prometheus_client" in sys.modules)
"""
    assert output(code) == "False\nFalse\n"


def test_there_is_no_cycle_of_files() -> None:
    arrows = {name: {to for to in imports(tree) if to in MODULES} for name, tree in MODULES.items()}
    while arrows:  # remove files without imports until none is left
        leaves = {name for name, to in arrows.items() if not to & arrows.keys()}
        assert leaves, f"a cycle among {sorted(arrows)}"
        arrows = {name: to for name, to in arrows.items() if name not in leaves}


def test_the_core_needs_the_standard_library_only() -> None:
    import sys

    for name, tree in MODULES.items():
        if name.startswith("pyvars.core"):
            for imported in imports(tree):
                package = imported.partition(".")[0]
                assert package == "pyvars" or package in sys.stdlib_module_names, f"{name} imports {imported}"


def test_only_one_module_knows_orjson_and_one_prometheus_client_and_one_uvicorn() -> None:
    def users(package: str) -> set[str]:
        return {
            name
            for name, tree in MODULES.items()
            for node in ast.walk(tree)
            if (isinstance(node, ast.Import) and any(alias.name.partition(".")[0] == package for alias in node.names))
            or (isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == package)
        }

    assert users("prometheus_client") == {"pyvars.formats.prometheus"}
    assert users("orjson") == {"pyvars.formats.json"}
    assert users("uvicorn") == {"pyvars.sideport.http"}
    assert users("starlette") == {"pyvars.server"}
    assert users("psutil") == {"pyvars.runtime.process", "pyvars.runtime.proc", "pyvars.health.hardware"}


def test_only_one_module_hooks_forks() -> None:
    """All other modules register what must be stopped before a fork, and made again after it, with that module."""
    users = {name for name, tree in MODULES.items() if "register_at_fork" in ast.unparse(tree)}
    assert users == {"pyvars.core.resources"}


def test_importing_is_cheap_and_silent() -> None:
    code = """
import json, os, sys, threading
before, files, environment = set(sys.modules), os.listdir("/proc/self/fd"), []
class Watched(dict):
    def __getitem__(self, key): environment.append(key); return dict.__getitem__(self, key)
    def get(self, key, default=None): environment.append(key); return dict.get(self, key, default)
os.environ = Watched(os.environ)
import pyvars
added = sorted(set(sys.modules) - before)
print(json.dumps([added, threading.active_count(), len(os.listdir("/proc/self/fd")) - len(files), environment]))
"""
    added, threads, files, environment = json.loads(output(code))
    assert len(added) <= 60
    heavy = {"asyncio", "starlette", "uvicorn", "psutil", "orjson", "inspect", "logging", "ctypes", "socket"}
    assert not heavy & {name.partition(".")[0] for name in added}
    assert (threads, files, environment) == (1, 0, ["PYVARS_NATIVE"])


def test_every_module_names_what_is_public() -> None:
    """`__all__` is a sorted tuple of names that the module defines and documents."""
    for info in pkgutil.walk_packages([str(PACKAGE)], "pyvars."):
        if info.name in ("pyvars.__main__", COMPILED):
            continue
        module = importlib.import_module(info.name)
        tree = MODULES[info.name]
        names = getattr(module, "__all__", ())
        assert isinstance(names, tuple), info.name
        assert len(set(names)) == len(names), info.name
        defined = {
            node.name
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
        }
        for name in names:
            value = getattr(module, name)
            assert not callable(value) or name not in defined or value.__doc__, f"{info.name}.{name} has no docstring"


def test_the_public_names() -> None:
    assert isinstance(pyvars.__all__, tuple)
    assert list(pyvars.__all__) == sorted(pyvars.__all__)
    public = {name for name in vars(pyvars) if not name.startswith("_")}
    submodules = {name.rpartition(".")[2] for name in MODULES if name.count(".") == 1}
    from_elsewhere = {"Any", "Callable", "Coroutine", "MISSING", "Never", "TYPE_CHECKING", "TypeVar", "overload"}
    assert public - submodules - from_elsewhere == set(pyvars.__all__) - {"serve"} | {"serve"} - submodules


def test_files_can_be_read_in_one_sitting() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert max(lengths.values()) <= 330


def test_version_and_changelog_agree() -> None:
    changelog = (PACKAGE.parent / "CHANGELOG.md").read_text()
    assert f"## {pyvars.__version__}" in changelog
