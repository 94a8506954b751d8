"""The page in a browser: an HTML file, a CSS file, JavaScript modules, and uPlot for the charts.

`GET /debug/` returns this page to clients that accept HTML, as browsers do. It returns the list of paths to others;
`/debug` returns that list to everybody. The page in a browser reads `history`, `vars` and `workers` by relative URLs,
each at most once a second; while it is hidden it reads nothing. If there is no history, it keeps the numbers that it
has read, and says so.

files       joins and compresses the files in `assets` and `vendor`; their URLs hold a hash, so that browsers may keep
            them for a year
views       the views that serve the page and the files

No build tool is needed: the modules in `assets` are joined when the first integration is made. `vendor` holds uPlot
1.6.32, unchanged from npm, with its licence.
"""
