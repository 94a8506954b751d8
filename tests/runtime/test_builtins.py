"""The built-ins without a module of tests of their own, and `install`."""

import gc
import json
import os
import signal
import subprocess
import sys
import time
import warnings

import pytest

import pyvars
from pyvars import Registry
from pyvars.runtime import BUILTINS, install, reading
from pyvars.runtime.proc import is_stopped, of_process
from tests.conftest import Read
from tests.programs import output, run


def test_process_says_what_the_kernel_says(registry: Registry, page: Read) -> None:
    import psutil

    install(registry, only=["process"])
    reading.expire()
    process = psutil.Process()
    before, shown, after = process.memory_info().rss, page()["process"], process.memory_info().rss
    assert shown["pid"] == os.getpid()
    assert abs(float(shown["start_time_seconds"]) - process.create_time()) < 0.1
    assert abs(float(shown["uptime_seconds"]) - (time.time() - process.create_time())) < 5
    cpu = process.cpu_times()
    assert abs(float(shown["cpu_user_seconds"]) - cpu.user) < 1
    assert abs(float(shown["cpu_system_seconds"]) - cpu.system) < 1
    within = 8 * 1024 * 1024  # tolerance, since other tests may free memory meanwhile
    assert min(before, after) - within < shown["rss_bytes"] < max(before, after) + within
    assert shown["peak_rss_bytes"] >= shown["rss_bytes"]
    assert shown["open_fds"] > 0
    assert shown["context_switches_voluntary"] + shown["context_switches_involuntary"] > 0
    assert shown["max_fds"] > 0


def test_what_is_said_of_another_process() -> None:
    """About the same with and without /proc; zeros if the process has ended."""
    mine, portable = of_process(os.getpid()), of_process(os.getpid(), "/nowhere")
    assert mine.keys() == portable.keys()
    assert abs(mine["start_time_seconds"] - portable["start_time_seconds"]) < 1
    assert 0 < mine["cpu_seconds"] <= portable["cpu_seconds"] + 0.1
    assert abs(mine["rss_bytes"] - portable["rss_bytes"]) < 8 * 1024 * 1024
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    assert set(of_process(process.pid).values()) == {0}
    assert set(of_process(process.pid, "/nowhere").values()) == {0}
    assert set(of_process(2**40).values()) == {0}
    assert not is_stopped(process.pid)
    assert not is_stopped(process.pid, "/nowhere")


@pytest.mark.parametrize("proc", ["/proc", "/nowhere"])
def test_a_process_that_a_signal_has_stopped(proc: str) -> None:
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        assert not is_stopped(process.pid, proc)
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)  # until it is stopped
        assert is_stopped(process.pid, proc)
        process.send_signal(signal.SIGCONT)
        process.communicate()


def test_open_files_are_counted() -> None:
    """Here in a process of its own, in which nobody else opens or closes any."""
    code = """
import pyvars
from pyvars.runtime import reading
def count():
    reading.expire()
    return pyvars.get("process").snapshot()["open_fds"]
before = count()
files = [open("/dev/null") for _ in range(20)]
print(count() - before)
for file in files: file.close()
print(count() - before)
"""
    assert output(code).split() == ["20", "0"]


def test_no_limit_on_open_files_is_a_number_too() -> None:
    code = """
import resource, pyvars
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.getrlimit = lambda kind: (resource.RLIM_INFINITY, hard)
print(pyvars.get("process").snapshot()["max_fds"])
"""
    assert int(output(code)) == 2**63 - 1


def test_threads_are_counted_and_named() -> None:
    """Here in a process of its own, which has no others."""
    code = """
import json, threading, pyvars
from pyvars.runtime import reading
def shown():
    reading.expire()
    return pyvars.get("threads").snapshot()
stop = threading.Event()
mine = [threading.Thread(target=stop.wait, name=f"mine-{number:03}", daemon=True) for number in range(120)]
before = shown()
for thread in mine: thread.start()
print(json.dumps([before, shown()]))
stop.set()
for thread in mine: thread.join()
"""
    before, after = json.loads(output(code))
    for kind in ("count", "daemon", "native"):
        assert after[kind] - before[kind] == 120
    assert "mine-000" in after["names"]
    assert after["names"] == sorted(after["names"])
    assert len(after["names"]) == 100


def test_gc_by_generation(registry: Registry, page: Read) -> None:
    install(registry, only=["gc"])
    shown = page()["gc"]
    assert shown["enabled"] is True
    for generation, stats in enumerate(gc.get_stats()):
        figures = shown[f"gen{generation}"]
        assert figures["collections"] <= stats["collections"]
        assert figures["threshold"] == gc.get_threshold()[generation]
        assert figures["pause_total_ns"] >= figures["pause_max_ns"] >= 0
    threshold = gc.get_threshold()
    gc.set_threshold(12_345, *threshold[1:])
    try:
        assert page()["gc"]["gen0"]["threshold"] == 12_345
    finally:
        gc.set_threshold(*threshold)


