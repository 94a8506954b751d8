"""Which processes are the workers of one group, and the directory in which the files of the group are.

group        finds the ancestors of this process that belong to its group, in /proc
directory    the group directory: where it is, who may use it, when it is removed
files        the files in it: their names, and which of them are of pyvars, and of live workers
locks        locks of files, which the kernel drops when the process that holds them ends
forks        runs the fork hooks of pyvars under uWSGI
"""
