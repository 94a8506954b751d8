"""Which processes belong together, and what forks make of that.

group        a process and those above it, as /proc tells
directory    the private directory where the processes of a group meet
locks        locks of files that end with their process
forks        the hooks around a fork
"""
