"""The application on the servers: a probe that reports scope or environ, and pyvars with every rule of the shapes.

The header X-Rule selects the rule, so that one server process serves all shapes; without it the rule is `local()`.
"""

import json
import logging
import os
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Mount
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from pyvars import asgi, wsgi
from pyvars.access import Access, basic, local, networks, token

logging.getLogger("pyvars").addHandler(logging.FileHandler(os.environ.get("PYVARS_TEST_LOG", os.devnull)))

TOKEN = "correct-horse-battery"
PASSWORD = "staple:\u00e9-battery"  # a colon and a letter of two bytes are allowed in it
OWN = b"own"
"""The body of the application's own 404."""

RULES: dict[str, Access] = {
    "local": local(),
    "token": token(TOKEN),
    "basic": basic("ann", PASSWORD),
    "either": local() | token(TOKEN),
    "networks": networks("127.0.0.0/8", hosts=("metrics.internal",)),
}


async def own_asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    probed = "probe" in scope["path"]
    body = json.dumps(_told_asgi(scope)).encode() if probed else OWN
    headers = [(b"content-length", str(len(body)).encode()), (b"x-application", b"own")]
    await send({"type": "http.response.start", "status": 200 if probed else 404, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _told_asgi(scope: Any) -> dict[str, Any]:
    client, server, raw_path = scope.get("client"), scope.get("server"), scope.get("raw_path")
    if client is None:
        unix = server is not None and server[1] is None
        peer = "client None, server (path, None)" if unix else f"client None, server {server}"
    else:
        peer = client[0]
    return {
        "peer": peer,
        "version": scope["http_version"],
        "path": scope["path"],
        "raw": None if raw_path is None else ["raw_path", raw_path.decode("latin-1")],
        "headers": [[name.decode("latin-1").lower(), value.decode("latin-1")] for name, value in scope["headers"]],
    }


def own_wsgi(environ: Any, start_response: Any) -> list[bytes]:
    probed = "probe" in environ.get("PATH_INFO", "")
    body = json.dumps(_told_wsgi(environ)).encode() if probed else OWN
    start_response(
        "200 OK" if probed else "404 Not Found", [("Content-Length", str(len(body))), ("X-Application", "own")]
    )
    return [body]


def _told_wsgi(environ: Any) -> dict[str, Any]:
    return {
        "peer": environ.get("REMOTE_ADDR", "none"),
        "version": environ["SERVER_PROTOCOL"],
        "path": environ["PATH_INFO"],
        "raw": next(([name, environ[name]] for name in ("RAW_URI", "REQUEST_URI") if name in environ), None),
        "headers": [
            [name[5:].lower().replace("_", "-"), value] for name, value in environ.items() if name.startswith("HTTP_")
        ],
    }


_ASGI = {name: asgi.VarsMiddleware(own_asgi, access=access, count=False) for name, access in RULES.items()}
_ASGI_MOUNTED = Starlette(routes=[Mount("/in ner", asgi.DebugApp())])
_WSGI = {name: wsgi.VarsMiddleware(own_wsgi, access=access, count=False) for name, access in RULES.items()}
_WSGI_MOUNTED = DispatcherMiddleware(own_wsgi, {"/in ner": wsgi.DebugApp()})


async def asgi_application(scope: Any, receive: Any, send: Any) -> None:
    rule = next((value.decode() for name, value in scope.get("headers", ()) if name.lower() == b"x-rule"), "local")
    await _ASGI.get(rule, _ASGI_MOUNTED)(scope, receive, send)


def wsgi_application(environ: Any, start_response: Any) -> Any:
    return _WSGI.get(environ.get("HTTP_X_RULE", "local"), _WSGI_MOUNTED)(environ, start_response)
