"""The numbers of all workers of a group: each worker writes its own to a file, its segment, and reads those of others.

segment          the format of the file, and writing it
worker_segment   this process's segment, with private memory where there is no room in the file
records          keeps the names in this process's segment in step with its registries
own_segment      reads this process's own segment, and writes its runtime figures there
layout           which words of a segment are which numbers
reading          reads the segment of one peer
group_reading    reads the segments of the whole group at one moment
plan, sums       add the segments up
retired          folds the segments of dead workers into one file, the retired file
"""
