"""A real nginx in front of a server, with several configurations."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.running import Address, Running, wait_for
from tests.services import free_port

_HTTP_1_1 = 'proxy_http_version 1.1; proxy_set_header Connection "";'
_FORWARDED = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
_UPGRADE = 'proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";'
WAYS = {
    "bare": "",
    "Host passed on": "proxy_set_header Host $host;",
    "HTTP/1.1": _HTTP_1_1,
    "X-Forwarded-For": f"{_HTTP_1_1} {_FORWARDED}",
    "WebSockets": f"{_UPGRADE} proxy_set_header Host $host; {_FORWARDED}",
}
"""The directives beside `proxy_pass`, by configuration."""


@contextmanager
def proxied(program: str, server: Running, folder: Path) -> Iterator[dict[tuple[str, str], Address]]:
    """The addresses of nginx, by configuration and by its connection to the server: `tcp` or `unix`."""
    upstreams = {"tcp": f"127.0.0.1:{server.port}", **({"unix": f"unix:{server.unix}"} if server.unix else {})}
    ports = {(way, over): free_port() for way in WAYS for over in upstreams}
    servers = "\n".join(
        f"server {{ listen 127.0.0.1:{port}; location / {{ {WAYS[way]} proxy_pass http://{upstreams[over]}; }} }}"
        for (way, over), port in ports.items()
    )
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "\n".join(f"{kind}_temp_path {folder / kind};" for kind in kinds)
    settings = folder / "nginx.conf"
    settings.write_text(
        f"daemon off; master_process off; pid {folder / 'pid'};\nevents {{}}\n"
        f"http {{ access_log off;\n{paths}\n{servers}\n}}\n"
    )
    with subprocess.Popen([program, "-c", str(settings), "-e", str(folder / "error")]) as process:
        try:
            for port in ports.values():
                wait_for(("127.0.0.1", port))
            yield {way: ("127.0.0.1", port) for way, port in ports.items()}
        finally:
            process.terminate()
