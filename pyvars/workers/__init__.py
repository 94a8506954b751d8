"""The page of each worker process shows the numbers of all workers of its group.

A group is the processes of one program on one machine: a process and those that it forked or started through
multiprocessing. They find each other in /proc. Each worker writes its numbers, 8 bytes each, to a file of its own
below /dev/shm/pyvars-<uid> (mode 0700; without /dev/shm below $XDG_RUNTIME_DIR or the temporary directory), and the
worker that answers a request adds up all these files. There is no daemon and no leader, and counting takes no lock
between processes. A program without an integration makes no file.

What the page shows, and what happens when a worker ends or is killed; a restart of the program begins at 0:

Int, Float, Map, Histogram     the sum over all workers; what dead workers counted is kept
the same with gauge=True       the sum over the live workers
functions with combine=        the sum, maximum or minimum over the live workers; or null, if one of them does not
                               answer
other functions, String        the value of the worker that answers
memstats, gc, process,         sums over the workers; the longest pause and lag; the last 256 pauses of all workers.
  threads, asyncio             What dead workers counted is kept. process.pid and the names of threads are those of the
                               worker that answers; process.start_time_seconds is that of the first worker
cmdline, python                the value of the worker that answers
/metrics, /api/stats           the same numbers as the page, whichever worker answers
/status/                       the worker that answers, and its machine or container

/debug/workers has a row for each live worker: pid, state, start, CPU seconds, resident memory, threads, requests,
whether it answered; and, null if it did not answer: the lag of its event loop, its requests in flight, the age of the
oldest one, HeapAlloc. The states: `ok`; `blocked`: its event loop has not run for over a second, or it has no loop and
a request takes over 30 s; `stopped`: by SIGSTOP or a debugger; `silent`: it does not answer. `?worker=<pid>` shows the
own page of one worker, `?worker=all` the own pages of all workers, by pid. `requests` are those that VarsMiddleware,
DebugApp and the side port received, with those for the page; `http` counts the requests of the service.

`value`, `set`, `delete` and `clear` act on the numbers of this process alone. A name is on the page while a live worker
publishes it. A forked child begins at 0. Sums have 64 bits: a larger one is shown as the largest number. Memory that
processes share since a fork is counted for each of them.

PYVARS_SHARE=off turns sharing off; PYVARS_SHARE=<directory> names the directory of the group, for pyvars alone: a
directory that holds other files is refused. There counts are kept when the program restarts, until the directory is
removed. If the directory of a group is removed while the service runs, its workers make it again within seconds; the
counts of dead workers are lost. If there is no room, or /proc hides which processes belong together, a process counts
for itself until that changes: `pyvars.workers.shared` is then false, and `reason` says why. Another program of the same
user can truncate these files, which kills a process that counts in them (SIGBUS), as with every mapped file.

Limits:

- Each machine and each container has a group of its own. Only a worker itself can tell the values of its functions,
  its event loops and its memory; for a worker that does not answer, the page shows what it told last.
- A worker that gives up root after it was forked from a master that imported the application (`gunicorn --preload
  --user`) cannot read what the master counted while it imported. Its own counts are exact.
- Under gevent and eventlet pyvars runs no threads. Numbers are exact, but those of a worker that changed its user are
  missing until it answers a page; functions have no deadline, and workers cannot be asked (`threads` is false).
- A pool of processes that was started before the program had an integration is not in the group.
- What a child counts before the fork hooks of pyvars run (in a hook registered before `import pyvars`) counts for the
  parent. A child that C code, other than uWSGI, forked without Python's hooks counts for the parent until it answers
  a page.
- uWSGI's master forks without the GIL, so any thread in it can block a new worker for ever (unbit/uwsgi#2387). pyvars
  runs none there; call `serve()` in a worker (uwsgidecorators.postfork).
- If a trace function (sys.settrace) counts while it traces code of pyvars, the count that it interrupts can be lost.

The code is in four subpackages; each imports only those above it.

together      finds in /proc which processes are the workers of one group, and the group directory where they meet
numbers       keeps the numbers of each worker in a file in that directory, the segment of the worker; a page adds up
              the segments of all peers (the other workers). When a worker has died, the first peer that notices folds
              its segment: it adds the counts, not the gauges, to the file `retired` in that directory
asking        asks a live peer, over a unix socket beside its segment, for what only its own code can tell: values of
              the program's functions, whole pages, fresh runtime figures
membership    makes this process a worker of its group (member), and gives the page its sums (peers)

The rest of pyvars uses the functions below; `collect`, `site` and `server` also membership, and `collect` numbers.
"""

