"""Benchmarks: pyvars beside a peer that is measured in the same run. `python -m tests.benchmarks` runs all of them.

A time alone says more about the machine than about pyvars, so a speed is a ratio to a peer: rounds of ours and of the
peer's take turns, and the median of the ratios is the result. Nothing here fails because of a time.
"""
