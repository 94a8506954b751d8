"""This process as a worker of its group.

member     joins the group; joins it again after a fork or a change of user; cleans up at exit
peers      the numbers and figures of the peers, for a page
load       how busy a worker is: its answer to a peer that asks for runtime figures
states     whether each worker runs, is blocked, is stopped, or does not answer
rows       the rows of /debug/workers
census     the built-in variable `pyvars.workers`: how many workers the group has and had
address    which worker of the group serves an address
"""
