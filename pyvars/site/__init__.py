"""Makes the Response to a Request, for every integration, without I/O of HTTP.

gate       the gate: path, access, method, view, in this order, for every request
http       Response
slots      the slots for rendering
views      the views below /debug: the page, one variable, the workers, the index
stats      the view /api/stats
metrics    the view /metrics
default    the composition root: the tables of views by path
"""
