"""The command line: a program under `pyvars` behaves as under plain python; `pyvars get` prints a page."""

import base64
import os
import re
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import pyvars
from pyvars import Float, Int, Map, Registry, String
from pyvars.access import token_file
from pyvars.cli import main
from pyvars.cli.usage import HELP
from pyvars.server import Server
from tests.conftest import until
from tests.programs import DATA, ROOT
from tests.services import free_port

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
PYVARS = [sys.executable, "-m", "pyvars", "--port", "0"]
SCRIPT = """\
import __main__, sys, threading
print(sys.argv, __name__, __file__, __package__, __spec__ and __spec__.name, sys.path[0])
print(__main__.__dict__ is globals(), sys.modules["__main__"] is __main__, sorted(globals()))
print(any(thread.name == "pyvars-server" for thread in threading.enumerate()), file=sys.stderr)
"""


def outcome(
    command: list[str], cwd: Path, given: str = "", environment: dict[str, str] = ENVIRONMENT
) -> tuple[int, str, str]:
    done = subprocess.run(
        command, cwd=cwd, input=given, capture_output=True, text=True, timeout=100, env=environment, check=False
    )
    return done.returncode, done.stdout, done.stderr


def same(cwd: Path, *program: str, given: str = "", environment: dict[str, str] = ENVIRONMENT) -> tuple[int, str, str]:
    """The status and output of the program under plain python; under pyvars they must be the same."""
    plain = outcome([sys.executable, *program], cwd, given, environment)
    status, printed, error = outcome([*PYVARS, *program], cwd, given, environment)
    ours = (status, printed, without_url(error))
    assert ours == (plain[0], plain[1], plain[2].replace("False\n", "True\n", 1))
    return plain


def without_url(error: str) -> str:
    """Only with port 0 pyvars itself prints a line: the URL."""
    first, _, rest = error.partition("\n")
    assert re.fullmatch(r"pyvars: http://127\.0\.0\.1:\d+/debug/vars", first), error
    return rest


def test_a_script(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "script.py").write_text(SCRIPT)
    (tmp_path / "link.py").symlink_to(folder / "script.py")
    for name in ("folder/script.py", str(folder / "script.py"), "link.py"):
        status, printed, _ = same(tmp_path, name, "--port", "7", "-m", "x", "get", "")
        assert status == 0
        assert "'--port', '7', '-m', 'x', 'get', ''" in printed


def test_a_module_and_a_package(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(SCRIPT)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "__main__.py").write_text(f"from . import __name__ as name\n{SCRIPT}")
    (tmp_path / "package" / "inner.py").write_text(SCRIPT)
    for name in ("module", "package", "package.inner"):
        assert same(tmp_path, "-m", name, "--port", "7", "-m", "x")[0] == 0


def test_m_may_be_glued_to_its_module(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(SCRIPT)
    assert "'a', '--b'" in same(tmp_path, "-mmodule", "a", "--b")[1]


def test_a_folder_and_a_zip_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "__main__.py").write_text(SCRIPT)
    with zipfile.ZipFile(tmp_path / "app.pyz", "w") as archive:
        archive.writestr("__main__.py", SCRIPT)
    for name in ("folder", "app.pyz"):
        status, printed, _ = same(tmp_path, name, "argument")
        assert status == 0
        assert "argument" in printed
    (tmp_path / "empty").mkdir()
    status, _, error = outcome([*PYVARS, "empty"], tmp_path)
    expected = "pyvars: cannot run empty: can't find '__main__' module in 'empty'\n"
    assert (status, without_url(error)) == (1, expected)


@pytest.mark.parametrize("ending", ["sys.exit(7)", "sys.exit('reason')", "sys.exit()", "raise SystemExit(None)", "1"])
def test_exit_status(tmp_path: Path, ending: str) -> None:
    (tmp_path / "script.py").write_text(f"import sys\nprint('ran')\n{ending}\n")
    same(tmp_path, "script.py")


@pytest.mark.parametrize(
    "failure",
    [
        "def f():\n    raise ValueError('boom')\nf()",
        "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise KeyError('x') from error",
        "import sys\nsys.excepthook = lambda *about: print('hook', about[0].__name__, about[2].tb_lineno)\n1 / 0",
        "raise ExceptionGroup('several', [ValueError(1), ValueError(2)])",
        "raise BaseException('base')",
    ],
)
def test_tracebacks(tmp_path: Path, failure: str) -> None:
    (tmp_path / "script.py").write_text(failure)
    assert same(tmp_path, "script.py")[0] == 1


