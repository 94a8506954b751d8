"""A registry read into values, which the formats make bytes of.

functions    the functions of a page: in threads of ours, under a deadline, what they raise contained
layout       where each variable stands on the page
page         /debug/vars: the values of all variables, and those that went wrong
series       the same for Prometheus: names, kinds and labels
answers      what another worker asks of this one
log          what is said in the log of the program
"""
