"""Starts a server that has no command of its own: `python -m tests.servers.launch NAME PORT PATH`.

It listens on this port of 127.0.0.1, and on a unix socket at the path if the server supports that.
"""

import os
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from tests.servers.app import wsgi_application


def waitress(port: int, path: str, **options: Any) -> None:
    import waitress

    over_unix = waitress.create_server(wsgi_application, unix_socket=path, **options)
    threading.Thread(target=over_unix.run, daemon=True).start()
    waitress.serve(wsgi_application, listen=f"127.0.0.1:{port}", **options)


def waitress_renamed(port: int, path: str) -> None:
    waitress(port, path, ident=None)


def cheroot(port: int, path: str) -> None:
    from cheroot.wsgi import Server

    threading.Thread(target=Server(path, wsgi_application, numthreads=2).start, daemon=True).start()
    Server(("127.0.0.1", port), wsgi_application, numthreads=2).start()


def wsgiref(port: int, _: str) -> None:
    from wsgiref.simple_server import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    make_server("127.0.0.1", port, wsgi_application, handler_class=Quiet).serve_forever()


def werkzeug(port: int, path: str) -> None:
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, type: str, message: str, *args: Any) -> None:
            pass

    unix = make_server(f"unix://{path}", 0, wsgi_application, threaded=True, request_handler=Quiet)
    threading.Thread(target=unix.serve_forever, daemon=True).start()
    make_server("127.0.0.1", port, wsgi_application, threaded=True, request_handler=Quiet).serve_forever()


def eventlet(port: int, path: str) -> None:
    import eventlet
    import eventlet.wsgi

    eventlet.spawn(eventlet.wsgi.server, eventlet.listen(path, socket.AF_UNIX), wsgi_application, log_output=False)
    eventlet.wsgi.server(eventlet.listen(("127.0.0.1", port)), wsgi_application, log_output=False)


def gevent(port: int, path: str) -> None:
    from gevent.pywsgi import WSGIServer

    unix = socket.socket(socket.AF_UNIX)
    unix.bind(path)
    unix.listen()
    unix.setblocking(False)
    WSGIServer(unix, wsgi_application, log=None).start()
    WSGIServer(("127.0.0.1", port), wsgi_application, log=None).serve_forever()


SERVERS: dict[str, Callable[[int, str], None]] = {
    each.__name__: each for each in (waitress, waitress_renamed, cheroot, wsgiref, werkzeug, eventlet, gevent)
}

if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    name, port, path = sys.argv[1:]
    SERVERS[name](int(port), path)
