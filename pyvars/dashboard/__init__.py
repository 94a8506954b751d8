"""The page that people look at in a browser: one HTML, one CSS, JavaScript in modules, and uPlot for the charts.

`GET /debug/` is the page if the client accepts HTML, as browsers do; to others it is the list of paths, as `/debug` is
to everybody. The page reads `history`, `vars` and `workers` beside it, by relative URLs, at most once a second; a
hidden page reads nothing. Where there is no history it keeps its own, and says so.

files       the files in `assets` and `vendor`, as they are served: below a path that holds their hash, so that browsers
            keep them for a year, and compressed once
views       the page and the files as views

The JavaScript takes no tool to build: the modules in `assets` are joined when the first integration is made. `vendor`
holds uPlot 1.6.32 as npm has it, with its licence.
"""
