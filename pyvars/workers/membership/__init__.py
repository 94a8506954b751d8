"""This process as a worker of its group.

member     joins the group; joins anew after a fork or a change of user; cleans up at exit
peers      the numbers and figures of the peers, for a page
load       what a worker has to do, which it tells with its answers
states     whether each worker runs, is blocked, is stopped, or does not answer
rows       the table of the workers
census     how many workers the group has and had
address    which worker of the group serves an address
"""
