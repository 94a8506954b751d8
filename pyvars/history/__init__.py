"""The history of a registry: its numbers in the last ten minutes and the last two hours, summed over all workers.

This package exports nothing: import its modules. Other packages import only `answer`, `ring` and `sampler`.

sampler     the thread, and the choice of the process of a group that writes the history
recorder    makes the samples and the spans
pace        decides when the functions of the program are called for samples
series      which numbers of the page are kept
place       finds the file of the history
writer      writes the file
ring        reads the file, and defines its format
marks       collects events of this process, such as a long garbage collection
answer      makes the JSON of /debug/history
"""