def test_the_pauses_of_all_generations_are_those_of_memstats(registry: Registry, page: Read) -> None:
    install(registry, only=["gc", "memstats"])
    gc.collect()
    gc.disable()
    try:
        shown = page()
    finally:
        gc.enable()
    by_generation = [shown["gc"][f"gen{number}"]["pause_total_ns"] for number in range(3)]
    assert sum(by_generation) == shown["memstats"]["PauseTotalNs"]


def test_python_says_which(registry: Registry, page: Read) -> None:
    install(registry, only=["python"])
    assert page()["python"] == {
        "gil": True,
        "version": ".".join(map(str, sys.version_info[:3])),
        "implementation": "CPython",
        "platform": sys.platform,
        "pyvars": pyvars.__version__,
        "native": pyvars.native,
    }


def test_a_gil_that_is_off_is_said() -> None:
    code = """
import sys
gil = [True]
sys._is_gil_enabled = lambda: gil[0]
import pyvars
python = pyvars.get("python")
print(python.snapshot()["gil"])
gil[0] = False
print(python.snapshot()["gil"], python.snapshot()["gil"])
"""
    assert output(code).split() == ["True", "False", "False"]


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["/srv/shop/app.py", "--token", "secret"], ["app.py"]),
        (["-c"], ["-c"]),
        ([""], [""]),
        ([], [""]),
        (["/srv/\udcff.py"], ["\ufffd.py"]),
    ],
)
def test_cmdline_is_the_name_of_the_program(
    registry: Registry, page: Read, monkeypatch: pytest.MonkeyPatch, argv: list[str], shown: list[str]
) -> None:
    install(registry, only=["cmdline"])
    monkeypatch.setattr(sys, "argv", argv)
    assert page() == {"cmdline": shown}
    assert page() == {"cmdline": shown}


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        ([], [""]),
        (["/srv/app.py", "run", "--workers", "4"], ["/srv/app.py", "run", "--workers", "4"]),
        (["a", "--password=x", "--port=80"], ["a", "--password=***", "--port=80"]),
        (["a", "--api-key", "x", "y"], ["a", "--api-key", "***", "y"]),
        (["a", "--password", "-dash5ecret", "y"], ["a", "--password", "***", "y"]),
        (["a", "--env=TOKEN=abc123", "host=db password='s 3' x"], ["a", "--env=TOKEN=***", "host=db password=***"]),
        (["a", "--token", "--password", "hunter2", "y"], ["a", "--token", "***", "***", "y"]),
        (["a", "db[password]=x", '{"password": "x"}'], ["a", "db[password]=***", '{"password":***']),
        (["-H", "Authorization: Bearer abc", "X: y"], ["-H", "Authorization:***", "X: y"]),
        (["a", "postgres://u:pa/ss@h/d", "postgres://u:pa#s@h/d?"], ["a", "postgres://***@h/d", "postgres://***@h/d?"]),
        (["a", "--secret=two words"], ["a", "--secret=***"]),
        (["a", "-psecret", "-p", "80"], ["a", "-p***", "-p", "80"]),
        (["a", "TOKEN=abc", "DSN=x", "MODE=fast"], ["a", "TOKEN=***", "DSN=***", "MODE=fast"]),
        (["a", "postgres://u:p@h/d?sslpassword=q"], ["a", "postgres://***@h/d?***"]),
        (["a", "--url=https://u:p@h:80/x?a=b#c"], ["a", "--url=https://***@h:80/x?***"]),
        (["a", "http://h/x"], ["a", "http://h/x"]),
    ],
)
def test_the_whole_command_line_is_redacted(
    registry: Registry, page: Read, monkeypatch: pytest.MonkeyPatch, argv: list[str], shown: list[str]
) -> None:
    install(registry, cmdline="redacted", only=["cmdline"])
    monkeypatch.setattr(sys, "argv", argv)
    assert page() == {"cmdline": shown}
    assert page() == {"cmdline": shown}


