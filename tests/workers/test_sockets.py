"""Workers that ask each other over sockets: a slow or silent worker, and one without threads or files."""

import fcntl
import json
import os
import select
import socket
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from pyvars.workers.asking.wire import HEAD
from tests.workers.test_damage import ORDERS, ROOT, segment
from tests.workers.test_segments import PRELUDE, file, measured

# Each line of its input is a statement, which it runs before it prints the page or another result.
TOLD = f"""{PRELUDE}
import resource, socket, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: fork in a process with threads
path = "/debug/workers"
def fork():
    if (pid := os.fork()) == 0:
        resource.setrlimit(resource.RLIMIT_NOFILE, files)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
def status_of(worker):
    about = (("host", "localhost"),), "127.0.0.1", "1.1", deadline()
    return site.respond(Request("GET", "/debug/vars", "", None, f"worker={{worker}}", *about)).status
files = resource.getrlimit(resource.RLIMIT_NOFILE)
integration()
for line in sys.stdin:
    exec(line)
    print(json.dumps(ask(path)), flush=True)
"""


@contextmanager
def peer(directory: Path) -> Iterator[socket.socket]:
    """The files of a simulated worker, for which the test answers."""
    with file(directory / "w-1-1-a", segment(ROOT, ORDERS), lives=True), socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "s-1-1-a"))
        listener.listen(64)
        listener.settimeout(30)
        yield listener


@contextmanager
def answering(listener: socket.socket, answer: Callable[[socket.socket], None]) -> Iterator[None]:
    """Calls a function with each connection, once a question has arrived."""
    ended, end = os.pipe()

    def work() -> None:
        while ended not in select.select([listener, ended], [], [])[0]:
            connection = listener.accept()[0]
            select.select([connection], [], [])
            answer(connection)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        os.close(end)
        thread.join()
        os.close(ended)


def answered(page: Any) -> list[bool]:
    return sorted(row["answered"] for row in page["workers"])


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, which may be late on a busy machine."""
    end = monotonic() + 60
    while not condition():
        assert monotonic() < end


def send(path: Path, question: bytes) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(30)
    client.connect(str(path))
    client.sendall(question)
    return client


def asked(path: Path, question: bytes) -> bytes:
    """The answer; a question of a busy machine may come too late for one, and then it is asked again."""
    answers: list[bytes] = []

    def ask() -> bool:
        with suppress(ConnectionError):
            answers.append(received(send(path, question)))
        return bool(answers and answers[-1])

    until(ask)
    return answers[-1]


def received(client: socket.socket) -> bytes:
    """All bytes received, without the header."""
    with client:
        text = b""
        while part := client.recv(1 << 20):
            text += part
    return text[HEAD.size :]


def test_one_that_answers_in_halves(tmp_path: Path) -> None:
    """It is not asked again before it has sent the rest."""
    tmp_path.chmod(0o700)
    with measured(TOLD, PYVARS_SHARE=tmp_path) as told, peer(tmp_path) as listener:
        assert answered(told.page()) == [False, True]
        connection = listener.accept()[0]
        assert connection.recv(1000) == b'{"ask":"figures"}\n'
        connection.sendall(HEAD.pack(2, monotonic()))
        for _ in range(3):
            assert answered(told.page()) == [False, True]
        listener.setblocking(False)
        assert select.select([listener], [], [], 0)[0] == []
        connection.sendall(b"{}")
        connection.close()

        def in_halves(connection: socket.socket) -> None:
            connection.recv(1000)
            connection.sendall(HEAD.pack(2, monotonic()))
            until(lambda: fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)) == bytes(4))  # the other end has read it
            connection.sendall(b"{}")
            connection.close()

        with answering(listener, in_halves):
            until(lambda: answered(told.page()) == [True, True])


def test_one_that_hangs_up(tmp_path: Path) -> None:
    """It closes the connection before it has read the question, or without an answer."""
    tmp_path.chmod(0o700)

    def read_and_close(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.close()

    with measured(TOLD, PYVARS_SHARE=tmp_path) as told, peer(tmp_path) as listener:
        for hang_up in (socket.socket.close, read_and_close):
            with answering(listener, hang_up):
                for _ in range(10):
                    assert answered(told.page()) == [False, True]
        assert told.page("path = '/debug/vars/pyvars.workers'")["live"] == 2


def test_one_that_is_silent_and_dies(tmp_path: Path) -> None:
    """Also for a child that was forked meanwhile."""
    tmp_path.chmod(0o700)
    with measured(TOLD, PYVARS_SHARE=tmp_path) as told:
        with peer(tmp_path):
            assert answered(told.page()) == [False, True]
            page = told.page("assert fork() == 0")
            assert answered(page) == [False, True]
            (row,) = (row for row in page["workers"] if not row["answered"])
            assert (row["rss_bytes"], row["cpu_seconds"]) == (0, 0)  # as of a process that has ended
        for name in ("s-1-1-a", "w-1-1-a"):  # as another worker removes them
            (tmp_path / name).unlink()
        page = told.page()
        assert (answered(page), page["live"], page["retired"]) == ([True], 1, 1)


def test_who_comes_when_many_are_waited_for_is_sent_away(tmp_path: Path) -> None:
    """The first ones do not read their answers, which are too long for the buffers."""
    tmp_path.chmod(0o700)
    long = "[pyvars.publish(f'text_{number}', pyvars.String('x' * 10_000)) for number in range(200)]"
    with measured(TOLD, PYVARS_SHARE=tmp_path) as told:
        told.page(long)
        (path,) = tmp_path.glob("s-*")
        question = b'{"ask":"page","registry":"default"}\n'
        clients = [send(path, question) for _ in range(30)]
        answers = [received(client) for client in reversed(clients)]
        assert b"" in answers
        assert len(json.loads(asked(path, question))) > 200


def test_a_worker_that_is_out_of_threads(tmp_path: Path) -> None:
    """Questions that need a thread get no answer. After a fork it has no thread to answer, after the next it has."""
    tmp_path.chmod(0o700)
    with measured(TOLD, PYVARS_SHARE=tmp_path) as told:
        assert answered(told.page("threading.stack_size(1 << 46)")) == [True]  # more memory than there is
        (path,) = tmp_path.glob("s-*")
        question = b'{"ask":"page","registry":"default","names":["gc"]}\n'
        assert received(send(path, question)) == b""
        assert json.loads(asked(path, b'{"ask":"figures"}\n'))["in_flight"] == 0
        told.page("assert fork() == 0")
        client = send(path, question)
        told.page("threading.stack_size(0)")
        client.setblocking(False)
        assert select.select([client], [], [], 0)[0] == []
        client.settimeout(30)
        told.page("assert fork() == 0")
        assert json.loads(received(client)).keys() == {"gc"}


def test_a_worker_that_is_out_of_files(tmp_path: Path) -> None:
    """As without threads; the child counts for itself."""
    tmp_path.chmod(0o700)
    with measured(TOLD, PYVARS_SHARE=tmp_path) as told:
        told.page()
        (path,) = tmp_path.glob("s-*")
        few = "resource.setrlimit(resource.RLIMIT_NOFILE, (3, files[1]))"
        told.page(f"{few}; status = fork(); resource.setrlimit(resource.RLIMIT_NOFILE, files); assert status == 0")
        client = send(path, b'{"ask":"figures"}\n')
        assert told.page("path = '/debug/vars/pyvars.workers'")["retired"] == 0
        told.page("assert fork() == 0")
        assert json.loads(received(client))["in_flight"] == 0
        assert told.page()["retired"] == 1


def test_a_place_without_sockets(tmp_path: Path) -> None:
    """As under a policy that forbids sockets: the numbers are summed, but no peer answers."""
    tmp_path.chmod(0o700)
    forbid = """
