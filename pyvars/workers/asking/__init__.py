"""Questions between workers, over unix sockets, for what only the code of a worker itself can tell.

wire      the protocol: how a question and its answer are sent
server    the socket of this process, and the thread that answers its peers
client    asks the peers of this process
"""