def test_long_arguments_are_redacted_at_once(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """In time linear in their length: quadratic time would be hours for a megabyte."""
    install(registry, cmdline="redacted", only=["cmdline"])
    monkeypatch.setattr(
        sys, "argv", ["x" * 1_000_000, "-" * 500_000 + "key" * 300_000, "a=" * 100_000, "key:" * 100_000]
    )
    shown = registry["cmdline"].snapshot()
    assert isinstance(shown, list)
    assert shown[0] == "x" * 1024
    assert shown[2] == "***"


def test_asyncio_without_a_loop() -> None:
    code = """
import sys, pyvars
print(pyvars.get("asyncio").snapshot())
print("asyncio" in sys.modules)
"""
    expected = {"loops": 0, "tasks": 0, "lag_seconds": 0.0, "lag_max_seconds": 0.0}
    assert output(code).splitlines() == [str(expected), "False"]


def test_install_takes_its_words(registry: Registry) -> None:
    install(registry)
    assert list(registry) == sorted(BUILTINS)
    install(registry)  # replaces them
    assert registry.metadata("memstats").help
    assert repr(registry["gc"]) == "<built-in pyvars.runtime.gc:GC>"
    with pytest.raises(ValueError, match="redacted"):
        install(registry, cmdline="whole")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no built-in variable 'nothing'"):
        install(Registry(), only=["gc", "nothing"])


GIVING_WAY = sorted({*BUILTINS} - {"cmdline", "memstats", "pyvars.workers"})


@pytest.mark.parametrize("name", GIVING_WAY)
def test_a_built_in_gives_way_to_a_variable_of_the_program(name: str, registry: Registry, page: Read) -> None:
    """A variable of the program keeps its name, published before or after the built-in of that name."""
    install(registry)
    page()
    with pytest.warns(
        pyvars.PyvarsWarning, match=f"'{name}' was a variable of pyvars itself, which this one replaces"
    ) as caught:
        registry.publish(name, pyvars.Int(3))
    assert [warning.filename for warning in caught] == [__file__]
    assert page()[name] == 3
    with pytest.warns(pyvars.PyvarsWarning, match=f"'{name}' is published by the program") as caught:
        install(registry)
    assert [warning.filename for warning in caught] == [__file__]
    assert page()[name] == 3
    assert set(page()) == set(BUILTINS)
    registry.delete(name)
    install(registry)
    assert isinstance(page()[name], dict)


@pytest.mark.parametrize("name", GIVING_WAY)
def test_it_gives_way_to_a_function_and_to_what_may_exist_already(name: str, registry: Registry, page: Read) -> None:
    install(registry)
    with pytest.warns(pyvars.PyvarsWarning, match="which this one replaces"):
        registry.publish(name, lambda: 4, exist_ok=True)
    assert page()[name] == 4
    registry.delete(name)
    install(registry)
    registry.delete(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        registry.publish(name, pyvars.Int(5))  # no warning: the program has deleted the built-in
    assert page()[name] == 5


def test_where_warnings_are_errors_the_built_in_stays(registry: Registry) -> None:
    install(registry)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(pyvars.PyvarsWarning):
            registry.publish("gc", pyvars.Int(3))
    assert repr(registry["gc"]) == "<built-in pyvars.runtime.gc:GC>"


def test_memstats_and_cmdline_are_of_go_and_are_not_taken_by_chance(registry: Registry, page: Read) -> None:
    install(registry)
    for name in ("memstats", "cmdline"):
        with pytest.raises(pyvars.DuplicateNameError):
            registry.publish(name, lambda: ["shop"])
        registry.delete(name)
        registry.publish(name, lambda: ["shop"])
    with pytest.warns(pyvars.PyvarsWarning, match="is published by the program"):
        install(registry)
    assert page()["cmdline"] == page()["memstats"] == ["shop"]


def test_a_program_that_has_the_names_before_and_after_an_integration_is_made() -> None:
    code = """
import json, sys, urllib.request, warnings, pyvars
warnings.simplefilter("always")
pyvars.publish("threads", pyvars.Int(1))
server = pyvars.serve(0)
def page(path):
    return urllib.request.urlopen(server.url + path).read()
json.loads(page("/debug/vars"))
pyvars.publish("gc", pyvars.Int(2))
shown = json.loads(page("/debug/vars"))
print(shown["threads"], shown["gc"], sorted(shown))
print(json.loads(page("/api/stats"))["gc_num"] >= 0)
server.close()
"""
    done = run(code)
    shown, stats = done.stdout.splitlines()
    assert shown == f"1 2 {sorted(BUILTINS)}"
    assert stats == "True"
    assert done.stderr.count("PyvarsWarning") == 2


def test_the_default_registry_holds_them() -> None:
    assert set(BUILTINS) <= set(pyvars.default_registry)


def test_figures_are_of_the_child_after_a_fork() -> None:
    code = """
import json, os, sys, pyvars
pyvars.get("process").snapshot()
if os.fork() == 0:
    print(json.dumps([pyvars.get("process").snapshot()["pid"], os.getpid()]), flush=True)
    os._exit(0)
os.wait()
"""
    shown, actual = json.loads(output(code))
    assert shown == actual


def test_the_size_of_the_directory_or_its_entries_count_the_files() -> None:
    """Before Linux 6.2 the size of /proc/self/fd is 0."""
    code = """
import os, pyvars
stat = os.stat
class NoSize:
    st_size = 0
os.stat = lambda path, **options: NoSize if str(path).endswith("/fd") else stat(path, **options)
print(pyvars.get("process").snapshot()["open_fds"], len(os.listdir("/proc/self/fd")) - 1)
"""
    shown, actual = output(code).split()
    assert shown == actual


def test_pauses_are_recorded_from_the_first_integration_on() -> None:
    code = """
import gc, pyvars
print(len(gc.callbacks), end=" ")
from pyvars.asgi import DebugApp
print(len(gc.callbacks), end=" ")
DebugApp()
DebugApp(pyvars.Registry())
print(len(gc.callbacks), end=" ")
gc.collect()
print(pyvars.get("memstats").snapshot()["NumForcedGC"])
"""
    assert output(code).split() == ["0", "0", "1", "1"]
