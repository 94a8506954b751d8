"""Starts real services as processes of their own, on free ports, and waits until they answer."""

import http.client
import os
import random
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

from tests.programs import ROOT


class Reply(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes


def free_port() -> int:
    """Returns a port that is free, and that was not returned to any process of the tests before.

    It is below the ports that the system chooses for clients.
    """
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        ours = socket.socket(socket.AF_UNIX)
        try:
            ours.bind(f"\0pyvars-tests-port-{port}")
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            ours.close()
        else:
            ours.detach()  # stays open until this process ends
            return port


@contextmanager
def service(*command: str, ready: int, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run `python -m command`, or a file; it is ready when port `ready` answers; it ends by SIGTERM."""
    start = [] if os.path.isabs(command[0]) else [sys.executable, "-m"]
    with subprocess.Popen(
        [*start, *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            until = time.monotonic() + 60
            while True:
                try:
                    socket.create_connection(("127.0.0.1", ready), timeout=1).close()
                    break
                except OSError:
                    assert process.poll() is None, process.stdout and process.stdout.read()
                    assert time.monotonic() < until, "it does not answer"
                    time.sleep(0.05)
            yield process
        finally:
            process.terminate()
            try:
                process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                if "--master" in command or not command[0].endswith("uwsgi"):
                    raise
                process.kill()  # SIGTERM alone may get lost while it accepts a connection


class Client:
    """Requests over one connection that is kept alive, with the same Host whatever the port."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, path: str, method: str = "GET", body: bytes | None = None) -> Reply:
        headers = {"Host": "localhost:8000", "User-Agent": "test"}
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        return Reply(
            answer.status, [field for field in answer.getheaders() if field[0].lower() != "date"], answer.read()
        )

    def close(self) -> None:
        self._connection.close()


def fetch(port: int, path: str = "/debug/vars") -> Reply:
    with closing(Client(port)) as client:
        return client.ask(path)


def port_in(line: str) -> int:
    """The port in a line that a service printed."""
    found = re.search(r"127\.0\.0\.1:(\d+)", line)
    assert found, line
    return int(found[1])
