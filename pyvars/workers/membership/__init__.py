"""This process as one worker of a group.

member     joins the group, and follows forks, a change of user and the end of the process
peers      what the other workers add to a page
address    which worker serves an address
"""
