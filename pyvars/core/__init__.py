"""The variables, the registry of their names, and what the rest of pyvars is built on. Needs only the standard library.

_cells.c, cells, counts, buckets        the numbers of an Int or Float, of a Map, and of a Histogram in memory
exact                                   converts numbers of the program to what an Int or Float holds, or raises
variables, functions, map, histogram    the variables that can be published
registry, names, sharing                publishes variables under names; checks names; publishes a name twice
spans                                   calls a function before and after a block of code or a call
clock                                   the clocks of deadlines and ages
log                                     writes warnings to the log of the program, from a thread
threads                                 whether pyvars can run threads in this process
resources, soon                         what a forked child must not use, and the hooks that run around a fork
own_file                                files and sockets that notice when the program has closed them
version                                 the version of pyvars
"""
