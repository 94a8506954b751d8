"""What the gate costs, and whether its response time reveals how much of a token was right.

The cost is that of a request that has access but a method that is not allowed: all checks of the gate and the response,
so it is an upper bound. It is compared with a page of the built-ins: in process with every figure read anew, and over
HTTP from the side port.

The times of two wrong tokens, one wrong in its first byte and one in its last, are compared; the row `control` compares
the first with itself, and so shows the noise of the machine.
"""

import http.client
import time
from statistics import median

import pyvars
from pyvars.access import local, token
from pyvars.runtime import install
from pyvars.runtime.reading import expire
from pyvars.site.default import debug

from .page import REQUEST
from .table import RATIOS, nanoseconds, print_table, ratio_row, take_turns

ROUNDS = 40
TOKEN = "0123456789abcdef0123456789abcdef"


def timed(call, times, before=lambda: None):
    """The median time of a call, in ns."""
    clock, spent = time.perf_counter_ns, []
    for _ in range(times):
        before()
        started = clock()
        call()
        spent.append(clock() - started)
    return median(spent)


def remote(credential):
    """A request from another machine with this token."""
    headers = (("host", "shop.example"), ("authorization", f"Bearer {credential}"))
    return REQUEST._replace(peer="203.0.113.9", headers=headers)


def main():
    registry = pyvars.Registry()
    install(registry)
    site = debug(registry, local(), prefix="/debug")
    refused = REQUEST._replace(method="POST")
    gate = lambda: timed(lambda: site.respond(refused), 2000)  # noqa: E731
    cold = lambda: timed(lambda: site.respond(REQUEST), 200, expire)  # noqa: E731
    rows = [
        ratio_row("the gate", "a page, in process, cold", take_turns(gate, cold, ROUNDS), nanoseconds, at_most=0.05)
    ]
    with pyvars.serve(0, registry=registry) as server:
        connection = http.client.HTTPConnection(server.host, server.port)

        def scrape():
            connection.request("GET", "/debug/vars")
            connection.getresponse().read()

        pairs = take_turns(gate, lambda: timed(scrape, 100, expire), ROUNDS)
        rows.append(ratio_row("the gate", "a scrape of the side port", pairs, nanoseconds, at_most=0.05))
        connection.close()

    guarded = debug(registry, token(TOKEN, TOKEN[::-1]), prefix="/debug")
    first, last = remote("x" + TOKEN[1:]), remote(TOKEN[:-1] + "x")
    assert guarded.respond(remote(TOKEN)).status == 200
    assert guarded.respond(first).status == guarded.respond(last).status == 401

    def answer(request):
        return lambda: timed(lambda: guarded.respond(request), 3000)

    for what, ours in (("token wrong in its last byte", last), ("control: wrong in its first byte", first)):
        pairs = take_turns(answer(ours), answer(first), 100)
        rows.append(ratio_row(what, "wrong in its first byte", pairs, nanoseconds))
    print_table("The gate", RATIOS, rows)


if __name__ == "__main__":
    main()
