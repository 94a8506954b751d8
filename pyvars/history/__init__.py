"""The history of a registry: its numbers in the last ten minutes and the last two hours, summed over all workers.

This package exports no names; other packages import the modules. A sample has the numbers of the page at one moment. A
span covers the samples of 10 s. A mark is an event with a time and a text, such as the start of a worker.

sampler     runs the thread of the history, and decides which process of a group writes the history
recorder    makes the samples and spans
pace        decides when the functions of the program are called for a sample
series      selects the numbers of the page that are kept, at most 500
place       finds the file of the history: in the group directory, the file that PYVARS_HISTORY names, or private memory
writer      writes the file
ring        describes the layout of the file, and reads it
marks       collects the marks of this process until the thread writes them
answer      makes the JSON of /debug/history
"""
