#!/bin/sh
# expvarmon: the page in a terminal, with a line of history for each figure.
#
# Reads the figures that -vars names, with a dot between the parts; `\.` is a dot within a name. mem: and duration: are
# for whole numbers of bytes and nanoseconds, str: for strings; a list is the mean of its numbers. Without -vars it
# shows memory and pauses. The name of the program is that in `cmdline`.
# Cannot show
#   a float as mem: or duration: (without a kind it has two decimals); all keys of a Map at once: there are no
#   wildcards; anything at all of a page without `cmdline` or memstats.PauseTotalNs.
# It gives up after 1 s, and says "restarted" when PauseTotalNs falls, which among several workers it never does.
#
# For localhost:8000/debug/vars, write -ports=8000. For a page with a token, set HTTP_USER (any) and HTTP_PASSWORD (the
# token). Other paths: -endpoint=/status/vars. Without a terminal: -dummy.
#
# Run: expvarmon 8e0b3d2 against a side port.

vars='mem:memstats.HeapAlloc,mem:memstats.HeapIdle,mem:process.rss_bytes,duration:memstats.PauseTotalNs,memstats.NumGC'
vars="$vars,orders,orders_by_state.refused,revenue_eur,str:shop_version"
exec expvarmon -ports=6060 -i=1s -vars="$vars"',pyvars\.workers.live' "$@"
