"""Variables and their names. Standard library only, and no I/O.

_cells.c, cells, counts, buckets    where numbers live in memory: of an Int or Float, of a Map, of a Histogram
variables, functions, map, histogram    what can be published
registry                            the names
spans                               a block of code or a call of a function, timed or tracked
version                             the version of pyvars
"""
