"""The page in a browser: a file of HTML, one of CSS, modules of JavaScript, and uPlot, which draws the charts.

`GET /debug/` returns this page to a client that accepts HTML, as browsers do, and the list of paths to any other
client. `GET /debug` returns the list of paths to every client. The page requests `history`, `vars` and `workers` by
relative URLs, at most once a second; a hidden page requests nothing. If the service keeps no history, the page keeps
one of its own while it is open, and says so.

files       the files of `assets` and `vendor`, compressed once. The path of each has a hash, so that browsers may keep
            the file for a year
views       the views of the page and of its files

The JavaScript needs no build step: pyvars joins the modules in `assets` when the first integration is made. `vendor`
holds the unchanged uPlot 1.6.32 of npm, with its licence.
"""
