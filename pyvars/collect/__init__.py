"""Reads a registry into values, from which `pyvars.formats` makes bytes.

functions    runs the published functions of a page in threads of pyvars, under a deadline, and contains what they raise
layout       the page layout: where each variable stands on the page
values       reads the variables of one page into values, one by one
pieces       work on many variables, in pieces that leave the GIL to others
page         /debug/vars: the values of all variables, and the errors
series       /metrics: the numbers as metric families for Prometheus
answers      answers the questions of peers
"""
