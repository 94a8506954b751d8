"""The numbers of all workers of a group. Each worker writes its numbers to a file, its segment; peers read them there.

segment          the format of a segment, and writing it
worker_segment   the segment of this process, with private memory if there is no room for the file
records          keeps the names in the segment of this process in step with its registries
own_segment      reads the segment of this process, and writes its runtime figures there
mapping          maps a part of a file into memory
layout           which words of a segment are which numbers
reading          reads the segment of one peer, or the retired file
group_reading    reads the segments of the whole group
plan, sums       add the segments up
retired          folds the segments of dead workers: adds their counts to one file, the retired file
"""