import sys
def policy(event, about):
    if event == "socket.bind":
        raise PermissionError(1, "Operation not permitted")
sys.addaudithook(policy)
"""
    with measured(forbid + TOLD, PYVARS_SHARE=tmp_path) as mute, measured(TOLD, PYVARS_SHARE=tmp_path) as told:
        mute.page("pyvars.publish('orders', pyvars.Int(3))")
        assert answered(told.page()) == [False, True]
        assert told.page("path = '/debug/vars/orders'") == 3
        assert len(list(tmp_path.glob("s-*"))) == 1


def test_one_that_owes_an_answer_is_not_asked_again_after_others_were(tmp_path: Path) -> None:
    """Also if others are asked meanwhile: it costs one deadline. Here it sends single bytes of a long answer."""
    tmp_path.chmod(0o700)
    with measured(TOLD, PYVARS_SHARE=tmp_path) as told, measured(TOLD, PYVARS_SHARE=tmp_path) as other:
        other.page()
        with peer(tmp_path) as listener:
            until(lambda: answered(told.page()) == [False, True, True])  # the other one may be late
            connection = listener.accept()[0]
            connection.sendall(HEAD.pack(10_000, monotonic()))
            for _ in range(3):
                connection.sendall(b"{")
                until(lambda: answered(told.page()) == [False, True, True])
                told.page(f"while status_of({other.process.pid}) == 504: pass")
                told.page(f"assert status_of({other.process.pid}) in (200, 504)")
            listener.setblocking(False)
            assert select.select([listener], [], [], 0)[0] == []
            connection.close()


HUGE = HEAD.pack(2**62, 0.0)
ANSWERS = {
    "nothing": b"",
    "half of a head": HUGE[:5],
    "the head of more than there is": HUGE,
    "more than it announced": HEAD.pack(2, 0.0) + b"x" * 100_000,
    "no JSON": HEAD.pack(4, 0.0) + b"{][}",
    "JSON that is no object": HEAD.pack(2, 0.0) + b"[]",
    "deep JSON": HEAD.pack(9000, 0.0) + b"[" * 9000,
}
"""Hostile answers of a peer to any question."""


@pytest.mark.parametrize("case", ANSWERS)
def test_one_that_answers_nonsense(case: str, tmp_path: Path) -> None:
    """The page has the numbers in its file; a function with combine= is null, and `pyvars.errors` names it."""
    tmp_path.chmod(0o700)
    with measured(TOLD, PYVARS_SHARE=tmp_path) as told, peer(tmp_path) as listener:

        def answer(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                connection.sendall(ANSWERS[case])

        with answering(listener, answer):
            for _ in range(3):
                page = told.page("path = '/debug/vars'; pyvars.publish('f', lambda: 1, combine='sum', exist_ok=True)")
                assert (page["orders"], page["f"]) == (1000, None)
                assert page["pyvars.errors"]["f"]["type"] == "timeout"
            assert told.page("path = '/debug/workers'")["live"] == 2


def test_a_question_that_comes_byte_by_byte(tmp_path: Path) -> None:
    """The time limit of 50 ms is for the whole question, not for each byte."""
    tmp_path.chmod(0o700)
    with measured(TOLD, PYVARS_SHARE=tmp_path) as told:
        told.page()
        (path,) = tmp_path.glob("s-*")
        sent = 0
        with send(path, b"{") as client, suppress(BrokenPipeError, ConnectionResetError):
            while sent < 60_000:
                sent += client.send(b" ")
                until(lambda: fcntl.ioctl(client, termios.TIOCOUTQ, bytes(4)) == bytes(4))  # the other end has read it
        assert sent < 60_000
        assert json.loads(asked(path, b'{"ask":"figures"}\n'))["in_flight"] == 0
