"""The variables, and the registry of their names. Uses the standard library only, and does no I/O.

_cells.c, cells, counts, buckets        the numbers of an Int or Float, of a Map, and of a Histogram in memory
exact                                   numbers of programs made exact, or errors about them
variables, functions, map, histogram    the variables that can be published
registry                                publishes variables under names
spans                                   times or tracks a block of code, or the calls of a function
clock                                   the clock of deadlines
log                                     writes warnings to the log of the program, from a thread
resources                               locks, threads, files, sockets and shared memory, around a fork
version                                 the version of pyvars
"""
