"""Spawns two workers with multiprocessing, one after the other; each prints a page."""

import json
import multiprocessing
from multiprocessing.connection import Connection
from typing import Any

import pyvars
from pyvars.site.default import debug
from tests.conftest import local_request


def worker(count: int, end: Connection) -> None:
    pyvars.publish("orders", pyvars.Int()).add(count)
    end.send(json.loads(debug(None, None, prefix="/debug").respond(local_request()).body))
    end.recv()


def pages() -> list[Any]:
    spawn = multiprocessing.get_context("spawn")
    shown, ends = [], []
    for count in (1, 10):
        mine, theirs = spawn.Pipe()
        spawn.Process(target=worker, args=(count, theirs)).start()
        shown.append(mine.recv())
        ends.append(mine)
    for end in ends:
        end.send(None)
    return shown
