"""This process as a worker of its group.

member     joins the group; joins anew after a fork or a change of user; cleans up at exit
peers      the numbers and figures of the peers, for a page
load       how busy a worker is, which is part of its answers
states     whether each worker runs, is blocked, is stopped, or does not answer
rows       the table of the workers
census     how many workers the group has and had
address    which worker of the group serves an address
"""
