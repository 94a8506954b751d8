"""From Request to Response without I/O, for every integration.

gate       path, access, method, view: in this order, for every request
http       Response
views      the page, one variable, the workers, the index
stats      /api/stats
metrics    /metrics
default    the composition root: which views there are, below which path
"""
