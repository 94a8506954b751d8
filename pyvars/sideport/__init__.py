"""The parts of the side port; `pyvars.server` puts them together.

loop      an event loop that no program patches, and that notices when the program has closed its files
handover  hands the address over from the parent process of a reloader to its child
thread    the thread that runs the loop; it ends before each fork, and another one continues after it
http      uvicorn on that loop, in that thread
"""

__all__ = ()
