"""This process as a worker of its group.

member     joins the group; joins anew after a fork or a change of user; cleans up at exit
peers      the numbers and figures of the peers, for a page
address    which worker of the group serves an address
"""
