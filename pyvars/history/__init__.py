"""The history of a registry: its numbers in the last ten minutes and the last two hours, over all workers of a group.

Import nothing from here: each module is used by its own name. Those of the others see but these of them.

sampler     the thread, and which process of a group writes the history
recorder    makes samples and spans
pace        when functions of the program are called for them
series      which numbers of the page are kept
place       which file it is in
writer      writes the file
ring        reads it, and says how it is made
marks       what happens, beside the numbers
answer      what a reader gets
"""
