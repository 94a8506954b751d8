"""The page of each worker process shows the numbers of all workers of its group.

A group is the processes of one program on one machine: a process and those that it forked or started through
multiprocessing. They find each other in /proc. Each worker writes its numbers, 8 bytes each, to a file of its own below
/dev/shm/pyvars-<uid> (mode 0700; without /dev/shm below $XDG_RUNTIME_DIR or the temporary directory). The worker that
answers a request adds up the files of all workers. The sums need no daemon and no leader, and counting takes no lock
between processes. A program without an integration makes no file.

The page shows, for each kind of variable (all numbers begin at 0 when the program starts again):

Int, Float, Map, Histogram     the sum over all workers; the counts of dead workers (ended or killed) are kept
the same with gauge=True       the sum over the live workers
functions with combine=        the sum, maximum or minimum over the live workers; null if one of them has no value
other functions, String        the value of the worker that answers
memstats, gc, process,         sums over the workers; the longest pause and lag; the last 256 pauses of all workers.
  threads, asyncio             The counts of dead workers are kept. process.pid and the names of threads are those of
                               the worker that answers; process.start_time_seconds is that of the first worker
cmdline, python                the value of the worker that answers
/metrics, /api/stats           the same numbers as the page, whichever worker answers
/status/                       the worker that answers, and its machine or container

/debug/workers has a row for each live worker: its pid, state, start, CPU seconds, resident memory, threads, requests,
and whether it answered. The row also has the lag of its event loop, its requests in flight, the age of the oldest one,
and HeapAlloc; these figures are null if the worker did not answer. A worker is `blocked` if its event loop has not run
for over a second, or if it has no event loop and a request takes over 30 s. It is `stopped` if SIGSTOP or a debugger
has stopped it, `silent` if it does not answer, and otherwise `ok`. `requests` counts what VarsMiddleware, DebugApp and
the side port received, including requests for the page, but no WebSockets. `/debug/vars?worker=<pid>` is the page of
one worker with its own numbers alone; `?worker=all` returns such a page for each worker, by pid.

`value`, `set`, `delete` and `clear` act on the numbers of this process alone. A name is on the page while a live worker
publishes it. A forked child begins at 0. Integer sums have 64 bits: a sum that does not fit is shown as the largest
number of 64 bits. Memory that a fork made several workers share is in the memory figures of each of them, so the sums
count it several times.

PYVARS_SHARE=off (or 0) turns sharing off. PYVARS_SHARE=<absolute path> names the directory of the group; pyvars refuses
a directory that holds other files. In such a directory counts are kept when the program starts again, until somebody
removes the directory. If the directory of a group is removed while the service runs, its workers make it again within
seconds, but the counts of dead workers are lost. A process counts in private memory while there is no room for its
file, or while /proc hides which processes belong together: `pyvars.workers.shared` is then false, and `reason` says
why. Another program of the same user can truncate these files; that kills a process that counts in them (SIGBUS).

Limits:

- Each machine and each container has a group of its own. Only a worker itself can read the values of its functions,
  its event loops and its memory. If a worker does not answer, the page uses the last values that it answered.
- If a worker gives up root after it was forked from a master that imported the application (`gunicorn --preload
  --user`), it cannot read what the master counted during the import. Its own counts are exact.
- Under gevent and eventlet pyvars runs no threads (`threads` is false). Numbers are exact, but those of a worker that
  changed its user are missing until it answers a page; functions have no deadline, and workers do not ask each other.
- The processes of a pool that was started before the program had an integration are not in the group.
- A fork hook that was registered before `import pyvars` runs in the child before those of pyvars: what it counts is
  added to the numbers of the parent. If C code other than uWSGI forks a child without Python's hooks, what the child
  counts is added to the numbers of the parent until the child answers a page.
- uWSGI's master forks without the GIL, so any thread in it can block a new worker for ever (unbit/uwsgi#2387). pyvars
  runs none there: call `serve()` in a worker (uwsgidecorators.postfork).
- Without the C extension, if a trace function (sys.settrace) counts while it traces code of pyvars, the count that it
  interrupts can be lost.

The code is in four subpackages; each imports only those above it.

together      finds in /proc which processes are the workers of one group; finds or makes the group directory
numbers       keeps the numbers of each worker in a file in that directory, the segment of the worker; adds up the
              segments of the peers (the other workers) for a page. When a worker has died, the first peer that notices
              folds its segment: it adds the counts, not the gauges, to the retired file in that directory
asking        asks a live peer, over a unix socket beside its segment, for what only that process can read: values of
              the program's functions, whole pages, current runtime figures
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
"""Counts the requests that the integrations of this process received: also those for the page, but no WebSockets."""


def share(registry: Registry, answer: Callable[[Registry, Question], bytes] | None = None) -> None:
    """Join the group of this process, if it has not joined yet, and share the numbers of the registry with it.

    `answer` answers the questions of peers, except those for runtime figures. If joining fails, the numbers stay
    private, and `pyvars.workers` shows the reason; this does not raise. Thread-safe. A forked child joins by itself.
    """
    MEMBER.answer = answer or MEMBER.answer
    MEMBER.share(registry, default=registry is pyvars.default_registry)


def join(registry: Registry) -> bool:
    """Share the default registry if the group directory exists already. Returns False if there is none yet.

    Unlike `share`, this makes no directory, so a program without an integration leaves no file. Thread-safe.
    """
    return MEMBER.join(registry)


def peers(registry: Registry, deadline: float) -> Peers | None:
    """Returns what the peers add to a page of the registry; None if they add nothing, or it is not shared.

    Waits up to 50 ms for live peers to write their runtime figures, but not past the deadline (on the clock of
    time.monotonic). Thread-safe.
    """
    key = MEMBER.registry_key(registry)
    reading = MEMBER.read_group(deadline)
    own = MEMBER.own
    if key is None or own is None or reading is None or (reading.is_empty and not MEMBER.error):
        return None
    return Peers(MEMBER, reading, key, own.source())


def has_peers() -> bool:
    """Whether this process has or had peers, so that a page may have to wait for answers."""
    return MEMBER.group is not None and MEMBER.group.has_peers()


def live_pids() -> list[int]:
    """The pids of the live workers, ascending, with that of this process. Asks no peer."""
    reading = MEMBER.read_group()
    return sorted({os.getpid(), *(peer.pid for peer in reading.live)} if reading is not None else {os.getpid()})


def ask(registry: Registry, question: Question, deadline: float, pids: Collection[int]) -> dict[int, bytes]:
    """Ask the live workers with these pids a question about the registry. Returns their answers by pid.

    The answer is empty if a worker did not answer by the deadline (on the clock of time.monotonic). A worker that still
    owes an earlier answer is asked, too. If `pids` has the pid of this process, and its server runs, it asks itself
    over its own socket. A pid that is not of a live worker is missing from the answers.
    """
    return MEMBER.ask({**question, "registry": MEMBER.registry_key(registry)}, deadline, pids, True)


def workers(deadline: float) -> dict[str, object]:
    """The content of /debug/workers: the figures of `pyvars.workers`, and a row for each live worker, oldest first."""
    reading = MEMBER.read_group(deadline - MARGIN_SECONDS, renew=True)
    rows = [own_row(), *map(peer_row, reading.live if reading is not None else [])]
    rows.sort(key=lambda row: (row["start_time_seconds"] or 0, row["pid"]))
    return {**Workers().figures(), "workers": rows}
