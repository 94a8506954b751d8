"""Questions between workers, over unix sockets: for what only a worker's own code can tell.

server    the socket of this process, and the thread that answers its peers
client    asks the peers of this process
"""
