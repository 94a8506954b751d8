"""One truth across worker processes: the page of each worker shows the numbers of all workers of its group.

The workers of a group are the processes of one program on one machine: those that one process forked, or started
through multiprocessing. They find each other by what /proc says of them. Each writes its numbers, 8 bytes each, to a
file of its own below /dev/shm/pyvars-<uid> (mode 0700; below $XDG_RUNTIME_DIR or the temporary directory where there
is no /dev/shm), and the worker that is asked adds them up. There is no daemon, no leader, and no lock between
processes when a program counts. A program without an integration makes no file.

What the page shows, and what happens when a worker ends or is killed; a restart of the program begins at 0:

Int, Float, Map, Histogram     the sum over all workers; what ended workers counted stays
the same with gauge=True       the sum over the live workers
functions with combine=        the sum, maximum or minimum over the live workers; or null, if one of them does not
                               answer
other functions, String        the value of the worker that answers
memstats, gc, process,         sums over the workers; of pauses and lags the longest; the last 256 pauses of all. What
  threads, asyncio             ended workers counted stays. process.pid and the names of threads are of the worker that
                               answers; process.start_time_seconds is that of the first worker
cmdline, python                of the worker that answers
/metrics, /api/stats           as the page, whichever worker answers
/status/                       of the worker that answers, and of its machine or container

/debug/workers has a row for each live worker: pid, state, start, CPU seconds, resident memory, threads, requests,
whether it answered; and, null if it did not: lag of its event loop, requests in flight, age of the oldest,
HeapAlloc. The states: `ok`; `blocked`, whose event loop has not run for over a second, or which has no loop and a
request that takes over 30 s; `stopped`, by SIGSTOP or a debugger; `silent`, which does not answer. `?worker=<pid>`
on a page is one worker's own page, `?worker=all` has those of all by pid.

`value`, `set`, `delete` and `clear` act on the share of this process. A name is on the page while a live worker
publishes it. A forked child begins at 0. Sums end at 64 bits. Memory that processes share since a fork counts in
each.

PYVARS_SHARE=off turns sharing off; PYVARS_SHARE=<directory> names the directory of the group. It is for pyvars
alone: a directory that holds other files is refused, and counts stay as long as it does. If the directory is removed
while the service runs, its workers meet again within seconds; the counts of workers that had ended are lost. If
there is no room, or /proc hides who belongs together, a process counts for itself until that changes:
`pyvars.workers.shared` is then false, and `reason` says why. Programs of the same user can truncate these files, and
thereby end a process that counts in them: this holds for every file that is mapped into memory.

Limits:

- Several machines or containers are several groups. What only the code of a worker can tell (functions, event loops,
  memory) is known while it answers; of a worker that is stopped the latest is shown.
- A worker that gives up root after it was forked from a master that imported the application (`gunicorn --preload
  --user`) cannot read what the master counted while it imported. Its own counts are exact.
- Under gevent and eventlet pyvars runs no threads: numbers are exact, those of a worker that changed its user come in
  when it answers a page; functions have no deadline, and workers cannot be asked (`threads` is false).
- A pool of processes that was started before the program had an integration counts for itself.
- What a child counts before the fork hooks of pyvars run (in a hook registered before `import pyvars`) counts for the
  parent. C code that forks without Python's hooks, except uWSGI, writes into the numbers of the parent until the
  child answers a page.
- uWSGI's master forks without the GIL, so a thread in it, whoever started it, can block a new worker for ever
  (unbit/uwsgi#2387). pyvars runs none there; call `serve()` in a worker (uwsgidecorators.postfork).
- A trace function (sys.settrace) that counts while it traces pyvars can lose what it interrupts.

The code is in four rooms; of the others, each imports only those before it.

together      finds in /proc which processes are the workers of one group, and the group directory where they meet
numbers       keeps the numbers of each worker in a file of its own in that directory, its segment; a page reads the
              segments of all peers and adds them up. When a worker has died, the first peer that notices folds its
              segment: it adds the counts, not the gauges, to the file `retired` in that directory
asking        asks a live peer, over a unix socket beside its segment, for what only its own code can tell: values of
              the program's functions, whole pages, fresh runtime figures
membership    makes this process a worker of its group (member), and brings the sums to the page (peers)

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
"""Requests that the integrations of this process received, those for the page too; /debug/workers shows the count of
each worker."""


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
    """Whether this process has or had peers; if so, a page may have to wait for their answers."""
    return MEMBER.group is not None and MEMBER.group.has_peers()


def live_pids() -> list[int]:
    """The pids of the live workers, in order, that of this process included. Asks no peer."""
    reading = MEMBER.read_group()
    return sorted({os.getpid(), *(peer.pid for peer in reading.live)} if reading is not None else {os.getpid()})


def ask(registry: Registry, question: Question, deadline: float, pids: Collection[int]) -> dict[int, bytes]:
    """Ask the live workers with these pids a question about the registry, and return their answers by pid.

    The answer is empty for a worker that did not answer by the deadline; one that was silent before is asked, too. This
    process is asked over its own socket, if its pid is given and it runs threads. A pid that no live worker has is
    missing from the answers.
    """
    return MEMBER.ask({**question, "registry": MEMBER.registry_key(registry)}, deadline, pids, True)


def workers(deadline: float) -> dict[str, object]:
    """The content of /debug/workers: the figures of `pyvars.workers`, and a row for each live worker, oldest first."""
    reading = MEMBER.read_group(deadline - MARGIN_SECONDS, renew=True)
    rows = [own_row(), *map(peer_row, reading.live if reading is not None else [])]
    rows.sort(key=lambda row: (row["start_time_seconds"] or 0, row["pid"]))
    return {**Workers().figures(), "workers": rows}
