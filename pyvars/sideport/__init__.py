"""What the side port is made of; `pyvars.server` puts it together.

loop      an event loop that no program patches, and that notices when the program has closed its files
handover  how a reloader's parent makes way for its child
thread    the thread that runs it, which is not there while the program forks
http      uvicorn on that loop, in a thread
"""

__all__ = ()
