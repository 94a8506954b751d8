"""Benchmarks: pyvars and a peer, measured in the same run. `python -m tests.benchmarks` runs all of them.

A time depends more on the machine than on pyvars, so a speed is given as a ratio to a peer: rounds of ours and of the
peer's alternate, and the result is the median of the ratios. No test depends on these times.
"""
