"""Computes the Response to a Request, for every integration; the integrations read and write HTTP.

gate       checks path, access and method of every request, in this order, and finds the view
http       Response
slots      the slots, which limit how many pages are rendered at a time
views      the views below /debug: the page, one variable, the workers, the index
history    the view /debug/history
stats      the view /api/stats
metrics    the view /metrics
default    the composition root: the tables of views by path
event_loop    runs a view that may block in a thread, for integrations on an event loop
compression   gzip, for the side port
"""
