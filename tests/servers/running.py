"""Starts the servers, and sends them requests as bytes over sockets of their own."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPException, HTTPResponse
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from tests.services import free_port, service

Address = tuple[str, int] | str
"""Of a TCP socket, or of a unix socket."""


class Running(NamedTuple):
    """A server, and where it listens: a port of 127.0.0.1, and a unix socket if it can do that."""

    port: int
    unix: str | None
    log: Path
    """What pyvars logged in it."""

    @property
    def tcp(self) -> Address:
        return "127.0.0.1", self.port


class Reply(NamedTuple):
    """What came back: `status` is 0 if it was no HTTP response, or nothing."""

    status: int
    headers: dict[str, str]
    body: bytes
    everything: bytes


@contextmanager
def running(commands: tuple[tuple[str, ...], ...], folder: Path, *, has_unix: bool) -> Iterator[Running]:
    """Run the commands, with a port and a path in place of `{port}` (the first has it) and `{unix}`."""
    port, unix, log = free_port(), str(folder / "socket"), folder / "log"
    with ExitStack() as stack:
        for command in commands:
            filled = [part.format(port=port, unix=unix) for part in command]
            stack.enter_context(service(*filled, ready=port, PYVARS_TEST_LOG=str(log), PYTHONWARNINGS="ignore"))
        if has_unix:
            wait_for(unix)
        yield Running(port, unix if has_unix else None, log)


def wait_for(address: Address) -> None:
    """Wait until somebody listens there."""
    until = time.monotonic() + 60
    while True:
        try:
            connection(address).close()
            return
        except OSError:
            assert time.monotonic() < until, f"nobody listens at {address}"
            time.sleep(0.02)


def connection(address: Address) -> socket.socket:
    client = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    client.settimeout(30)
    try:
        client.connect(address)
    except OSError:
        client.close()
        raise
    return client


def ask(address: Address, request: bytes, seconds: float = 30) -> Reply:
    """Send the bytes over a connection of their own, and read until the server closes it, or nothing comes anymore."""
    method = request.partition(b" ")[0].decode("latin-1").upper()
    with connection(address) as client:
        received = bytearray()
        try:
            client.settimeout(seconds)
            client.sendall(request)
        except OSError:
            pass  # the server has had enough: it may have said why
        try:
            while chunk := client.recv(65536):
                received += chunk
        except OSError:
            pass  # it resets the connection, or waits for more
        return _reply(bytes(received), method)


class _Stream:
    """Bytes in the form in which HTTPResponse reads them."""

    def __init__(self, data: bytes) -> None:
        self._file = BytesIO(data)

    def makefile(self, *_: object) -> object:
        return self._file


def _reply(data: bytes, method: str) -> Reply:
    response = HTTPResponse(_Stream(data), method=method)  # type: ignore[arg-type]
    try:
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, headers, response.read(), data)
    except (HTTPException, ValueError, OSError):
        return Reply(0, {}, b"", data)
