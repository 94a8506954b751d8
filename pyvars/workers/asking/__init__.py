"""Asking a worker for what needs its own code, over a unix socket.

server    the socket of this process, and the thread that answers
client    asks the others
"""