import os
from collections.abc import Callable, Collection

import pyvars
from pyvars.core.cells import IntCell
from pyvars.core.registry import Registry
from pyvars.workers.asking.wire import Question
from pyvars.workers.membership.census import Workers
from pyvars.workers.membership.member import MEMBER
from pyvars.workers.membership.peers import MARGIN_SECONDS, Peers
from pyvars.workers.membership.rows import own_row, peer_row

__all__ = ("MEMBER", "REQUESTS", "Peers", "ask", "has_peers", "join", "live_pids", "share", "peers", "workers")

REQUESTS: IntCell = MEMBER.requests
"""Requests that the integrations of this process received, including those for the page; shown in /debug/workers."""


def share(registry: Registry, answer: Callable[[Registry, Question], bytes] | None = None) -> None:
    """Join the group of this process, if it has not joined yet, and share the numbers of the registry with it.

    `answer` computes the answer to a peer that asks for a page or for values of functions. If there is no group
    directory this does not raise: the numbers stay private, and `pyvars.workers` shows the reason.
    """
    MEMBER.answer = answer or MEMBER.answer
    MEMBER.share(registry, default=registry is pyvars.default_registry)


def join(registry: Registry) -> bool:
    """Share the default registry if the group directory exists already; returns whether it is shared.

    Unlike `share`, this makes no directory, so a program without an integration leaves no file.
    """
    return MEMBER.join(registry)


def peers(registry: Registry, deadline: float) -> Peers | None:
    """What the peers add to a page of the registry.

    None if this process has and had no peers and shares all its numbers, or if the registry is not shared. Waits up to
    50 ms for live peers to write their runtime figures, but not past the deadline (of time.monotonic).
    """
    key = MEMBER.registry_key(registry)
    reading = MEMBER.read_group(deadline)
    own = MEMBER.own
    if key is None or own is None or reading is None or (reading.is_empty and not MEMBER.error):
        return None
    return Peers(MEMBER, reading, key, own.source())


def has_peers() -> bool:
    """Whether this process has or had peers, so that a page may have to wait for their answers."""
    return MEMBER.group is not None and MEMBER.group.has_peers()


def live_pids() -> list[int]:
    """The pids of the live workers, in order, that of this process included. Asks no peer."""
    reading = MEMBER.read_group()
    return sorted({os.getpid(), *(peer.pid for peer in reading.live)} if reading is not None else {os.getpid()})


def ask(registry: Registry, question: Question, deadline: float, pids: Collection[int]) -> dict[int, bytes]:
    """Ask the live workers with these pids a question about the registry, and return their answers by pid.

    The answer is empty for a worker that did not answer by the deadline; a worker that was silent before is asked, too.
    If the pid of this process is given and it runs threads, it asks itself over its own socket. A pid that no live
    worker has is missing from the answers.
    """
    return MEMBER.ask({**question, "registry": MEMBER.registry_key(registry)}, deadline, pids, True)


def workers(deadline: float) -> dict[str, object]:
    """The content of /debug/workers: the figures of `pyvars.workers`, and a row for each live worker, oldest first."""
    reading = MEMBER.read_group(deadline - MARGIN_SECONDS, renew=True)
    rows = [own_row(), *map(peer_row, reading.live if reading is not None else [])]
    rows.sort(key=lambda row: (row["start_time_seconds"] or 0, row["pid"]))
    return {**Workers().figures(), "workers": rows}
