#!/bin/sh
# expvarmon: the page in a terminal, with a line of history for each figure.
#
# Reads the figures that -vars names, with a dot between the parts; `\.` is a dot within a name. mem: is for whole numbers
# of bytes, duration: for whole numbers of nanoseconds, str: for strings; of a list it shows the mean. Without -vars it
# shows memory and pauses. It takes the name of the program from `cmdline`.
# Cannot show
#   a float as mem: or duration: (without a kind it has two decimals); all keys of a Map at once: there are no
#   wildcards; anything at all of a page without `cmdline` or memstats.PauseTotalNs.
# It gives up after 1 s. It shows "restarted" when PauseTotalNs falls; when a worker ends, PauseTotalNs does not fall.
#
# For localhost:8000/debug/vars, write -ports=8000. For a page with a token, set HTTP_USER (any) and HTTP_PASSWORD (the
# token). Other paths: -endpoint=/status/vars. Without a terminal: -dummy.
#
# Run: expvarmon 8e0b3d2 against a side port.

vars='mem:memstats.HeapAlloc,mem:memstats.HeapIdle,mem:process.rss_bytes,duration:memstats.PauseTotalNs,memstats.NumGC'
vars="$vars,orders,orders_by_state.refused,revenue_eur,str:shop_version"
exec expvarmon -ports=6060 -i=1s -vars="$vars"',pyvars\.workers.live' "$@"
