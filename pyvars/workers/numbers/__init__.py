"""The numbers of all workers of a group, in a file of each.

segment          the file of one process: its format, and writing it
records          keeps the names in the segment in step with the registries of this process
own_segment      what this process's own segment says
layout           which words of a segment are which numbers
reading          reads one segment of another worker
group_reading    reads all of a group at one moment
plan, sums       adds them up
retired          what is kept of workers that have ended
"""
