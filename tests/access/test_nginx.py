"""A real proxy in front: its clients get the application's own 404, or the page with a valid token."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.services import free_port, service
from tests.tools import tool

# One process makes what all tests here share.
pytestmark = pytest.mark.xdist_group("nginx")

TOKEN = "correct-horse-battery"
APP = """
import pyvars
from pyvars.access import local, token
from pyvars.asgi import VarsMiddleware
from tests.site.test_hostile import own_asgi
registry = pyvars.Registry()
registry.publish("secret", pyvars.Int(31337))
application = VarsMiddleware(own_asgi(), registry=registry, count=False)
rule = local() | token("correct-horse-battery")
with_token = VarsMiddleware(own_asgi(), registry=registry, access=rule, count=False)
"""
SERVERS = {
    "bare": "",
    "host": "proxy_set_header Host $host;",
    "host_http_1_1": "proxy_http_version 1.1; proxy_set_header Host $http_host;",
    "forwarded": "proxy_http_version 1.1; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
    "http_1_1": "proxy_http_version 1.1;",
    "unix_host": "proxy_set_header Host $host;",
    "unix_http_host": "proxy_set_header Host $http_host;",
}


class Proxy(NamedTuple):
    """nginx with one server for each way to proxy, each before the bare application and before the one with a token."""

    ports: dict[tuple[str, str], int]

    def get(self, way: str, application: str, **headers: str) -> httpx.Response:
        # The client is on this machine, too, and its requests show that in every way; nginx hides that or does not.
        return httpx.get(f"http://localhost:{self.ports[way, application]}/debug/vars", headers=headers)


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    program = tool("nginx")
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "proxied_app.py").write_text(APP)
    upstreams = {name: free_port() for name in ("application", "with_token")}
    unix = folder / "socket"
    ports = {(way, name): free_port() for way in (*SERVERS, "unix") for name in upstreams}
    servers = "".join(
        f"server {{ listen 127.0.0.1:{port}; location / {{ {SERVERS.get(way, '')} proxy_pass "
        f"{f'http://unix:{unix}' if way.startswith('unix') else f'http://127.0.0.1:{upstreams[name]}'}; }} }}\n"
        for (way, name), port in ports.items()
    )
    paths = "".join(
        f"{kind}_temp_path {folder / kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder / 'pid'}; error_log {folder / 'error'};\n"
        f"events {{}}\nhttp {{ access_log off;\n{paths}{servers}}}\n"
    )
    options = ("--log-level", "warning", "--app-dir", str(folder), "--no-proxy-headers")
    with (
        service("uvicorn", *options, "--port", str(upstreams["application"]), "proxied_app:application",
                ready=upstreams["application"]),
        service("uvicorn", *options, "--port", str(upstreams["with_token"]), "proxied_app:with_token",
                ready=upstreams["with_token"]),
        subprocess.Popen([sys.executable, "-m", "uvicorn", *options, "--uds", str(unix), "proxied_app:application"])
        as over_unix,
        subprocess.Popen([program, "-c", str(folder / "nginx.conf"), "-e", str(folder / "error")]) as process,
    ):  # fmt: skip
        try:
            proxy = Proxy(ports)
            until = time.monotonic() + 30
            while True:
                try:
                    if proxy.get("unix", "application").status_code != 502:
                        break
                except httpx.TransportError:
                    pass
                assert time.monotonic() < until, (folder / "error").read_text()
                time.sleep(0.05)
            yield proxy
        finally:
            process.terminate()
            over_unix.terminate()


@pytest.mark.parametrize("way", ["bare", "host", "host_http_1_1", "forwarded", "unix"])
def test_a_client_of_the_proxy_sees_the_applications_own_404(nginx: Proxy, way: str) -> None:
    headers = {"Host": "shop.example"} if way.startswith("host") else {}
    answer = nginx.get(way, "application", **headers)
    assert (answer.status_code, answer.text) == (404, "own")


@pytest.mark.parametrize("way", ["bare", "host", "host_http_1_1", "forwarded", "unix", "unix_host", "unix_http_host"])
def test_a_client_that_sends_no_host_sees_nothing(nginx: Proxy, way: str) -> None:
    """nginx then sends no Host, or a name from its own configuration."""
    with socket.create_connection(("127.0.0.1", nginx.ports[way, "application"])) as client:
        client.settimeout(60)
        client.sendall(b"GET /debug/vars HTTP/1.0\r\n\r\n")
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
    assert answer.split()[1] in (b"404", b"400"), answer
    assert b"31337" not in answer


@pytest.mark.parametrize("way", ["bare", "host", "host_http_1_1", "forwarded"])
def test_a_right_token_opens_it_through_the_proxy(nginx: Proxy, way: str) -> None:
    headers = {"Host": "shop.example", "Authorization": f"Bearer {TOKEN}"}
    assert nginx.get(way, "with_token", **headers).json() == {"secret": 31337}
    answer = nginx.get(way, "with_token", Host="shop.example")
    assert answer.status_code == 401
    assert "31337" not in answer.text


def test_the_known_limit(nginx: Proxy) -> None:
    """A proxy on this machine that speaks HTTP/1.1, sends a loopback Host and adds nothing looks like a local program.

    So does a proxy that passes on the Host of its client, which may be `localhost`.

    The README names this limit, and the alternatives: a credential, or the side port.
    """
    assert nginx.get("http_1_1", "application", Host="shop.example").json() == {"secret": 31337}
    assert nginx.get("host_http_1_1", "application", Host="localhost").json() == {"secret": 31337}


def test_with_a_credential_the_limit_is_the_same_so_local_is_left_out(tmp_path: Path) -> None:
    """`access=token(...)` alone refuses all requests without the token, even if they look local."""
    from pyvars import Int, Registry
    from pyvars.access import token
    from pyvars.site.default import debug
    from tests.conftest import local_request

    registry = Registry()
    registry.publish("secret", Int(31337))
    assert debug(registry, token(TOKEN), prefix="/debug").respond(local_request()).status == 401
