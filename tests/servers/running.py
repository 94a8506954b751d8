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
"""The address of a TCP socket or of a unix socket."""


class Running(NamedTuple):
    """A server and its addresses: a port of 127.0.0.1, and a unix socket if it supports that."""

    port: int
    unix: str | None
    log: Path
    """The log lines of pyvars in the server."""

    @property
    def tcp(self) -> Address:
        return "127.0.0.1", self.port


class Reply(NamedTuple):
    """A response: `status` is 0 if the server sent nothing, or no HTTP response."""

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
    """Wait until a server listens there."""
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
    """Send the bytes over a new connection, and read until the server closes it, or sends nothing more."""
    method = request.partition(b" ")[0].decode("latin-1").upper()
    with connection(address) as client:
        received = bytearray()
        try:
            client.settimeout(seconds)
            client.sendall(request)
        except OSError:
            pass  # the server has closed it before it read all; it may have sent a response
        try:
            while chunk := client.recv(65536):
                received += chunk
        except OSError:
            pass  # it resets the connection, or waits for more
        return _reply(bytes(received), method)


class _Stream:
    """Bytes as a socket, from which HTTPResponse can read."""

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
