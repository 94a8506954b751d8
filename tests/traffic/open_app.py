"""A service with an event stream and a WebSocket, as an ASGI and as a WSGI application."""

import asyncio
import time

from flask import Flask, Response
from flask_sock import Sock
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect

from pyvars import wsgi as integration
from pyvars.access import anyone
from pyvars.asgi import Traffic, VarsMiddleware

TRAFFIC = Traffic(exclude=("/healthz",), bounds=(0.5, 60, 120))


async def healthz(request):
    return PlainTextResponse("ok")


async def events(request):
    async def parts():
        while True:
            yield "data: x\n\n"
            await asyncio.sleep(0.01)

    return StreamingResponse(parts(), media_type="text/event-stream")


async def echo(socket):
    await socket.accept()
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect:
        pass


_asgi = Starlette(routes=[Route("/healthz", healthz), Route("/events", events), WebSocketRoute("/ws", echo)])
asgi = VarsMiddleware(_asgi, access=anyone(), count=TRAFFIC)

flask = Flask(__name__)
_sock = Sock(flask)


@flask.route("/healthz")
def flask_healthz():
    return "ok"


@flask.route("/events")
def flask_events():
    def parts():
        while True:
            yield "data: x\n\n"
            time.sleep(0.01)

    return Response(parts(), mimetype="text/event-stream")


@_sock.route("/ws")
def flask_echo(ws):
    while True:
        ws.send(ws.receive())


wsgi = flask.wsgi_app = integration.VarsMiddleware(flask.wsgi_app, access=anyone(), count=TRAFFIC)
