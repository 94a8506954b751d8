"""Reads the variables of a registry into values, from which `pyvars.formats` makes bytes.

calls        threads that call functions of the program, never two calls of one function at once
background   calls the functions that are published with `every`
failures     the entries of variables in `pyvars.errors`, and their lines in the log
functions    runs the functions of a page under its deadline, and contains the exceptions that they raise
layout       the page layout: where each variable is on the page
values       reads the variables of one page into values, one by one
combined     the values of one function in several workers
pieces       splits work on many variables, so that other threads get the GIL in between
page         /debug/vars: the values of all variables, and the errors
about        the help, units and labels of variables that only peers have
series       /metrics: the numbers as metric families for Prometheus
answers      answers the questions of peers
"""
