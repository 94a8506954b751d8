"""Optional programs and libraries: tests look for them only here, and are skipped if one is missing.

With `PYVARS_TEST_TOOLS=none` in the environment all of them count as missing.
"""

import glob
import importlib
import os
import shutil
import subprocess
import sys
from typing import Any, NoReturn

import pytest

HIDDEN = os.environ.get("PYVARS_TEST_TOOLS") == "none"
PATH = os.pathsep.join((os.environ["PATH"], "/usr/sbin", "/usr/local/sbin"))
NETDATA = "/usr/lib/netdata"

TOOLS = {
    "alertmanager": ("prometheus-alertmanager", "prometheus-alertmanager", "alertmanager"),
    "amtool": ("prometheus-alertmanager", "amtool"),
    "chromium": ("chromium", "chromium"),
    "collectd": ("collectd-core", "collectd"),
    "compiler": ("gcc", "cc", "gcc", "clang"),
    "curl": ("curl", "curl"),
    "go_expvar of netdata": ("netdata-plugins-python", f"{NETDATA}/python.d/go_expvar.chart.py"),
    "jemalloc": ("libjemalloc2", "/usr/lib/*/libjemalloc.so.2"),
    "netdata": ("netdata-plugins-python", f"{NETDATA}/plugins.d/python.d.plugin"),
    "nginx": ("nginx-light", "nginx"),
    "npm": ("npm", "npm"),
    "prometheus": ("prometheus", "prometheus"),
    "promtool": ("prometheus", "promtool"),
    "unshare": ("util-linux", "unshare"),
    "zabbix agent": ("zabbix-agent2", "zabbix_agent2"),
}
"""By name: the Debian package, and its possible commands or files."""


def tool(name: str) -> str:
    """The path of the tool; without the tool the test is skipped."""
    package, *places = TOOLS[name]
    for place in places:
        found = glob.glob(place) if place.startswith("/") else [shutil.which(place, path=PATH)]
        if not HIDDEN and found and found[0]:
            return found[0]
    lacking(name, package)


def library(name: str, package: str) -> Any:
    """The imported library; without it the test is skipped."""
    try:
        if not HIDDEN:
            return importlib.import_module(name)
    except ImportError:
        pass
    lacking(name, package)


def lacking(name: str, packages: str) -> NoReturn:
    """Skip the test, and name the package that it needs."""
    why = "hidden by PYVARS_TEST_TOOLS" if HIDDEN else "not installed"
    pytest.skip(f"{name} is {why} (of Debian: {packages})")


def other_pythons(*versions: str) -> list[str]:
    """Other CPython versions on the PATH or installed by pyenv; without any the test is skipped."""
    found = {}
    for version in versions:
        if not HIDDEN and version != f"{sys.version_info.major}.{sys.version_info.minor}":
            pattern = os.path.expanduser(f"~/.pyenv/versions/{version}.*/bin/python3")
            for python in (shutil.which(f"python{version}"), *glob.glob(pattern)):
                if python and subprocess.run([python, "-c", ""], capture_output=True).returncode == 0:
                    found[version] = python
    if not found:
        lacking(f"another CPython than this, of {', '.join(versions)},", "none")
    return [*found.values()]