def test_what_cannot_be_run_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "__init__.py").write_text("")
    for program in (["-m", "no_such_module_here"], ["-m", "bare"], ["-m", "sys"], ["-m", "os.path.x"]):
        status, _, error = outcome([*PYVARS, *program], tmp_path)
        assert status == 1
        error = without_url(error)
        assert error.startswith(f"pyvars: cannot run {program[-1]}: ")
        assert error.count("\n") == 1
    plain = outcome([sys.executable, "missing.py"], tmp_path)
    status, _, error = outcome([*PYVARS, "missing.py"], tmp_path)
    assert status == plain[0] == 2
    assert without_url(error) == "pyvars: cannot run missing.py: [Errno 2] No such file or directory: 'missing.py'\n"


def test_a_script_that_cannot_be_compiled(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("def f(:\n")
    assert same(tmp_path, "script.py")[0] == 1


def test_standard_input_is_the_programs(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("import sys\nprint(sys.stdin.read().upper())\n")
    assert same(tmp_path, "script.py", given="hello\n")[1] == "HELLO\n\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signals_end_it_as_they_end_python(tmp_path: Path, number: int) -> None:
    (tmp_path / "script.py").write_text("import time\nprint('ready', flush=True) or time.sleep(60)\n")
    outcomes = []
    for command in ([sys.executable, "script.py"], [*PYVARS, "script.py"]):
        with subprocess.Popen(
            command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            process.send_signal(number)
            printed, error = process.communicate(timeout=30)
            if command[1:] != ["script.py"]:
                error = without_url(error)
            frames = error.count("  File ")  # the interrupt may come before the sleep, so the text may differ
            outcomes.append((process.returncode, printed, frames, error.splitlines()[-1:]))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0] == -number


def test_its_own_signal_handlers_run(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import os, signal\n"
        "signal.signal(signal.SIGUSR1, lambda *about: print('handled'))\n"
        "os.kill(os.getpid(), signal.SIGUSR1)\n"
    )
    assert same(tmp_path, "script.py")[1] == "handled\n"


def test_spawned_children_find_main(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import multiprocessing\n"
        "def double(number):\n"
        "    return 2 * number\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.map(double, [1, 2]))\n"
    )
    assert same(tmp_path, "script.py")[1] == "[2, 4]\n"


def test_the_safe_path_is_respected(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("import sys\nprint(sys.path[0])\n")
    same(tmp_path, "script.py", environment={**ENVIRONMENT, "PYTHONSAFEPATH": "1"})


def test_the_console_script_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("import sys\nprint(sys.argv, sys.path[0])\n")
    script = Path(sys.executable).parent / "pyvars"
    plain = outcome([sys.executable, "-m", "module", "x"], tmp_path)
    status, printed, error = outcome([str(script), "--port", "0", "-m", "module", "x"], tmp_path)
    assert (status, printed, without_url(error)) == plain


def test_the_program_is_not_started_without_its_side_port(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("print('started')\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "pyvars", "--port", port, "script.py"]
        status, printed, error = outcome(command, tmp_path)
    assert (status, printed) == (1, "")
    assert error.startswith(f"pyvars: no side port on 127.0.0.1:{port}: ")
    assert "in use" in error
    assert "--port 0 takes a free port, --optional runs" in error
    for arguments, word in ((["--port", "70000"], "0 to 65535"), (["--host", "0.0.0.0"], "other machines can reach")):
        status, printed, error = outcome([sys.executable, "-m", "pyvars", *arguments, "script.py"], tmp_path)
        assert (status, printed, error.count("\n")) == (1, "", 1)
        assert word in error


def test_an_optional_side_port(tmp_path: Path) -> None:
    """Two overlapping runs of a cron job: the later one runs, too, and prints that it has no side port."""
    (tmp_path / "script.py").write_text("print('ran')\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, printed, error = outcome([*PYVARS[:3], "--port", port, "--optional", "script.py"], tmp_path)
    assert (status, printed, error.count("\n")) == (0, "ran\n", 1)
    assert error.startswith(f"pyvars: no side port on 127.0.0.1:{port}: ")
    assert error.endswith("; the program runs without one\n")
    # --optional is for a port that is taken, not for invalid options.
    status, printed, error = outcome([*PYVARS[:3], "--host", "0.0.0.0", "--optional", "script.py"], tmp_path)
    assert (status, printed, error.count("\n")) == (1, "", 1)


SHOW_PORT = "import socket, sys\nsocket.create_connection((sys.argv[1], int(sys.argv[2]))).close()\nprint('served')\n"


def test_port_and_host_of_the_environment(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SHOW_PORT)
    port, other = str(free_port()), str(free_port())
    environment = {**ENVIRONMENT, "PYVARS_PORT": port, "PYVARS_HOST": "127.0.0.7"}
    command = [*PYVARS[:3], "script.py", "127.0.0.7", port]
    assert outcome(command, tmp_path, environment=environment) == (0, "served\n", "")
    command = [*PYVARS[:3], "--port", other, "--host", "127.0.0.8", "script.py", "127.0.0.8", other]
    assert outcome(command, tmp_path, environment=environment) == (0, "served\n", "")
    empty = {**ENVIRONMENT, "PYVARS_PORT": "", "PYVARS_HOST": ""}
    command = [*PYVARS[:3], "--port", other, "script.py", "127.0.0.1", other]
    assert outcome(command, tmp_path, environment=empty) == (0, "served\n", "")


@pytest.mark.parametrize(
    ("variables", "status", "text"),
    [
        ({"PYVARS_PORT": "x"}, 2, "a port is a number from 0 to 65535, got 'x' (PYVARS_PORT)"),
        ({"PYVARS_PORT": "-1"}, 2, "got '-1' (PYVARS_PORT)"),
        ({"PYVARS_PORT": "9" * 5000}, 2, "' (PYVARS_PORT)"),
        ({"PYVARS_PORT": "70000"}, 1, "127.0.0.1:70000 (PYVARS_PORT): a port is a number from 0 to 65535"),
        ({"PYVARS_HOST": "0.0.0.0"}, 1, "0.0.0.0:6060 (PYVARS_HOST): other machines can reach"),
        ({"PYVARS_HOST": "0.0.0.0", "PYVARS_PORT": "0"}, 1, "0.0.0.0:0 (PYVARS_HOST) (PYVARS_PORT): other machines"),
    ],
)
def test_a_wrong_variable_of_the_environment_is_named(
    variables: dict[str, str],
    status: int,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    try:
        found = main(["script.py"])
    except SystemExit as exit_:
        found = int(exit_.code or 0)
    error = capsys.readouterr().err
    assert (found, error.count("\n")) == (status, 1)
    assert text in error


def test_help_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["get", "--help"]):
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        assert exit_.value.code == 0
        assert capsys.readouterr().out == HELP
    assert (DATA / "help.txt").read_text() == HELP
    for option in (
        "--port",
        "--host",
        "-m module",
        "get",
        "workers",
        "--optional",
        "--human",
        "--timeout",
        "--help",
        "--version",
        "6060",
    ):
        assert option in HELP
    assert max(map(len, HELP.splitlines())) <= 80


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"pyvars {pyvars.__version__}\n"


WRONG = [
    ["workers"],
    ["get", "--worker", "x", ":6060"],
    *(["get", "--timeout", seconds, ":6060"] for seconds in ("x", "0", "-1", "nan", "inf")),
]


@pytest.mark.parametrize(
    "arguments", [[], ["--port"], ["--port", "x", "a.py"], ["--nothing"], ["get"], ["get", "--x"], *WRONG]
)
def test_wrong_usage_is_a_line_and_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("pyvars: ")
    assert error.count("\n") == 1
    assert "try pyvars --help" in error


@pytest.fixture
def server(registry: Registry) -> Iterator[Server]:
    """A side port whose page has one figure of each kind."""
    for name, variable in (
        ("orders", Int(12_345)),
        ("orders_open", Int(2)),
        ("load", Float(0.25)),
        ("version", String("1.4 <x>")),
        ("odd", String("a\nb")),
        ("states", Map()),
        ("empty", Map()),
        ("cache_bytes", Int(3 * 1024 * 1024 * 1024)),
        ("wait_ns", Int(1_500)),
        ("wait_seconds", Float(3_725)),
        ("up_seconds", Float(150)),
        ("start_time_seconds", Float(1_700_000_000)),
        ("huge_bytes", Int(2**60)),
    ):
        registry.publish(name, variable)
    registry["states"].add("paid", 3)  # type: ignore[attr-defined]
    registry.publish("list", lambda: list(range(20)))
    registry.publish("short", lambda: [1, True, None])
    registry.publish("pid", lambda: 12_345)
    registry.publish("memstats", lambda: {"HeapAlloc": 1024, "Mallocs": 2000, "PauseTotalNs": 2_500_000})
    with pyvars.serve(0, registry=registry) as server:
        yield server


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What `get` prints, once a busy machine lets the functions return in time."""

    def get() -> str:
        assert main(["get", *arguments]) == 0
        return capsys.readouterr().out

    return until(get, lambda text: not re.search(r"\((stale|timeout|busy)\)", text))


def test_get_prints_the_page(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, server.url).splitlines() == [
        "cache_bytes            3221225472",
        "empty                  {}",
        "huge_bytes             1152921504606846976",
        "list                   [0, 1, 2, 3, 4, 5, 6, 7, … 20 in all]",
        "load                   0.25",
        "memstats.HeapAlloc     1024",
        "memstats.Mallocs       2000",
        "memstats.PauseTotalNs  2500000",
        'odd                    "a\\nb"',
        "orders                 12345",
        "orders_open            2",
        "pid                    12345",
        "short                  [1, true, null]",
        "start_time_seconds     1700000000.0",
        "states.paid            3",
        "up_seconds             150.0",
        "version                1.4 <x>",
        "wait_ns                1500",
        "wait_seconds           3725.0",
    ]


def test_get_prints_human_units(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "--human", f"localhost:{server.port}").splitlines() == [
        "cache_bytes            3 GiB",
        "empty                  {}",
        "huge_bytes             1 EiB",
        "list                   [0, 1, 2, 3, 4, 5, 6, 7, … 20 in all]",
        "load                   0.25",
        "memstats.HeapAlloc     1 KiB",
        "memstats.Mallocs       2,000",
        "memstats.PauseTotalNs  2.5 ms",
        'odd                    "a\\nb"',
        "orders                 12,345",
        "orders_open            2",
        "pid                    12345",
        "short                  [1, true, null]",
        "start_time_seconds     2023-11-14 22:13:20+00:00",
        "states.paid            3",
        "up_seconds             2 min 30 s",
        "version                1.4 <x>",
        "wait_ns                1.5 µs",
        "wait_seconds           1 h 2 min",
    ]


def test_get_sends_no_credential_to_where_it_is_redirected(capsys: pytest.CaptureFixture[str]) -> None:
    from threading import Thread

    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:

        def answer() -> None:
            target = f"http://localhost:{second.getsockname()[1]}/steal".encode()
            redirect = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + target + b"\r\n\r\n"
            for listener, reply in ((first, redirect), (second, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")):
                connection, _ = listener.accept()
                with connection:
                    received.append(connection.recv(65536))
                    connection.sendall(reply)

        thread = Thread(target=answer)
        thread.start()
        assert main(["get", f"user:password-of-mine@127.0.0.1:{first.getsockname()[1]}"]) == 0
        thread.join()
    assert b"Authorization" in received[0]
    assert b"Authorization" not in received[1]


def test_get_shows_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["get", "http://user:password-of-mine@127.0.0.1:1/x"]) == 1
    assert capsys.readouterr().err == "pyvars: 127.0.0.1:1/x: [Errno 111] Connection refused\n"


def test_get_says_why_a_value_is_null(capsys: pytest.CaptureFixture[str], registry: Registry) -> None:
    registry.publish("broken", lambda: {1})
    registry.publish("nothing", lambda: None)
    with pyvars.serve(0, registry=registry) as server:
        assert printed(capsys, server.url, "broken", "nothing") == "broken   null (TypeError)\nnothing  null\n"


def test_get_asks_the_default_port_of_a_bare_host(capsys: pytest.CaptureFixture[str], registry: Registry) -> None:
    registry.publish("orders", Int(3))
    host = f"127.77.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"  # on this one nobody else has the port
    with pyvars.serve(6060, host, registry=registry):
        assert main(["get", host]) == 0
    assert capsys.readouterr().out == "orders  3\n"


def test_a_fixed_port_is_not_announced(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("print('ran')")
    port = str(free_port())
    assert outcome([sys.executable, "-m", "pyvars", "--port", port, "script.py"], tmp_path) == (0, "ran\n", "")


def test_get_quotes_what_would_do_something_to_a_terminal(
    capsys: pytest.CaptureFixture[str], registry: Registry
) -> None:
    with pytest.warns(pyvars.PyvarsWarning):
        registry.publish("a\x1b[31m", String("\x9b\x1b[0m"))
    registry.publish("list", lambda: ["\x9b"])
    with pyvars.serve(0, registry=registry) as server:
        shown = printed(capsys, str(server.port))
    assert shown == '"a\\u001b[31m"  "\\u009b\\u001b[0m"\nlist           ["\\u009b"]\n'


def test_get_takes_options_anywhere_and_a_port_alone(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["get", str(server.port), "--human", "orders"]) == 0
    assert capsys.readouterr().out == "orders  12,345\n"


def test_get_sends_the_first_token_of_a_file(
    tmp_path: Path, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tokens"
    path.write_text("# ours\n\nthe-right-token-of-two\nanother-token-beside\n")
    registry.publish("orders", Int(3))
    with pyvars.serve(0, registry=registry, access=token_file(path)) as server:
        assert main(["get", "--token-file", str(path), server.url]) == 0
        assert capsys.readouterr().out == "orders  3\n"
        assert main(["get", server.url]) == 1
        assert capsys.readouterr().err == (
            f"pyvars: {server.url}: unauthorized; give a token with --token-file FILE or PYVARS_TOKEN\n"
        )
        path.write_text("# none\n")
        assert main(["get", "--token-file", str(path), server.url]) == 1
        assert "holds no token" in capsys.readouterr().err


def test_a_token_file_opens_the_side_port_of_a_program(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("the-right-token-of-two\n")
    (tmp_path / "script.py").write_text("print('ran')")
    command = [*PYVARS, "--host", "0.0.0.0", "--token-file", "tokens", "script.py"]
    status, printed, error = outcome(command, tmp_path)
    assert (status, printed) == (0, "ran\n")
    assert re.fullmatch(r"pyvars: http://0\.0\.0\.0:\d+/debug/vars\n", error)
    (tmp_path / "tokens").write_text("short\n")
    status, printed, error = outcome(command, tmp_path)
    assert (status, printed, error.count("\n")) == (1, "", 1)
    status, _, error = outcome(
        [*PYVARS, "--host", "0.0.0.0", "script.py"], tmp_path, environment={**ENVIRONMENT, "PYVARS_TOKEN": "x" * 16}
    )
    assert status == 0


def test_get_prints_what_is_named_and_what_is_below_it(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, server.url, "orders", "memstats.Mallocs", "states", "empty").splitlines() == [
        "empty             {}",
        "memstats.Mallocs  2000",
        "orders            12345",
        "states.paid       3",
    ]
    assert printed(capsys, server.url, "list") == f"list  {list(range(20))}\n"


@pytest.mark.parametrize(
    ("url", "names", "reason"),
    [
        ("{url}", ["nothing"], "no variable 'nothing' on the page"),
        (
            "{url}/nothing",
            [],
            "not found; if the page is there, it needs a token: give it with --token-file FILE or PYVARS_TOKEN",
        ),
        ("{url}/debug/", [], "the response is no page of variables (no JSON object)"),
        ("ftp://localhost/x", [], "not an http URL"),
        ("http://", [], "not an http URL"),
        ("localhost:abc", [], "Port could not be cast to integer value as 'abc'"),
        ("localhost:99999", [], "Port out of range 0-65535"),
        ("127.0.0.1:{closed}", [], "[Errno 111] Connection refused"),
    ],
)
def test_get_says_why_it_cannot(
    server: Server, capsys: pytest.CaptureFixture[str], url: str, names: list[str], reason: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closing:
        closed = closing.getsockname()[1]
    url = url.format(url=server.url, closed=closed)
    assert main(["get", url, *names]) == 1
    printed, error = capsys.readouterr()
    assert (printed, error) == ("", f"pyvars: {url}: {reason}\n")


def test_get_gives_up(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"127.0.0.1:{silent.getsockname()[1]}"
        assert main(["get", "--timeout", "0.1", url]) == 1
    assert capsys.readouterr().err == f"pyvars: {url}: timed out\n"


@pytest.mark.parametrize(
    ("user", "sent"), [("user:p%40ss", b"user:p@ss"), ("user", b"user:"), ("us%3Aer:pass:word", b"us:er:pass:word")]
)
def test_get_sends_user_and_password_as_basic(user: str, sent: bytes) -> None:
    from threading import Thread

    with socket.create_server(("127.0.0.1", 0)) as listener:
        received: list[bytes] = []

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                received.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

        thread = Thread(target=answer)
        thread.start()
        assert main(["get", f"http://{user}@127.0.0.1:{listener.getsockname()[1]}"]) == 0
        thread.join()
    assert b"Authorization: Basic %s\r\n" % base64.b64encode(sent) in received[0]
    assert received[0].startswith(b"GET /debug/vars HTTP/1.1\r\n")


def test_get_into_a_pipe_that_closes(server: Server) -> None:
    command = [sys.executable, "-m", "pyvars", "get", server.url]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False, env=ENVIRONMENT)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")
